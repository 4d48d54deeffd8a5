"""ST-GCN, the spatial-temporal graph convolutional network of Yan et al. (AAAI 2018), with a width multiplier.

Legend: B clips, N bodies of all clips, C coordinates or channels, T frames, V joints, K spatial partitions.

Activations are logically (N, C, T, V) and physically (N, T, V, C), `torch.channels_last`: the graph product sees the
joints and channels of a frame as one contiguous matrix, and convolutions take the layout without a copy.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap import kernels
from bonestrap.encoders import STGCNConfig
from bonestrap.encoders.encoder import Encoder
from bonestrap.layout import Layout
from bonestrap.momentum import BatchNorm

# (channels at width 1, temporal stride) of the ten blocks.
BLOCKS = ((64, 1), (64, 1), (64, 1), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1), (256, 1))


# Joints times channels up to which a spatial graph convolution in half precision is one dense product.
DENSE = 400


class SpatialGraphConv(nn.Module):
    """y_v = sum over partitions k and joints u of (A_k * M_k)[v, u] (W_k x_u + b_k), M learnable edge importance.

    Neighbours are gathered before the 1x1 convolution: its input is never wider than its output here, so this order
    does the fewer multiplications. Narrow layers in half precision multiply by the whole (V C) x (V C') matrix instead:
    more multiplications, but one product that keeps a matrix unit busy where a product a frame does not.
    """

    partitions: Tensor

    def __init__(self, inputs: int, outputs: int, partitions: Tensor):
        super().__init__()
        k, v, _ = partitions.shape
        self.register_buffer("partitions", partitions, persistent=False)  # (K, V, V), a constant of the layout
        self.importance = nn.Parameter(torch.ones(k, v, v))
        self.weight = nn.Parameter(torch.empty(outputs, k * inputs))
        self.bias = nn.Parameter(torch.empty(k, outputs))
        bound = inputs**-0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x_NCTV: Tensor) -> Tensor:
        return self.branch(x_NCTV)[0]

    def branch(self, x_NCTV: Tensor) -> tuple[Tensor, Tensor]:
        """y, and x for the residual connection: a kernel adds up both gradients of x where it computes the first."""
        graph = self.partitions * self.importance  # (K, V, V)
        with torch.autocast(x_NCTV.device.type, enabled=False):
            bias = torch.einsum("kv,ko->vo", graph.sum(2), self.bias)
        if kernels.convolves(x_NCTV, len(self.weight), len(graph)):
            from bonestrap.kernels.graph_gradients import GraphConv

            both: tuple[Tensor, Tensor]
            both = GraphConv.apply(x_NCTV, graph, self.weight, bias)  # type: ignore[no-untyped-call]
            return both
        return self.plain(x_NCTV, graph, bias), x_NCTV

    def plain(self, x_NCTV: Tensor, graph: Tensor, bias: Tensor) -> Tensor:
        """The reference in plain torch."""
        frames = x_NCTV.permute(0, 2, 3, 1)
        narrow = frames.shape[2] * frames.shape[3] <= DENSE and frames.dtype == torch.bfloat16
        y = self.dense(frames, graph, bias) if narrow else self.gather(frames, graph) + bias.to(frames.dtype)
        return y.permute(0, 3, 1, 2)

    def gather(self, x_NTVC: Tensor, graph: Tensor) -> Tensor:
        """Neighbours side by side, then one product over partitions and channels."""
        n, t, v, c = x_NTVC.shape
        k = graph.shape[0]
        frames = x_NTVC.reshape(n * t, v, c)
        rows = graph.transpose(0, 1).reshape(
            v * k, v
        )  # joint-major, so that a joint's K neighbourhoods lie side by side
        # Cast before expanding: a cast of an expanded tensor would write out a copy for every frame.
        gathered = torch.bmm(rows.to(frames.dtype).expand(n * t, v * k, v), frames)
        return F.linear(gathered.view(n, t, v, k * c), self.weight)

    def dense(self, x_NTVC: Tensor, graph: Tensor, bias: Tensor) -> Tensor:
        """One product over joints and channels; entry (v, o), (u, c) sums graph_k[v, u] W_k[o, c] over k."""
        n, t, v, c = x_NTVC.shape
        k, outputs = graph.shape[0], len(self.weight)
        weight = self.weight.view(outputs, k, c).transpose(0, 1).reshape(k, outputs * c)
        with torch.autocast(x_NTVC.device.type, enabled=False):
            matrix = (graph.flatten(1).T @ weight).view(v, v, outputs, c).transpose(1, 2).reshape(v * outputs, v * c)
        y = F.linear(x_NTVC.reshape(n * t, v * c), matrix.to(x_NTVC.dtype), bias.flatten().to(x_NTVC.dtype))
        return y.view(n, t, v, outputs)


class Block(nn.Module):
    """Spatial graph convolution, then temporal convolution, each with batch normalisation; residual around both."""

    def __init__(self, inputs: int, outputs: int, partitions: Tensor, stride: int, dropout: float, residual: bool):
        super().__init__()
        self.spatial = SpatialGraphConv(inputs, outputs, partitions)
        self.norm1 = BatchNorm(outputs)
        self.temporal = nn.Conv2d(outputs, outputs, (9, 1), stride=(stride, 1), padding=(4, 0))
        self.norm2 = BatchNorm(outputs)
        self.dropout = dropout
        self.residual = residual
        self.stride = stride
        self.shortcut: nn.Module | None = None
        if residual and (inputs != outputs or stride != 1):
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1), BatchNorm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y, x = self.spatial.branch(x)
        y = self.temporal(self.norm1(y, relu=True))
        residual = None
        if self.residual:
            # Strided by slicing: the strided 1x1 convolution of oneDNN writes out of bounds on its way back where there
            # are fewer than 16 channels and several threads (uxlfoundation/oneDNN issue 6035).
            residual = x if self.shortcut is None else self.shortcut(every(x, self.stride))
        if not self.dropout:
            out: Tensor = self.norm2(y, residual, relu=True)
            return out
        y = F.dropout(self.norm2(y), self.dropout, self.training)
        return F.relu(y if residual is None else y + residual)


def every(x_NCTV: Tensor, stride: int) -> Tensor:
    """Every stride-th frame, sliced in the physical order: a gradient in another layout slows every kernel after it."""
    return x_NCTV.permute(0, 2, 3, 1)[:, ::stride].permute(0, 3, 1, 2)


class STGCN(Encoder):
    """Clips of `channels` coordinates a joint to features (B, `features`): mean over frames and joints, then bodies."""

    takes_padding = True

    def __init__(self, config: STGCNConfig, layout: Layout, channels: int):
        super().__init__()
        self.config = config
        self.joints = len(layout.joints)
        partitions = torch.from_numpy(layout.partitions(one_hop=config.partitions == "one-hop"))
        self.norm = BatchNorm(len(layout.joints) * channels)
        blocks, inputs = [], channels
        for index, (base, stride) in enumerate(BLOCKS):
            outputs = max(1, round(base * config.width))
            blocks.append(Block(inputs, outputs, partitions, stride, config.dropout, residual=index > 0))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.features = inputs
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode_bodies(self, joints_NTVC: Tensor) -> Tensor:
        n, t, v, c = joints_NTVC.shape
        # The published network normalises every joint's every coordinate on its own: V * C channels.
        x = self.norm(joints_NTVC.reshape(n, t, 1, v * c).permute(0, 3, 1, 2))
        x = x.permute(0, 2, 3, 1).reshape(n, t, v, c).permute(0, 3, 1, 2)
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        x = self.blocks(x).permute(0, 2, 3, 1).flatten(1, 2)  # (N, T * V, C), the physical order
        features: Tensor = x.to(torch.promote_types(x.dtype, torch.float32)).mean(1)
        return features

    def layers(self) -> Sequence[nn.Module]:
        return [self.norm, *self.blocks]

    def for_inference(self) -> nn.Module:
        from bonestrap.encoders.stgcn.inference import Folded

        return Folded(self)
