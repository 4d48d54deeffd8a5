#!/usr/bin/env python3
"""Momentum BN's one collective a step against SyncBN's two a layer: step time and number of collectives.

The same BYOL, clips and DDP on gloo ranks of one thread each, a step of one kind after a step of the other, so that
whatever else the machine does meets both. The reference synchronises as `torch.nn.SyncBatchNorm` does, which refuses
the CPU: every layer of both networks all-reduces its moments going forward, and the online network's layers two sums
going back.

Examples:
  python benchmarks/momentum_bn.py
  python benchmarks/momentum_bn.py --ranks 4 --width 0.5 --group 16
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # started by path, Python looks in benchmarks/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.ranks import Walks, byol, on_ranks
from bonestrap.methods.byol.method import BYOL
from bonestrap.momentum import BatchNorm
from distributed.strategy import DDP


class Synchronised(torch.autograd.Function):
    """Batch normalisation with the moments of all ranks, and its gradient: PyTorch's kernels around two all-reduces."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        mean, var = torch.batch_norm_update_stats(x, None, None, 0.0)
        count = x.numel() // x.shape[1]
        sums = torch.cat([mean * count, (var + mean.square()) * count, mean.new_full((1,), count)])
        torch.distributed.all_reduce(sums)
        mean, square = (sums[:-1] / sums[-1]).chunk(2)
        var = square - mean.square()
        ctx.save_for_backward(x, weight, mean, var, sums[-1])
        ctx.eps = eps
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, var, count = ctx.saved_tensors
        # With the moments held fast: the rest of dx are two numbers a channel, of all ranks.
        dx, dw, db = torch.ops.aten.native_batch_norm_backward(
            dy, x, weight, mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.cat([dw, db])
        torch.distributed.all_reduce(sums)
        of_normal, of_one = (sums / count).chunk(2)
        invstd = (var + ctx.eps).rsqrt()
        slope = of_normal * invstd
        shape = (1, -1, *[1] * (x.ndim - 2))
        dx.addcmul_(x, (-weight * invstd * slope).view(shape))
        dx.add_((weight * invstd * (slope * mean - of_one)).view(shape))
        return dx, dw, db, None


class SyncBatchNorm(nn.Module):
    def __init__(self, like: BatchNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = like.weight, like.bias, like.eps

    def forward(self, x: Tensor) -> Tensor:
        return Synchronised.apply(x, self.weight, self.bias, self.eps)


def synchronised(method: BYOL) -> BYOL:
    """The method with every layer of momentum BN replaced."""
    for module in list(method.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, BatchNorm):
                setattr(module, name, SyncBatchNorm(child))
    method.moments = torch.zeros(0, dtype=torch.float64)
    return method


class Run:
    """One method under DDP."""

    def __init__(self, method: BYOL, walks: Walks) -> None:
        self.method, self.walks, self.strategy = method, walks, DDP()
        parameters = [p for p in method.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9)
        (self.group,) = self.strategy.own_groups(walks.groups)
        self.forward = self.strategy.wrap(method, self.optimizer, 1)

    def step(self, step: int) -> float:
        """Seconds."""
        torch.distributed.barrier()
        began = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        with self.strategy.accumulate(last=True):
            losses = self.forward(self.walks.group(step, self.group), step)
            finish = self.strategy.sum_moments(self.method.moments)
            self.strategy.backward(losses["loss"] / self.walks.groups)
        self.strategy.gradient_norm()
        self.optimizer.step()
        finish()
        self.method.after_step(step)
        return time.perf_counter() - began


@contextmanager
def count_collectives() -> Iterator[list[int]]:
    """How many collectives there are inside."""
    count, true = [0], torch.distributed.all_reduce

    def counting(*arguments: Any, **options: Any) -> Any:
        count[0] += 1
        return true(*arguments, **options)

    torch.distributed.all_reduce = counting
    try:
        yield count
    finally:
        torch.distributed.all_reduce = true


def measure(width: float, group: int, steps: int) -> dict[str, tuple[float, float, int]]:
    """By kind of normalisation: median and fastest seconds a step, collectives a step."""
    walks = Walks(torch.distributed.get_world_size(), group)
    runs = {"momentum BN": Run(byol(width), walks), "SyncBN": Run(synchronised(byol(width)), walks)}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    collectives = dict.fromkeys(runs, 0)
    for step in range(steps + 2):
        for name, run in runs.items():
            with count_collectives() as count:
                spent = run.step(step)
            collectives[name] = count[0]
            if step >= 2:  # the first steps choose kernels and build buckets
                seconds[name].append(spent)
    return {name: (statistics.median(spent), min(spent), collectives[name]) for name, spent in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--group", type=int, default=8, help="clips a rank")
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    print(f"{'ranks':<6}{'statistics':<14}{'ms a step':>10}{'fastest':>9}{'collectives':>13}{'time':>8}")
    for world in options.ranks:
        found = on_ranks(world, measure, options.width, options.group, options.steps)
        slowest = found["SyncBN"][0]
        for name, (median, fastest, collectives) in found.items():
            times = f"{median * 1e3:>10.0f}{fastest * 1e3:>9.0f}"
            print(f"{world:<6}{name:<14}{times}{collectives:>13}{median / slowest:>8.2f}")


if __name__ == "__main__":
    main()
