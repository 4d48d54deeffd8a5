"""Spatial graph convolution in one kernel: y[f] = sum over partitions k of G_k x[f] W_k, plus a bias of every joint.

Legend: F frames of all bodies, V joints, C and D channels, K spatial partitions, P programs.

A tile holds as many whole frames as fit into its rows, and is multiplied by the block-diagonal matrix of the graph and
by the weight: gathered neighbours are never written out. The graph's matrices, and the weight where it is small, stay
with a program while it walks over its tiles. The gradient of the input is the same convolution with both matrices
transposed; `graph_gradients.py` has the others.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from bonestrap.kernels import power, programs

KEPT = 128  # channels up to which a program keeps the whole weight


@triton.jit
def block_diagonal(graph, k, STEP_V: tl.constexpr, STEP_U: tl.constexpr, V: tl.constexpr, BM: tl.constexpr):
    """(BM, BM): matrix k of `graph` (K, V, V), with these steps along its sides, once for every frame of a tile."""
    row = tl.arange(0, BM)
    same = (row[:, None] // V == row[None, :] // V) & (row < BM // V * V)[:, None]
    return tl.load(graph + k * V * V + (row % V)[:, None] * STEP_V + (row % V)[None, :] * STEP_U, mask=same, other=0.0)


@triton.jit
def tile(x, row, there, column, real, WIDTH: tl.constexpr):
    """Some rows and columns of a matrix whose rows have WIDTH numbers."""
    return tl.load(x + row[:, None] * WIDTH + column[None, :], mask=there[:, None] & real[None, :], other=0.0)


@triton.jit
def product(a, b, total):
    """total + a b in float32, also where a and b are float32."""
    return tl.dot(a, b, total, input_precision="ieee")


@triton.jit
def gather(matrix, x, BM: tl.constexpr, BC: tl.constexpr):
    """The neighbours' sums, rounded to the type of x."""
    return product(matrix, x, tl.zeros((BM, BC), tl.float32)).to(x.dtype)


@triton.jit(do_not_specialize=["frames"])
def convolve(
    x, graph, weight, bias, more, y, frames,
    V: tl.constexpr, K: tl.constexpr, C: tl.constexpr, D: tl.constexpr,
    STEP_V: tl.constexpr, STEP_U: tl.constexpr, STEP_K: tl.constexpr, STEP_C: tl.constexpr, STEP_D: tl.constexpr,
    BIAS: tl.constexpr, MORE: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """y (F, V, D) of x (F, V, C), plus `bias` (V, D) and `more`, a tensor of y's shape, where there are such."""
    dtype: tl.constexpr = x.dtype.element_ty
    full: tl.constexpr = BM // V * V
    index = tl.arange(0, BM)
    inner = tl.arange(0, BC)
    column = tl.program_id(1) * BD + tl.arange(0, BD)
    real = column < D
    matrices = ()
    weights = ()
    for k in tl.static_range(K):
        matrices = matrices + (block_diagonal(graph, k, STEP_V, STEP_U, V, BM).to(dtype),)
        if C <= BC:
            at = weight + k * STEP_K + inner[:, None] * STEP_C + column[None, :] * STEP_D
            weights = weights + (tl.load(at, mask=(inner < C)[:, None] & real[None, :], other=0.0).to(dtype),)
    rows = frames.to(tl.int64) * V
    for start in range(tl.program_id(0).to(tl.int64) * full, rows, tl.num_programs(0) * full):
        row = start + index
        there = (index < full) & (row < rows)
        total = tl.zeros((BM, BD), tl.float32)
        if C <= BC:
            part = tile(x, row, there, inner, inner < C, C)
            for k in tl.static_range(K):
                total = product(gather(matrices[k], part, BM, BC), weights[k], total)
        else:
            for c in range(0, C, BC):
                channel = c + inner
                part = tile(x, row, there, channel, channel < C, C)
                for k in tl.static_range(K):
                    here = weight + k * STEP_K + channel[:, None] * STEP_C + column[None, :] * STEP_D
                    w = tl.load(here, mask=(channel < C)[:, None] & real[None, :], other=0.0).to(dtype)
                    total = product(gather(matrices[k], part, BM, BC), w, total)
        if BIAS:
            total += tile(bias, index % V, there, column, real, D).to(tl.float32)
        if MORE:
            total += tile(more, row, there, column, real, D).to(tl.float32)
        tl.store(y + row[:, None] * D + column[None, :], total.to(dtype), mask=there[:, None] & real[None, :])


class Blocks(NamedTuple):
    """How a kernel cuts its work: rows, input and output channels of a tile, and how many warps and copies of it."""

    rows: int
    inputs: int
    outputs: int
    warps: int
    stages: int = 2


def convolution_blocks(channels: int, outputs: int) -> Blocks:
    if max(channels, outputs) <= KEPT:
        bd = power(outputs, 16, KEPT)
        return Blocks(64, power(channels, 16, KEPT), bd, 4 if bd <= 64 else 8)
    # A wide weight is read again for every tile, so tiles are larger.
    return Blocks(128, power(channels, 16, 64), power(outputs, 16, 128), 8)


def convolution(
    x_FVC: Tensor, graph_KVV: Tensor, weight_DKC: Tensor, bias_VD: Tensor | None, more_FVD: Tensor | None = None
) -> Tensor:
    """sum over k of graph[k] x[f] weight[:, k].T, plus bias, plus more: (F, V, D). For x see `kernels.convolves`.

    x is contiguous; `graph` and `weight` may be transposed views.
    """
    frames, joints, channels = x_FVC.shape
    outputs, partitions, _ = weight_DKC.shape
    blocks = convolution_blocks(channels, outputs)
    if channels > blocks.inputs:
        weight_DKC = weight_DKC.to(x_FVC.dtype)  # once, not for every tile
    columns = triton.cdiv(outputs, blocks.outputs)
    count = min(triton.cdiv(frames, blocks.rows // joints), max(1, 3 * programs(x_FVC.device) // columns))
    y = x_FVC.new_empty(frames, joints, outputs)
    _, step_v, step_u = graph_KVV.stride()
    step_d, step_k, step_c = weight_DKC.stride()
    convolve[(count, columns)](
        x_FVC, graph_KVV, weight_DKC, y if bias_VD is None else bias_VD, y if more_FVD is None else more_FVD, y, frames,
        joints, partitions, channels, outputs, step_v, step_u, step_k, step_c, step_d,
        bias_VD is not None, more_FVD is not None, *blocks[:3], num_warps=blocks.warps, num_stages=blocks.stages,
    )  # fmt: skip
    return y
