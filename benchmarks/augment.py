#!/usr/bin/env python3
"""Two augmented views of resident recordings: fused, in torch, and by a feeder that goes clip by clip in NumPy.

All draw the same parameters and make the same clips (tests/benchmarks/test_feeder.py). Lengths and numbers of bodies
are distributed as in NTU-60. Nothing is fused without numba. One thread; rates are clips (both views of them) a
CPU-second.

Examples:
  python -m benchmarks.augment
  python -m benchmarks.augment --frames 150 --batch 256 --seconds 60
"""

from __future__ import annotations

import argparse
from unittest import mock

import numpy as np
import torch

from benchmarks.feeder import Feeder, draws
from benchmarks.rates import by_turns, table
from bonestrap.augment import AGGRESSIVE, CONSERVATIVE, ClipConfig, fused
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Recordings
from bonestrap.layouts import NTU25

TWO_PERSONS = 11 / 60  # of NTU-60's classes
MEAN, SPREAD, SHORTEST, LONGEST = 83, 0.42, 32, 300  # of NTU-60's lengths, which are about log-normal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[48, 150], help="frames of a clip")
    parser.add_argument("--batch", type=int, default=128, help="clips")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each number of frames")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for frames in options.frames:
        rates = race(frames, options.batch, options.seconds)
        slowest = rates["feeder, clip by clip"]
        rows += [(who, str(frames), f"{rate:,.0f}", f"{rate / slowest:.1f}") for who, rate in rates.items()]
    print(f"two augmented views, batches of {options.batch}, one thread, torch {torch.__version__}\n")
    print(table(("two pipelines by", "frames", "clips/CPU-s", "ratio"), rows))


def race(frames: int, batch: int, seconds: float) -> dict[str, float]:
    """Rates of all."""
    single, packed = recordings(1024)
    clip = ClipConfig(frames=frames)
    pipelines = [Pipeline(NTU25, clip, augment) for augment in (AGGRESSIVE, CONSERVATIVE)]
    feeder = Feeder(single, NTU25, clip)
    first = np.concatenate(([0], np.cumsum([len(recording) for recording in single])))
    step = 0

    def chosen() -> np.ndarray:
        nonlocal step
        step += 1
        return np.random.default_rng(step).choice(len(single), batch, replace=False)

    def fed() -> int:
        rows = chosen().tolist()
        for seed, augment in enumerate((AGGRESSIVE, CONSERVATIVE)):
            clips = feeder.batch(rows, draws(NTU25, clip, augment, batch, seed))
            torch.from_numpy(np.concatenate(clips))
        return batch

    def ours() -> int:
        rows = chosen()
        bodies = np.concatenate([np.arange(first[row], first[row + 1]) for row in rows])
        owner = np.repeat(np.arange(batch), first[rows + 1] - first[rows])
        part = Recordings(packed.frames, packed.start[bodies], packed.length[bodies], torch.from_numpy(owner), batch)
        for seed, pipeline in enumerate(pipelines):
            pipeline(part, torch.Generator().manual_seed(seed))
        return batch

    def in_torch() -> int:
        with mock.patch.object(fused, "kernel", lambda: None):
            return ours()

    variants = {"feeder, clip by clip": fed, "ours, in torch": in_torch}
    return by_turns(variants | ({"ours, fused": ours} if fused.kernel() else {}), seconds)


def recordings(count: int) -> tuple[list[np.ndarray], Recordings]:
    """Random recordings, one by one as (M, S, V, C) and packed."""
    rng = np.random.default_rng(0)
    spread = rng.lognormal(np.log(MEAN) - SPREAD**2 / 2, SPREAD, count)
    lengths = spread.clip(SHORTEST, LONGEST).astype(int)
    bodies = 1 + (rng.random(count) < TWO_PERSONS)
    single = [
        rng.normal(0, 0.4, (m, s, 25, 3)).astype(np.float16)
        for m, s in zip(bodies.tolist(), lengths.tolist(), strict=True)
    ]
    frames = torch.from_numpy(np.concatenate([recording.reshape(-1, 25, 3) for recording in single]))
    length = torch.from_numpy(np.repeat(lengths, bodies))
    owner = torch.from_numpy(np.repeat(np.arange(count), bodies))
    return single, Recordings(frames, length.cumsum(0) - length, length, owner, count)


if __name__ == "__main__":
    main()
