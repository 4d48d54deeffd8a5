"""Batch normalisation without synchronisation, and the moving averages that make it work (Moliner et al., Eq. 3 and 4).

The online network normalises every normalisation group with the group's own statistics. Each layer notes the moments of
what it saw; once a step the notes of all layers become one flat float64 vector, which the strategy sums over the
ranks in one collective. `commit` then moves the statistics of the online network (used when it is evaluated) and of
the target network (used always) towards the moments pooled over all groups, views and ranks. Pooled moments are those
of the union of all inputs: variances are not averaged, which would lose the spread between groups.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap import kernels
from bonestrap.capture import padding
from bonestrap.capture.moving import lerp_


class BatchNorm(nn.Module):
    """Batch normalisation over every dimension but the second, of (N, C) or (N, C, T, V) input.

    Training mode normalises with the statistics of the input and notes them; evaluation mode uses the moving
    statistics. These change in `commit` alone, never in a forward pass, so that every rank and every repeated forward
    agrees.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.eps = eps
        self.seen: Tensor | None = None  # [sums | sums of squares | count] of the noted forwards, float64
        self.notes_always = False  # in evaluation mode, too

    def forward(self, x: Tensor, residual: Tensor | None = None, relu: bool = False) -> Tensor:
        """x normalised, plus `residual`, through ReLU if `relu`: what usually follows, so that one kernel can do it."""
        if kernels.usable(x) and (residual is None or residual.dtype == x.dtype):
            if self.training:
                return self.fused(x, residual, relu)
            if not torch.is_grad_enabled():
                return self.fused_evaluation(x, residual, relu)
        there = padding.there()
        y = self.normalised(x) if there is None else padding.normalise(self, x, there)
        if residual is not None:
            y = y + residual
        return F.relu(y) if relu else y

    def normalised(self, x: Tensor) -> Tensor:
        """The reference in plain torch."""
        if not self.training:
            if self.notes_always:
                self.note(x.numel() // x.shape[1], *moments(x.detach()))
            return F.batch_norm(x, self.mean, self.var, self.weight, self.bias, training=False, eps=self.eps)
        count = enough(x)
        mean, var = moments(x.detach())
        self.note(count, mean, var)
        out: Tensor = Normalise.apply(x, self.weight, self.bias, mean, var, self.eps)  # type: ignore[no-untyped-call]
        return out

    def fused(self, x: Tensor, residual: Tensor | None, relu: bool) -> Tensor:
        """Training with kernels."""
        from bonestrap.kernels.moments import moments
        from bonestrap.kernels.normalise import Normalise

        there = padding.there()
        if there is None:
            enough(x)
        noted, mean, var = moments(x.detach(), there)
        self.add(noted)
        inputs = x, self.weight, self.bias, residual, mean, var, noted[-1:], there, self.eps, relu
        out: Tensor = Normalise.apply(*inputs)  # type: ignore[no-untyped-call]
        return out

    def fused_evaluation(self, x: Tensor, residual: Tensor | None, relu: bool) -> Tensor:
        """Evaluation with kernels, without gradients."""
        from bonestrap.kernels.moments import moments
        from bonestrap.kernels.normalise import normalise

        if self.notes_always:
            self.add(moments(x, padding.there())[0])
        return normalise(x, self.weight, self.bias, residual, self.mean, self.var, self.eps, relu)

    def note(self, count: int | Tensor, mean: Tensor, var: Tensor) -> None:
        """Add an input to what was seen."""
        self.add(torch.cat((mean, mean.square() + var, mean.new_ones(1))) * count)

    def add(self, seen: Tensor) -> None:
        """A sum, not a list of numbers: a compiler would take those for constants."""
        self.seen = seen if self.seen is None else self.seen + seen


def enough(x: Tensor) -> int:
    """The number of values a channel. Raises ValueError where they have no variance."""
    count = x.numel() // x.shape[1]
    if count < 2:
        raise ValueError("batch normalisation needs at least two values a channel: use larger normalisation groups")
    return count


class Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps) * weight + bias, with the gradient of moments that are x's own.

    The kernel that normalises with given moments and the one that goes back through batch moments, put together: the
    moments are computed once, by `moments`, for the normalisation and for the record.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
        mean, var = mean.to(weight.dtype), var.to(weight.dtype)
        ctx.save_for_backward(x, weight, mean, (var + eps).rsqrt())
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, invstd = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:3])
        dx, dw, db = torch.ops.aten.native_batch_norm_backward(
            dy, x, weight, None, None, mean, invstd, True, 0.0, wanted
        )
        return dx, dw, db, None, None, None


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and biased variance of every channel of x, (N, C) or (N, C, T, V), as (C,) float64.

    The second pass sums around the mean of the first: every term is small, nothing cancels, and `mean` adds pairwise.
    One pass of plain float32 sums, as in the kernels of batch normalisation, is off by up to 1e-4 of the variance.
    """
    dims = [0, *range(2, x.ndim)]
    x = x.to(torch.promote_types(x.dtype, torch.float32), copy=True)
    near = x.mean(dims)
    away = x.sub_(near.view(-1, *[1] * (x.ndim - 2)))
    shift = away.mean(dims).double()
    return near.double() + shift, away.square_().mean(dims).double() - shift.square()


def batch_norms(module: nn.Module) -> list[BatchNorm]:
    """The module's batch-norm layers, in the order of registration."""
    return [layer for layer in module.modules() if isinstance(layer, BatchNorm)]


