"""ST-GCN for inference: every batch normalisation lies in the weights of a convolution.

Legend: N bodies, C channels, D features, K spatial partitions, T frames, V joints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap.encoders.stgcn.network import STGCN, Block
from bonestrap.momentum import BatchNorm


class Folded(nn.Module):
    """ST-GCN for inference, (N, C, T, V) to (N, D), without batch normalisation."""

    scale: Tensor
    shift: Tensor

    def __init__(self, encoder: STGCN):
        super().__init__()
        scale, shift = (
            part.view(encoder.joints, -1).t()[:, None].float().contiguous() for part in affine(encoder.norm)
        )
        self.register_buffer("scale", scale)  # (C, 1, V): its own for every joint's every number
        self.register_buffer("shift", shift)
        self.blocks = nn.Sequential(*(FoldedBlock(block) for block in encoder.blocks if isinstance(block, Block)))

    def forward(self, x_NCTV: Tensor) -> Tensor:
        x: Tensor = self.blocks(x_NCTV * self.scale + self.shift)
        return x.mean((2, 3))


class FoldedBlock(nn.Module):
    """One block. The neighbours of a joint are put side by side along the joints, (N, C, T, V * K), and a convolution
    whose kernel and stride are K sums the partitions: activations are never transposed.
    """

    graph: Tensor
    bias: Tensor

    def __init__(self, block: Block):
        super().__init__()
        source = block.spatial
        outputs = len(source.weight)
        graph = (source.partitions * source.importance).detach().double()  # (K, V, V), receiver before sender
        k, v, _ = graph.shape
        self.register_buffer("graph", graph.permute(2, 1, 0).reshape(v, v * k).float())
        scale, shift = affine(block.norm1)
        weight = source.weight.detach().double().view(outputs, k, -1).transpose(1, 2)[:, :, None]  # (C', C, 1, K)
        self.spatial = nn.Conv2d(weight.shape[1], outputs, (1, k), stride=(1, k), bias=False)
        fill(self.spatial.weight, weight * scale[:, None, None, None])
        bias = torch.einsum("kv,ko->ov", graph.sum(2), source.bias.detach().double())
        self.register_buffer("bias", (bias * scale[:, None] + shift[:, None])[:, None].float())  # (C', 1, V)
        self.temporal = folded(block.temporal, block.norm2)
        self.shortcut: nn.Module | None = None
        if isinstance(block.shortcut, nn.Sequential):
            convolution, norm = block.shortcut
            assert isinstance(convolution, nn.Conv2d) and isinstance(norm, BatchNorm)
            self.shortcut = folded(convolution, norm, stride=(block.stride, 1))
        self.residual = block.residual

    def forward(self, x_NCTV: Tensor) -> Tensor:
        y = F.relu(self.spatial(x_NCTV @ self.graph) + self.bias)
        y = self.temporal(y)
        if self.residual:
            y = y + (x_NCTV if self.shortcut is None else self.shortcut(x_NCTV))
        return F.relu(y)


def affine(norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """The factor and the summand of every channel that a layer of batch normalisation is in evaluation, in float64."""
    scale = norm.weight.detach().double() / (norm.var.double() + norm.eps).sqrt()
    return scale, norm.bias.detach().double() - norm.mean.double() * scale


def folded(source: nn.Conv2d, norm: BatchNorm, stride: tuple[int, int] | None = None) -> nn.Conv2d:
    """A convolution and the normalisation after it as one convolution."""
    height, width = source.kernel_size
    rows, columns = (int(size) for size in source.padding)
    convolution = nn.Conv2d(
        source.in_channels,
        source.out_channels,
        (height, width),
        stride=stride or (source.stride[0], source.stride[1]),
        padding=(rows, columns),
    )
    scale, shift = affine(norm)
    assert source.bias is not None and convolution.bias is not None
    fill(convolution.weight, source.weight.detach().double() * scale[:, None, None, None])
    fill(convolution.bias, source.bias.detach().double() * scale + shift)
    return convolution


def fill(parameter: Tensor, values: Tensor) -> None:
    with torch.no_grad():
        parameter.copy_(values)
