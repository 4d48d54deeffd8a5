"""The gradients of the spatial graph convolution for its weight, graph and bias: sums over all frames.

Legend: F frames of all bodies, V joints, C and D channels, K spatial partitions, P programs.

Every program sums over its own tiles in float32; the sums of the programs are added afterwards, in one order, so that
the gradients of a repeated step are the same to the last bit.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from bonestrap.kernels import CHANNELS, power, programs
from bonestrap.kernels.graph_conv import Blocks, block_diagonal, convolution, gather, product, tile


@triton.jit(do_not_specialize=["frames"])
def weight_sums(
    x, graph, dy, out, out_bias, frames,
    V: tl.constexpr, K: tl.constexpr, C: tl.constexpr, D: tl.constexpr,
    BM: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """out[p] of (P, D, K, C): the sum of dy[f].T (G_k x[f]); out_bias[p] of (P, BM, D): that of dy by row of a tile."""
    dtype: tl.constexpr = x.dtype.element_ty
    full: tl.constexpr = BM // V * V
    index = tl.arange(0, BM)
    channel = tl.program_id(1) * BC + tl.arange(0, BC)
    column = tl.program_id(2) * BD + tl.arange(0, BD)
    matrices = ()
    totals = ()
    for k in tl.static_range(K):
        matrices = matrices + (block_diagonal(graph, k, V, 1, V, BM).to(dtype),)
        totals = totals + (tl.zeros((BC, BD), tl.float32),)
    bias = tl.zeros((BM, BD), tl.float32)
    rows = frames.to(tl.int64) * V
    for start in range(tl.program_id(0).to(tl.int64) * full, rows, tl.num_programs(0) * full):
        row = start + index
        there = (index < full) & (row < rows)
        part = tile(x, row, there, channel, channel < C, C)
        d = tile(dy, row, there, column, column < D, D)
        bias += d.to(tl.float32)
        grown = ()
        for k in tl.static_range(K):
            grown = grown + (product(tl.trans(gather(matrices[k], part, BM, BC)), d, totals[k]),)
        totals = grown
    p = tl.program_id(0).to(tl.int64)
    inside = (channel < C)[:, None] & (column < D)[None, :]
    for k in tl.static_range(K):
        at = out + (p * D + column[None, :]) * (K * C) + k * C + channel[:, None]
        tl.store(at, totals[k], mask=inside)
    if tl.program_id(1) == 0:
        at = out_bias + (p * BM + index[:, None]) * D + column[None, :]
        tl.store(at, bias, mask=(column < D)[None, :] & (index < BM)[:, None])


@triton.jit(do_not_specialize=["frames"])
def graph_sums(
    x, weight, dy, out, frames,
    V: tl.constexpr, K: tl.constexpr, C: tl.constexpr, D: tl.constexpr,
    BM: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """out[p, b] of (P, blocks of C, K, BM, BM): the sum of (dy W_k.T) x.T over these channels, by rows of tiles."""
    dtype: tl.constexpr = x.dtype.element_ty
    full: tl.constexpr = BM // V * V
    index = tl.arange(0, BM)
    channel = tl.program_id(1) * BC + tl.arange(0, BC)
    column = tl.arange(0, BD)
    weights = ()
    totals = ()
    for k in tl.static_range(K):
        at = weight + column[:, None] * (K * C) + k * C + channel[None, :]
        weights = weights + (tl.load(at, mask=(column < D)[:, None] & (channel < C)[None, :], other=0.0).to(dtype),)
        totals = totals + (tl.zeros((BM, BM), tl.float32),)
    rows = frames.to(tl.int64) * V
    for start in range(tl.program_id(0).to(tl.int64) * full, rows, tl.num_programs(0) * full):
        row = start + index
        there = (index < full) & (row < rows)
        part = tl.trans(tile(x, row, there, channel, channel < C, C))
        d = tile(dy, row, there, column, column < D, D)
        grown = ()
        for k in tl.static_range(K):
            # What arrives at the neighbours' sums: gathering it with G_k.T would give the gradient of x.
            grown = grown + (product(gather(d, weights[k], BM, BC), part, totals[k]),)
        totals = grown
    out += (tl.program_id(0).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)) * (K * BM * BM)
    for k in tl.static_range(K):
        tl.store(out + k * BM * BM + index[:, None] * BM + index[None, :], totals[k])


def weight_blocks(channels: int, outputs: int) -> Blocks:
    bd = power(outputs, 16, 128)
    return Blocks(64, power(channels, 16, 64), bd, 4 if bd <= 64 else 8)


def graph_blocks(channels: int, outputs: int) -> Blocks:
    bd = power(outputs, 16, CHANNELS)
    # All outputs at once, as each needs the products with all; two copies of a wide tile do not fit beside the weight.
    bc = power(channels, 16, 64 if bd < CHANNELS else 32)
    return Blocks(64, bc, bd, 4 if bd <= 64 else 8, 2 if bd < CHANNELS else 1)


def weight_and_bias_gradient(x_FVC: Tensor, graph_KVV: Tensor, dy_FVD: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of the weight (D, K C) and of the bias (V, D), float32."""
    frames, joints, channels = x_FVC.shape
    partitions, outputs = len(graph_KVV), dy_FVD.shape[2]
    blocks = weight_blocks(channels, outputs)
    grid = triton.cdiv(channels, blocks.inputs), triton.cdiv(outputs, blocks.outputs)
    count = min(triton.cdiv(frames, blocks.rows // joints), max(1, 2 * programs(x_FVC.device) // (grid[0] * grid[1])))
    partial = x_FVC.new_empty(count, outputs, partitions * channels, dtype=torch.float32)
    by_row = partial.new_empty(count, blocks.rows, outputs)
    weight_sums[(count, *grid)](
        x_FVC, graph_KVV, dy_FVD, partial, by_row, frames, joints, partitions, channels, outputs,
        *blocks[:3], num_warps=blocks.warps, num_stages=blocks.stages,
    )  # fmt: skip
    full = blocks.rows // joints * joints
    return partial.sum(0), by_row.sum(0)[:full].view(-1, joints, outputs).sum(0)


def graph_gradient(x_FVC: Tensor, weight_DKC: Tensor, dy_FVD: Tensor) -> Tensor:
    """The gradient of the graph (K, V, V), float32."""
    frames, joints, channels = x_FVC.shape
    outputs, partitions, _ = weight_DKC.shape
    blocks = graph_blocks(channels, outputs)
    parts, inside = triton.cdiv(channels, blocks.inputs), blocks.rows // joints
    count = min(triton.cdiv(frames, inside), max(1, 2 * programs(x_FVC.device) // parts))
    partial = x_FVC.new_empty(count * parts, partitions, blocks.rows, blocks.rows, dtype=torch.float32)
    graph_sums[(count, parts)](
        x_FVC, weight_DKC, dy_FVD, partial, frames, joints, partitions, channels, outputs,
        *blocks[:3], num_warps=blocks.warps, num_stages=blocks.stages,
    )  # fmt: skip
    full = inside * joints
    tiles = partial.sum(0)[:, :full, :full].reshape(partitions, inside, joints, inside, joints)
    gradient: Tensor = tiles.diagonal(dim1=1, dim2=3).sum(-1)  # only pairs of joints of the same frame
    return gradient


class GraphConv(torch.autograd.Function):
    """y (N, D, T, V) of x (N, C, T, V), with graph (K, V, V), weight (D, K C) and bias (V, D); and x again.

    The gradient of that second output, which a residual connection goes on with, is added in the kernel that computes
    the gradient of x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, graph: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        x_FVC, weight_DKC = frames(x), weight.view(len(weight), len(graph), -1)
        ctx.save_for_backward(x, graph, weight)
        ctx.set_materialize_grads(False)
        return back(convolution(x_FVC, graph, weight_DKC, bias), x), x

    @staticmethod
    def backward(ctx: Any, dy: Tensor, more: Tensor | None) -> tuple[Tensor | None, ...]:
        x, graph, weight = ctx.saved_tensors
        x_FVC, dy_FVD, weight_DKC = frames(x), frames(dy), weight.view(len(weight), len(graph), -1)
        dx = dgraph = dweight = dbias = None
        if ctx.needs_input_grad[0]:
            transposed = graph.transpose(1, 2), weight_DKC.transpose(0, 2)
            dx = back(convolution(dy_FVD, *transposed, None, None if more is None else frames(more)), x)
        if ctx.needs_input_grad[1]:
            dgraph = graph_gradient(x_FVC, weight_DKC, dy_FVD)
        if ctx.needs_input_grad[2] or ctx.needs_input_grad[3]:
            dweight, dbias = weight_and_bias_gradient(x_FVC, graph, dy_FVD)
        return dx, dgraph, dweight, dbias


def frames(x: Tensor) -> Tensor:
    """x (N, C, T, V) as (N T, V, C), contiguous: without a copy if it is channels last."""
    return x.permute(0, 2, 3, 1).flatten(0, 1).contiguous()


def back(y_FVC: Tensor, x: Tensor) -> Tensor:
    """Frames of the bodies of x as (N, C, T, V)."""
    return y_FVC.view(len(x), -1, *y_FVC.shape[1:]).permute(0, 3, 1, 2)
