"""The benchmark's opponent is SyncBN: ranks that share a batch normalise it as one process does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.momentum_bn import Synchronised
from distributed.strategy import Strategy
from tests.distributed.toy import Ranks


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    x, dy = (torch.randn(6, 5, 4, 3, generator=draw) for _ in range(2))
    return 2 * x + 1, dy, torch.rand(5, generator=draw) + 0.5, torch.randn(5, generator=draw)


def half(strategy: Strategy, folder: Path) -> dict[str, Any]:
    x, dy, weight, bias = batch()
    here = slice(0, 2) if strategy.first else slice(2, 6)  # unequal shares
    x, weight, bias = (tensor.clone().requires_grad_() for tensor in (x[here], weight, bias))
    y = Synchronised.apply(x, weight, bias, 1e-5)
    y.backward(dy[here])
    return {"y": y.detach(), "dx": x.grad, "dw": weight.grad, "db": bias.grad}


def test_two_ranks_normalise_and_go_back_as_one(tmp_path: Path) -> None:
    ranks = Ranks(2)
    try:
        first, second = ranks(half, tmp_path)
    finally:
        ranks.close()
    x, dy, weight, bias = (tensor.double().requires_grad_() for tensor in batch())
    y = torch.nn.functional.batch_norm(x, None, None, weight, bias, training=True)
    y.backward(dy)
    for name, whole in (("y", y), ("dx", x.grad)):
        torch.testing.assert_close(torch.cat([first[name], second[name]]).double(), whole, atol=1e-5, rtol=1e-5)
    for name, whole in (("dw", weight.grad), ("db", bias.grad)):
        torch.testing.assert_close((first[name] + second[name]).double(), whole, atol=1e-4, rtol=1e-5)
