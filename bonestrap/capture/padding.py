"""Batch normalisation where some bodies of the input are padding, so that shapes recur.

Legend: N bodies, padding included, C channels, T frames, V joints.

A CUDA graph replays one shape, and the number of bodies varies from batch to batch. So batches are filled up with
bodies of zeros (`bonestrap.clips.Clips.padded`) to one of a few numbers. All that mixes bodies is their mean, which
leaves padding out, and batch normalisation: here its moments, their count and its gradient are those of the bodies
that are there. The number of these is read on the device, as a graph must not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from bonestrap.momentum import BatchNorm

_there: Tensor | None = None  # of the encoder that is at work


@contextmanager
def among(there: Tensor) -> Iterator[None]:
    """Inside, the first dimension of what is normalised is bodies, of which those of the mask `there` (N,) are real."""
    global _there  # noqa: PLW0603  # whatever lies between an encoder and its layers does not know of padding
    before, _there = _there, there
    try:
        yield
    finally:
        _there = before


def there() -> Tensor | None:
    """The mask (N,) of the bodies that are real, or None where all are."""
    return _there


def normalise(layer: BatchNorm, x: Tensor, there: Tensor) -> Tensor:
    """What `layer` does with x (N, C, T, V) without its padding; the rows of padding are of no use."""
    eps = layer.eps
    if not layer.training and not layer.notes_always:
        return F.batch_norm(x, layer.mean, layer.var, layer.weight, layer.bias, training=False, eps=eps)
    mask = there.view(-1, *[1] * (x.ndim - 1))
    count = there.sum(dtype=torch.float64) * (x.numel() // (x.shape[0] * x.shape[1]))
    mean, var = moments(x.detach(), mask, count)
    layer.note(count, mean, var)
    if not layer.training:
        return F.batch_norm(x, layer.mean, layer.var, layer.weight, layer.bias, training=False, eps=eps)
    out: Tensor = Normalise.apply(x, layer.weight, layer.bias, mean, var, mask, count, eps)  # type: ignore[no-untyped-call]
    return out


def moments(x: Tensor, mask: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """`bonestrap.momentum.moments` of the rows in the mask, which hold `count` values a channel."""
    dims, shape = [0, *range(2, x.ndim)], (-1, *[1] * (x.ndim - 2))
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    near = ((x * mask).sum(dims) / count).to(x.dtype)
    away = (x - near.view(shape)) * mask
    shift = away.sum(dims).double() / count
    return near.double() + shift, away.square_().sum(dims).double() / count - shift.square()


class Normalise(torch.autograd.Function):
    """`bonestrap.momentum.Normalise` whose gradient flows through the rows in the mask alone."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        var: Tensor,
        mask: Tensor,
        count: Tensor,
        eps: float,
    ) -> Tensor:
        mean, var = mean.to(weight.dtype), var.to(weight.dtype)
        ctx.save_for_backward(x, weight, mean, var, mask, count)
        ctx.eps = eps
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """dx = w / std (dy - mean(dy) - x^ mean(dy x^)), x^ the normalised input; means over the rows in the mask.

        Rows of padding have dy = 0, so the sums over all rows are those of the mask.
        """
        x, weight, mean, var, mask, count = ctx.saved_tensors
        # With moments that are constants: the first term, and the sums of dy x^ and dy.
        dx, dw, db = torch.ops.aten.native_batch_norm_backward(
            dy, x, weight, mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        shape = (-1, *[1] * (x.ndim - 2))
        invstd = (var + ctx.eps).rsqrt()
        count = count.to(weight.dtype)
        slope = (weight * invstd.square() * dw / count).view(shape)
        level = (weight * invstd * db / count).view(shape)
        dx = ((dx - level - (x - mean.view(shape)) * slope) * mask).to(x.dtype)
        return dx, dw, db, None, None, None, None, None
