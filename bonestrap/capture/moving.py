"""Moving averages whose rate is a number, or a tensor that a CUDA graph reads anew at every replay."""

from __future__ import annotations

import torch
from torch import Tensor


def lerp_(averages: list[Tensor], values: list[Tensor], weight: float | Tensor) -> None:
    """average <- average + weight * (value - average), in place; `weight` may be a tensor without dimensions."""
    if not isinstance(weight, Tensor):
        torch._foreach_lerp_(averages, values, weight)
        return
    steps: list[Tensor] = list(torch._foreach_sub(values, averages))
    torch._foreach_mul_(steps, weight.to(steps[0].dtype))
    torch._foreach_add_(averages, steps)
