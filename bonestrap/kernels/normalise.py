"""Batch normalisation with given moments, the addition of a residual and ReLU, in one kernel.

Legend: R positions, C channels, P programs.

Backwards takes two passes over the data, as every position's gradient depends on sums over all of them: the sums, then
the gradients. What ReLU let through is told by the output where there is a residual, and computed again without one.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bonestrap.kernels import like, power, programs, rows
from bonestrap.kernels.moments import inside

TILE = 4096  # numbers of a tile: 32 a thread, in several loads of 16 bytes that are under way together


@triton.jit
def channel(mean, var, weight, bias, eps, columns, real):
    """The mean, the inverse standard deviation, and the learnt factor and summand of some channels, in float32."""
    m = tl.load(mean + columns, mask=real, other=0.0).to(tl.float32)
    v = tl.load(var + columns, mask=real, other=1.0).to(tl.float32)
    w = tl.load(weight + columns, mask=real, other=0.0).to(tl.float32)
    b = tl.load(bias + columns, mask=real, other=0.0).to(tl.float32)
    return m[None, :], (1.0 / tl.sqrt(v + eps))[None, :], w[None, :], b[None, :]


@triton.jit(do_not_specialize=["positions"])
def forward(
    x, residual, y, mean, var, weight, bias, eps, positions,
    CHANNELS: tl.constexpr, RELU: tl.constexpr, ADD: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """y = relu((x - mean) / sqrt(var + eps) * weight + bias + residual), all (R, C)."""
    columns = tl.program_id(1) * BC + tl.arange(0, BC)
    real = columns < CHANNELS
    m, inverse, w, b = channel(mean, var, weight, bias, eps, columns, real)
    row = tl.program_id(0).to(tl.int64) * BR + tl.arange(0, BR)
    there = (row < positions)[:, None] & real[None, :]
    at = row[:, None] * CHANNELS + columns[None, :]
    out = (tl.load(x + at, mask=there, other=0.0).to(tl.float32) - m) * inverse * w + b
    if ADD:
        out += tl.load(residual + at, mask=there, other=0.0).to(tl.float32)
    if RELU:
        out = tl.maximum(out, 0.0)
    tl.store(y + at, out.to(y.dtype.element_ty), mask=there)


@triton.jit
def arriving(dy, y, x_hat, w, b, at, there, RELU: tl.constexpr, ADD: tl.constexpr):
    """The gradient behind ReLU, float32."""
    g = tl.load(dy + at, mask=there, other=0.0).to(tl.float32)
    if RELU and ADD:
        g = tl.where(tl.load(y + at, mask=there, other=0.0) > 0, g, 0.0)
    elif RELU:
        g = tl.where(x_hat * w + b > 0, g, 0.0)
    return g


@triton.jit(do_not_specialize=["positions"])
def backward_sums(
    dy, y, x, out, mean, var, weight, bias, eps, positions,
    CHANNELS: tl.constexpr, RELU: tl.constexpr, ADD: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """The gradients of weight and bias from the tiles p, p + P, p + 2P ..., as out[p] of (P, 2, C) float32."""
    program, programs = tl.program_id(0), tl.num_programs(0)
    columns = tl.program_id(1) * BC + tl.arange(0, BC)
    real = columns < CHANNELS
    m, inverse, w, b = channel(mean, var, weight, bias, eps, columns, real)
    dw = tl.zeros((BR, BC), tl.float32)
    db = tl.zeros((BR, BC), tl.float32)
    for start in range(program.to(tl.int64) * BR, positions, programs * BR):
        row = start + tl.arange(0, BR)
        there = (row < positions)[:, None] & real[None, :]
        at = row[:, None] * CHANNELS + columns[None, :]
        x_hat = (tl.load(x + at, mask=there, other=0.0).to(tl.float32) - m) * inverse
        g = arriving(dy, y, x_hat, w, b, at, there, RELU, ADD)
        dw += g * x_hat
        db += g
    out += program * 2 * CHANNELS + columns
    tl.store(out, tl.sum(dw, 0), mask=real)
    tl.store(out + CHANNELS, tl.sum(db, 0), mask=real)


@triton.jit(do_not_specialize=["positions", "span"])
def backward(
    dy, y, x, sums, bodies, span, count, dx, dresidual, mean, var, weight, bias, eps, positions,
    CHANNELS: tl.constexpr, RELU: tl.constexpr, ADD: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
    MASKED: tl.constexpr,
):  # fmt: skip
    """The gradients of x and, with ReLU, of the residual: the moments are x's own, and change with it.

    They are those of `count` positions of bodies that are there. The gradient of padding is zero.
    """
    columns = tl.program_id(1) * BC + tl.arange(0, BC)
    real = columns < CHANNELS
    m, inverse, w, b = channel(mean, var, weight, bias, eps, columns, real)
    n = tl.load(count).to(tl.float32)
    dw = tl.load(sums + columns, mask=real, other=0.0)[None, :] / n
    db = tl.load(sums + CHANNELS + columns, mask=real, other=0.0)[None, :] / n
    row = tl.program_id(0).to(tl.int64) * BR + tl.arange(0, BR)
    there = (row < positions)[:, None] & real[None, :]
    at = row[:, None] * CHANNELS + columns[None, :]
    x_hat = (tl.load(x + at, mask=there, other=0.0).to(tl.float32) - m) * inverse
    g = arriving(dy, y, x_hat, w, b, at, there, RELU, ADD)
    slope = (g - db - x_hat * dw) * inverse * w
    if MASKED:
        slope = tl.where(inside(bodies, row, positions, span, MASKED)[:, None], slope, 0.0)
    tl.store(dx + at, slope.to(dx.dtype.element_ty), mask=there)
    if RELU and ADD:
        tl.store(dresidual + at, g.to(dresidual.dtype.element_ty), mask=there)


def blocks(positions: int, channels: int) -> tuple[int, int, tuple[int, int]]:
    """The sides of a tile, and how many tiles there are that way and this."""
    bc = power(channels, 16, 64)
    br = TILE // bc
    return br, bc, (triton.cdiv(positions, br), triton.cdiv(channels, bc))


def normalise(
    x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None, mean: Tensor, var: Tensor, eps: float, relu: bool
) -> Tensor:
    """relu((x - mean) / sqrt(var + eps) * weight + bias + residual) for x (N, C) or (N, C, T, V), channels last."""
    x_RC = rows(x)
    br, bc, grid = blocks(*x_RC.shape)
    y_RC = torch.empty_like(x_RC)
    add = x_RC if residual is None else rows(residual)
    forward[grid](
        x_RC, add, y_RC, mean, var, weight, bias, eps, *x_RC.shape, relu, residual is not None, br, bc
    )  # fmt: skip
    return like(y_RC, x)


class Normalise(torch.autograd.Function):
    """`normalise`, with the gradient of moments that are x's own.

    `count` (1,) is the number of positions that they are of, those of the bodies in the mask `there` (N,).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None,
        mean: Tensor, var: Tensor, count: Tensor, there: Tensor | None, eps: float, relu: bool,
    ) -> Tensor:  # fmt: skip
        y = normalise(x, weight, bias, residual, mean, var, eps, relu)
        kept = y if relu and residual is not None else None
        ctx.save_for_backward(x, weight, bias, mean, var, count, there, kept)
        ctx.eps, ctx.relu, ctx.add = eps, relu, residual is not None
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, var, n, there, y = ctx.saved_tensors
        x_RC, dy_RC = rows(x), rows(dy)
        y_RC = x_RC if y is None else rows(y)
        positions, channels = x_RC.shape
        br, bc, grid = blocks(positions, channels)
        count = min(grid[0], max(1, 4 * programs(x.device) // grid[1]))
        partial = torch.empty(count, 2, channels, device=x.device, dtype=torch.float32)
        settings = (mean, var, weight, bias, ctx.eps, positions, channels, ctx.relu, ctx.add, br, bc)
        backward_sums[(count, grid[1])](dy_RC, y_RC, x_RC, partial, *settings)
        sums = partial.sum(0)
        dx_RC = torch.empty_like(x_RC)
        dresidual_RC = torch.empty_like(x_RC) if ctx.add and ctx.relu else dy_RC
        bodies = x_RC if there is None else there.view(torch.uint8)
        span, masked = positions // len(x), there is not None
        backward[grid](dy_RC, y_RC, x_RC, sums, bodies, span, n, dx_RC, dresidual_RC, *settings, masked)
        dresidual = like(dresidual_RC, x) if ctx.add else None
        dw, db = sums.to(weight.dtype)
        return like(dx_RC, x), dw, db, dresidual, *[None] * 6
