#!/usr/bin/env python3
"""What the engine costs: the loop against a bare one, and two workers on two cores against one worker on one.

The loop runs with its journal and checkpoints but without tracking and probes. Seconds of the clock and of the
processor are both told: on a machine that does other things as well, only the second say what the engine does. Workers
that know nothing of each other, one bare loop each at the same time, show what the cores take from each other.

Examples:
  python benchmarks/scaling.py
  python benchmarks/scaling.py --workers 1 2 4 --width 0.5 --group 8
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":  # started by path, Python looks in benchmarks/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

from benchmarks.ranks import Walks, byol, on_ranks
from bonestrap.clips import Batch
from distributed.loop import Job, train
from distributed.progress import Silence
from distributed.strategy import DDP, Single, Strategy


class Timed(Walks):
    """Notes the clock and the processor's time at the start of every step."""

    def __init__(self, groups: int, size: int) -> None:
        super().__init__(groups, size)
        self.stamps: list[tuple[float, float]] = []
        self.latest = -1

    def group(self, step: int, group: int) -> Batch:
        if step != self.latest:
            self.stamps.append((time.perf_counter(), time.process_time()))
            self.latest = step
        return super().group(step, group)

    def medians(self, skip: int = 2) -> tuple[float, float]:
        """Seconds a step: by the clock, and of this process."""
        pairs = list(zip(self.stamps[skip:], self.stamps[skip + 1 :], strict=False))
        return statistics.median(b[0] - a[0] for a, b in pairs), statistics.median(b[1] - a[1] for a, b in pairs)


def in_the_loop(strategy: Strategy, width: float, group: int, steps: int) -> tuple[float, float]:
    method, walks = byol(width), Timed(strategy.world, group)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.01, momentum=0.9)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            method=method, loader=walks, optimizer=optimizer, learning_rate=lambda step: 0.01, steps=steps,
            run=Path(folder) / "run",
        )  # fmt: skip
        train(job, strategy)
    return walks.medians()


def bare(width: float, group: int, steps: int) -> tuple[float, float]:
    """What the loop does for the result, and nothing else."""
    method, walks = byol(width), Timed(1, group)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.01, momentum=0.9)
    for step in range(steps):
        optimizer.zero_grad(set_to_none=True)
        batch = walks.group(step, 0)
        torch.manual_seed(batch.seed)
        method(batch, step)["loss"].backward()
        optimizer.step()
        method.after_step(step)
    return walks.medians()


def on_rank(width: float, group: int, steps: int) -> tuple[float, float]:
    return in_the_loop(DDP(screen=Silence()), width, group, steps)


def apart(width: float, group: int, steps: int) -> tuple[float, float]:
    """A rank's bare loop beside those of the others; the mean of all ranks, as none waits for the slowest."""
    torch.distributed.barrier()
    seconds = torch.tensor(bare(width, group, steps), dtype=torch.float64)
    torch.distributed.all_reduce(seconds)
    clock, processor = (seconds / torch.distributed.get_world_size()).tolist()
    return clock, processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--group", type=int, default=32, help="clips a worker")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument(
        "--repeats", type=int, default=5, help="of the loop against the bare loop, in turns; the best count"
    )
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    size = (options.width, options.group, options.steps)

    rounds = [(bare(*size), in_the_loop(Single(screen=Silence()), *size)) for _ in range(options.repeats)]
    for index, name in enumerate(("clock", "processor")):
        without, with_loop = (min(one[kind][index] for one in rounds) for kind in (0, 1))
        print(
            f"loop against bare loop, {name}: {with_loop * 1e3:.1f} to {without * 1e3:.1f} ms a step, "
            f"{with_loop / without - 1:+.1%}"
        )
    for name, work in (("DDP", on_rank), ("strangers", apart)):
        alone: tuple[float, float] | None = None
        for world in options.workers:
            found = on_ranks(world, work, *size)
            alone = alone or found
            clock, processor = (f"{seconds * 1e3:.1f} ms" for seconds in found)
            shares = [f"{then / now:.0%}" for then, now in zip(alone, found, strict=True)]
            print(
                f"{name:9} {world} of one thread: {clock} a step by the clock, {processor} of the processor; "
                f"efficiency {shares[0]} by the clock, {shares[1]} by the processor"
            )


if __name__ == "__main__":
    main()
