#!/usr/bin/env python3
"""How the cost of streaming grows with the number of performances: opening, the order of an epoch, a batch.

Shards of recordings of two frames are made, and each size is measured in a process of its own. Memory is what that
process holds at most, beyond the 230 MB that it holds before opening (Python, NumPy and torch): after opening, and
after two epochs were shuffled. Opening hashes the index and checks that every view lies in a shard. Seconds are of the
processor. Objects are the blocks that Python's allocator holds more after a shuffle than before: every Python object is
one at least.

Examples:
  python -m benchmarks.growth
  python -m benchmarks.growth --performances 1000 10000 --folder /mnt/scratch
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import made_shards
from benchmarks.rates import resident_bytes, table
from shards.loader import Loader, Plan
from shards.order import Windowed
from shards.stream import Stream

FRAMES = 2
SIZES = (1_000, 10_000, 100_000, 1_000_000)
PLAN = Plan(batch=128, group=128, seed=0, window=4)
COLUMNS = ("performances", "index MB", "open s", "shuffle s", "objects", "batch ms", "open MB", "shuffled MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--performances", type=int, nargs="+", default=SIZES, help="a row each; 2 kB each on the disk")
    parser.add_argument("--folder", type=Path, help="where files go meanwhile (default: the system's temporary folder)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(options.measure)))
        return
    rows: list[tuple[str, ...]] = []
    for count in options.performances:
        with tempfile.TemporaryDirectory(dir=options.folder) as work:
            shards = Path(work) / "shards"
            manifest = made_shards.make(shards, count, frames=FRAMES)
            words = [sys.executable, "-m", "benchmarks.growth", "--measure", str(shards)]
            cells = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)
            rows.append((f"{count:,}", f"{manifest.index.bytes / 1e6:.1f}", *cells))
    print(table(COLUMNS, rows))


def measured(shards: Path) -> list[str]:
    """The cells of a row, from seconds to memory, without the first two."""
    np.random.default_rng(0).permutation(1000)  # what is loaded on first use is loaded
    before = resident_bytes()
    began = time.process_time()
    stream = Stream.open(shards)
    opened = time.process_time() - began
    held = resident_bytes("VmHWM") - before
    loader = Loader(stream, PLAN, unit="performance", pairs=True, labels=True)
    assert isinstance(loader.order, Windowed)
    loader.order.epoch(0)
    gc.collect()
    blocks, began = sys.getallocatedblocks(), time.process_time()
    loader.order.epoch(1)
    shuffled = time.process_time() - began
    gc.collect()
    objects = sys.getallocatedblocks() - blocks
    most = resident_bytes("VmHWM") - before
    steps = int(loader.epoch_length)
    loader.group(0, 0)
    began = time.process_time()
    for step in range(1, min(steps, 200)):
        loader.group(step, 0)
    batch = (time.process_time() - began) / max(1, min(steps, 200) - 1)
    seconds = (f"{opened:.3f}", f"{shuffled:.3f}", f"{objects:,}", f"{1000 * batch:.2f}")
    return [*seconds, f"{held / 1e6:.0f}", f"{most / 1e6:.0f}"]


if __name__ == "__main__":
    main()
