"""Mean and variance of every channel in one pass.

Legend: N bodies, R positions, C channels, P programs.

Each program sums around a shift, the mean of the first positions, in float32: what is added is about as small as the
spread, so nothing cancels however far from zero the data lie. The programs' sums are put together in float64.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from bonestrap.kernels import power, programs, rows


@triton.jit
def inside(there, row, positions, span, MASKED: tl.constexpr):
    """Which rows are positions of bodies that are there; a body is `span` rows."""
    real = row < positions
    if MASKED:
        real = real & (tl.load(there + row // span, mask=real, other=0) != 0)
    return real


@triton.jit(do_not_specialize=["positions", "span"])
def sums(
    x, there, out, counts, positions, span,
    CHANNELS: tl.constexpr, MASKED: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """The tiles p, p + P, p + 2P ... of x (R, C): out[p] of (P, 2, C) and counts[p], float64."""
    program = tl.program_id(0)
    column = tl.program_id(1) * BC + tl.arange(0, BC)
    index = tl.arange(0, BR)
    channel = (column < CHANNELS)[None, :]
    real = inside(there, index, positions, span, MASKED)
    at = index[:, None] * CHANNELS + column[None, :]
    first = tl.load(x + at, mask=real[:, None] & channel, other=0.0).to(tl.float32)
    shift = tl.sum(first, 0) / tl.maximum(tl.sum(real.to(tl.float32), 0), 1.0)
    total = tl.zeros((BR, BC), tl.float32)
    squares = tl.zeros((BR, BC), tl.float32)
    count = tl.zeros((BR,), tl.float32)
    for start in range(program * BR, positions, tl.num_programs(0) * BR):
        row = start + index
        ours = inside(there, row, positions, span, MASKED)
        mask = ours[:, None] & channel
        place = row.to(tl.int64)[:, None] * CHANNELS + column[None, :]
        block = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
        away = tl.where(mask, block - shift[None, :], 0.0)
        total += away
        squares += away * away
        count += ours.to(tl.float32)
    s, q, c = tl.sum(total.to(tl.float64), 0), tl.sum(squares.to(tl.float64), 0), shift.to(tl.float64)
    n = tl.sum(count.to(tl.float64), 0)
    out += program * 2 * CHANNELS + column
    tl.store(out, s + n * c, mask=column < CHANNELS)
    tl.store(out + CHANNELS, q + 2 * c * s + n * c * c, mask=column < CHANNELS)
    if tl.program_id(1) == 0:
        tl.store(counts + program, n)


@triton.jit(do_not_specialize=["count"])
def finish(partial, counts, seen, mean, var, count, CHANNELS: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr):
    """Add the P programs' sums up: seen becomes [sums | sums of squares | R], and mean and var follow."""
    column = tl.program_id(0) * BC + tl.arange(0, BC)
    real = column < CHANNELS
    total = tl.zeros((BP, BC), tl.float64)
    squares = tl.zeros((BP, BC), tl.float64)
    numbers = tl.zeros((BP,), tl.float64)
    for first in range(0, count, BP):
        p = first + tl.arange(0, BP)
        there = (p < count)[:, None] & real[None, :]
        where = partial + p[:, None] * (2 * CHANNELS) + column[None, :]
        total += tl.load(where, mask=there, other=0.0)
        squares += tl.load(where + CHANNELS, mask=there, other=0.0)
        numbers += tl.load(counts + p, mask=p < count, other=0.0)
    s, q, n = tl.sum(total, 0), tl.sum(squares, 0), tl.sum(numbers, 0)
    tl.store(seen + column, s, mask=real)
    tl.store(seen + CHANNELS + column, q, mask=real)
    tl.store(mean + column, s / n, mask=real)
    tl.store(var + column, tl.maximum(q / n - (s / n) * (s / n), 0.0), mask=real)
    if tl.program_id(0) == 0:
        tl.store(seen + 2 * CHANNELS, n)


def moments(x: Tensor, there: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """What every channel of x, (N, C) or (N, C, T, V), amounts to, float64, over the bodies in the mask `there` (N,).

    Returns [sums | sums of squares | R], the mean and the biased variance. The first body must be there.
    """
    x_RC = rows(x)
    positions, channels = x_RC.shape
    bc = power(channels, 16, 64)
    br = 4096 // bc
    blocks = triton.cdiv(channels, bc)
    count = min(triton.cdiv(positions, br), max(1, 4 * programs(x.device) // blocks))
    partial = torch.empty(count, 2, channels, device=x.device, dtype=torch.float64)
    counts, seen = partial.new_empty(count), partial.new_empty(2 * channels + 1)
    mean, var = partial.new_empty(2, channels)
    mask = x_RC if there is None else there.view(torch.uint8)
    sums[(count, blocks)](
        x_RC, mask, partial, counts, positions, positions // len(x), channels, there is not None, br, bc
    )  # fmt: skip
    finish[(triton.cdiv(channels, 16),)](partial, counts, seen, mean, var, count, channels, 128, 16)
    return seen, mean, var
