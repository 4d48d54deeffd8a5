#!/usr/bin/env python3
"""Recordings into batches: ours, a raw memory map, and other libraries, by turns on the same data.

Every reader walks shuffled epochs of the same recordings, 45 kB each in half precision, and leaves batches of half
precision; files are in the page cache, there are no worker processes, torch has one thread. Rates are recordings a
CPU-second of the whole process, the best of several epochs. What is resident is not copied at all: its batch is an
index into memory. Libraries that are not installed are said to be so: pip install webdataset mosaicml-streaming litdata

Examples:
  python -m benchmarks.stream
  python -m benchmarks.stream --performances 20000 --batch 256 --seconds 120
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks import made_shards, peers
from benchmarks.peers import Walk
from benchmarks.rates import by_turns, table
from shards.loader import Loader, Plan
from shards.reader import Resident
from shards.stream import Stream

WINDOW = 4  # shards that mix
CLIP = made_shards.FRAMES * 25 * 3 * 2  # bytes
MAP, OURS, PEER = "memory map of one array", "ours, streaming", "webdataset"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--performances", type=int, default=6000, help="recordings; each stands on the disk four times")
    parser.add_argument("--batch", type=int, default=128, help="recordings")
    parser.add_argument("--seconds", type=float, default=90.0, help="for all readers together, at least three rounds")
    parser.add_argument("--folder", type=Path, help="where files go meanwhile (default: the system's temporary folder)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        walks, missing = readers(Path(work), options.performances, options.batch)
        rates = by_turns(walks, options.seconds)
    rows: list[tuple[str, ...]] = [
        (who, f"{rate / rates[MAP]:.1%}", _times(rate, rates.get(PEER)), f"{rate:,.0f}", f"{rate * CLIP / 1e9:.2f}")
        for who, rate in rates.items()
    ]
    rows += [(who, "not installed", "", "", "") for who in missing]
    data = f"{options.performances:,} recordings of {CLIP:,} bytes"
    print(f"{data}, batches of {options.batch}, torch {torch.__version__}\n")
    print(table(("reader", "of the map", f"x {PEER}", "recordings/CPU-s", "GB/CPU-s"), rows))


def readers(work: Path, count: int, batch: int) -> tuple[dict[str, Walk], list[str]]:
    """A walk through an epoch for each reader, and the names of those that are not installed."""
    shards = work / "shards"
    made_shards.make(shards, count)
    resident = Resident.load(shards)
    shape = (made_shards.FRAMES, 1, *resident.frames.shape[1:])  # one body
    np.save(work / "joints.npy", resident.frames.numpy().reshape(-1, *shape))
    joints = np.load(work / "joints.npy", mmap_mode="r")
    plan = Plan(batch=batch, group=batch, seed=0, window=WINDOW)
    walks = {
        MAP: peers.memory_map(joints, batch),
        OURS: ours(Stream.open(shards), plan),
        "ours, resident (an index, nothing is copied)": ours(resident, plan),
    }
    others: dict[str, Callable[[], Walk]] = {
        PEER: lambda: peers.webdataset(shards, batch, shape),
        "mosaicml-streaming": lambda: peers.mosaicml(work / "mosaicml", joints, batch),
        "litdata": lambda: peers.litdata(work / "litdata", joints, batch),
    }
    missing = []
    for name, made_ready in others.items():
        try:
            walks[name] = made_ready()
        except ImportError:
            missing.append(name)
    return walks, missing


def ours(data: Stream | Resident, plan: Plan) -> Walk:
    """The batches of a run, step after step."""
    loader = Loader(data, plan, unit="view", pairs=False, labels=False)
    step = 0

    def walk() -> int:
        nonlocal step
        first, step = step, step + len(data) // plan.batch
        return sum(loader.group(at, 0).views[0].size for at in range(first, step))

    return walk


def _times(rate: float, other: float | None) -> str:
    return f"{rate / other:,.1f}" if other else "-"


if __name__ == "__main__":
    main()
