#!/usr/bin/env python3
"""When ZeRO pays: step time and memory of DDP, ZeRO 1 and ZeRO 2 for encoders of several widths.

The same BYOL steps through the training loop, on gloo ranks of one thread each. Memory is what training adds to a
rank at its peak: parameters, target, gradients, optimizer state, activations of a small group, and the engine. The
optimizer's state is counted on its own: it is what ZeRO 1 divides.

Examples:
  python benchmarks/zero.py
  python benchmarks/zero.py --width 0.25 --steps 10
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":  # started by path, Python looks in benchmarks/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

from benchmarks.ranks import byol, on_ranks
from benchmarks.rates import resident_bytes, table
from benchmarks.scaling import Timed
from distributed.loop import Job, train
from distributed.progress import Silence
from distributed.strategy import DDP, Strategy
from distributed.zero import ZeRO

KINDS = ("ddp", "zero1", "zero2")


def chosen(kind: str) -> Strategy:
    if kind == "ddp":
        return DDP(screen=Silence())
    return ZeRO(1 if kind == "zero1" else 2, screen=Silence())


def measure(kind: str, width: float, group: int, steps: int) -> tuple[float, float, float]:
    """Seconds a step, MiB of optimizer state, and MiB that training adds, all of the first rank."""
    logging.disable(logging.WARNING)
    before, strategy = resident_bytes(), chosen(kind)
    method, walks = byol(width), Timed(strategy.world, group)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.01, momentum=0.9)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            method=method, loader=walks, optimizer=optimizer, learning_rate=lambda step: 0.01, steps=steps,
            run=Path(folder) / "run", checkpoint_every=steps + 1,
        )  # fmt: skip
        train(job, strategy)
    held = sum(
        value.numel() * value.element_size()
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )
    seconds = statistics.median(b[0] - a[0] for a, b in zip(walks.stamps[2:], walks.stamps[3:], strict=False))
    return seconds, held / 2**20, (resident_bytes("VmHWM") - before) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--width", type=float, nargs="+", default=[1.0, 2.0, 4.0])
    parser.add_argument("--group", type=int, default=2, help="clips a rank")
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    rows: list[tuple[str, ...]] = []
    for width in options.width:
        millions = sum(p.numel() for p in byol(width).parameters() if p.requires_grad) / 1e6
        for kind in KINDS:
            seconds, held, peak = on_ranks(options.ranks, measure, kind, width, options.group, options.steps)
            rows.append((f"{width:g}", f"{millions:.1f}", kind, f"{seconds * 1e3:.0f}", f"{held:.0f}", f"{peak:.0f}"))
    print(f"{options.ranks} gloo ranks of one thread, {options.group} clips each, torch {torch.__version__}\n")
    print(table(("width", "M trained", "strategy", "ms a step", "state MiB", "peak MiB"), rows))


if __name__ == "__main__":
    main()