def moments_size(layers: Sequence[BatchNorm]) -> int:
    """The length of the flat vector of moments: a sum and a sum of squares for each channel, a count for each layer."""
    return sum(2 * layer.mean.numel() + 1 for layer in layers)


def take_moments(layers: Sequence[BatchNorm]) -> Tensor:
    """Turn what the layers noted since the last call into one flat float64 vector [sums | sums of squares | counts].

    float64 because the sum of squares of data far from zero cancels in float32. Without layers there is nothing to add:
    a single zero, which fits any vector.
    """
    if not layers:
        return torch.zeros((), dtype=torch.float64)
    parts: list[Sequence[Tensor]] = []
    for layer in layers:
        size = layer.mean.numel()
        seen, layer.seen = layer.seen, None
        if seen is None:
            seen = layer.mean.new_zeros(2 * size + 1, dtype=torch.float64)
        parts.append(seen.split([size, size, 1]))
    return torch.cat([part for kind in zip(*parts, strict=True) for part in kind])


@torch.no_grad()
def commit(moments: Tensor, followers: Iterable[Sequence[BatchNorm]], alpha: float | Tensor) -> None:
    """Move every follower's statistics: stat <- alpha * stat + (1 - alpha) * pooled moment (Eq. 4).

    The first follower has the layers that took the moments; a further one may be a prefix of them, as the target is
    of the online network with its predictor.
    """
    networks = [list(layers) for layers in followers]
    if not networks[0]:
        return
    sizes = [layer.mean.numel() for layer in networks[0]]
    channels = sum(sizes)
    sums, squares, counts = moments.split([channels, channels, len(sizes)])
    # Not `repeat_interleave`, which takes its sizes from the device and waits for them.
    count = torch.cat([count.expand(size) for count, size in zip(counts.split(1), sizes, strict=True)])
    mean = sums / count
    var = (squares / count - mean.square()).clamp_(min=0)
    pooled_means = [m.float() for m in mean.split(sizes)]
    pooled_vars = [v.float() for v in var.split(sizes)]
    for layers in networks:
        lerp_([layer.mean for layer in layers], pooled_means[: len(layers)], 1 - alpha)
        lerp_([layer.var for layer in layers], pooled_vars[: len(layers)], 1 - alpha)


def warm_alpha(alpha: float, step: int) -> float:
    """Alpha of Eq. 4 at a step: a plain average over the first steps, so that the initial values leave no trace."""
    return min(alpha, step / (step + 1))


def cosine_momentum(initial: float, step: int, steps: int) -> float:
    """Lambda of Eq. 3 at a step: from `initial` to 1 along a cosine (section 4.2)."""
    return 1 - (1 - initial) * (math.cos(math.pi * min(step, steps) / steps) + 1) / 2


@torch.no_grad()
def ema(target: nn.Module, online: nn.Module, momentum: float | Tensor) -> None:
    """xi <- lambda * xi + (1 - lambda) * theta for all parameters (Eq. 3), in their own type, which must be float32.

    An average kept in bfloat16 stands still: near one, lambda's step is below the type's resolution.
    """
    lerp_(list(target.parameters()), list(online.parameters()), 1 - momentum)
