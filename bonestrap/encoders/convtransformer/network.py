"""The convolutional transformer of ReL-SAR (Naimi, Bouachir and Bilodeau 2024, section III).

Legend: N bodies of all clips, T frames, V joints, P points, A coordinates, C numbers a joint, D channels, H heads,
K = T + 1 tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap.encoders import ConvTransformerConfig
from bonestrap.encoders.encoder import Encoder
from bonestrap.layout import Layout, points
from bonestrap.momentum import BatchNorm
from bonestrap.selection import membership, places

EPS = 1e-6  # of layer normalisation


class Selection(nn.Module):
    """Joints to the points of Selection-Permutation, centred and scaled, with velocities: (N, T, V, C) to (N, T, I).

    A point is the mean of those of its joints that are seen: whose confidence, where the layout keeps it, is not zero.
    A centred frame has the layout's root as its origin and is divided by the length of its spine, at least one torso
    or metre: in space, metres stay. The velocity of the first frame is its position, as in the published code.
    """

    members: Tensor
    center: Tensor
    spine: Tensor

    def __init__(self, config: ConvTransformerConfig, layout: Layout):
        super().__init__()
        self.axes, self.confidence = layout.coordinates, layout.confidence
        self.joints = len(layout.joints)
        self.centred, self.velocity = config.pose == "frame", config.velocity
        chosen = places(layout, every=config.joints == "all", permutation=config.permutation)
        self.numbers = len(chosen) * self.axes * (2 if self.velocity else 1)
        ends = membership((points(layout.root), *map(points, layout.spine)), self.joints)
        root, lower, upper = torch.from_numpy(ends / ends.sum(1, keepdims=True))
        self.register_buffer("members", torch.from_numpy(membership(chosen, self.joints)), persistent=False)  # (P, V)
        self.register_buffer("center", root, persistent=False)  # (V,)
        self.register_buffer("spine", upper - lower, persistent=False)  # (V,)

    def forward(self, joints_NTVC: Tensor) -> Tensor:
        """In the joints' own precision: velocities are small differences, which bf16 would round away."""
        kind = joints_NTVC.device.type
        if not torch.is_autocast_enabled(kind):
            return self.described(joints_NTVC)
        with torch.autocast(kind, enabled=False):
            return self.described(joints_NTVC)

    def described(self, joints_NTVC: Tensor) -> Tensor:
        x = joints_NTVC[..., : self.axes]
        if self.confidence:
            y = self.seen(x, joints_NTVC[..., 2 * self.axes] > 0)
        else:
            y = (self.members / self.members.sum(1, keepdim=True)) @ x  # (N, T, P, A)
        if self.centred:
            spine = (self.spine[:, None] * x).sum(2, keepdim=True).square().sum(3, keepdim=True).sqrt()
            y = (y - (self.center[:, None] * x).sum(2, keepdim=True)) / spine.clamp(min=1)
        if self.velocity:
            y = torch.cat((y, torch.cat((y[:, :1], y[:, 1:] - y[:, :-1]), 1)), 3)
        return y.flatten(2)

    def seen(self, x_NTVA: Tensor, seen_NTV: Tensor) -> Tensor:
        """Means over the joints that are seen; over all of a point's where none is."""
        weight = self.members * seen_NTV[:, :, None]  # (N, T, P, V)
        weight = torch.where(weight.sum(3, keepdim=True) > 0, weight, self.members)
        return (weight / weight.sum(3, keepdim=True)) @ x_NTVA


class Convolution(nn.Module):
    """Convolution of kernel 1, batch normalisation, SELU, and the maximum of each frame and the next one."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.convolution = nn.Conv1d(inputs, outputs, 1)
        self.norm = BatchNorm(outputs)

    def forward(self, x_NDT: Tensor) -> Tensor:
        y = F.selu(self.norm(self.convolution(x_NDT)))
        return torch.cat((torch.maximum(y[:, :, :-1], y[:, :, 1:]), y[:, :, -1:]), 2)


class Tokens(nn.Module):
    """Frames to tokens behind a class token, each with the learned embedding of its place: (N, T, D) to (N, K, D)."""

    def __init__(self, width: int, frames: int):
        super().__init__()
        self.projection = nn.Linear(width, width)
        self.token = nn.Parameter(nn.init.normal_(torch.empty(width), std=0.02))
        self.positions = nn.Parameter(nn.init.normal_(torch.empty(frames + 1, width), std=0.02))

    def forward(self, x_NTD: Tensor) -> Tensor:
        frames = self.projection(x_NTD)
        token = self.token.to(frames.dtype).expand(len(frames), 1, -1)
        return torch.cat((token, frames), 1) + self.positions


class Block(nn.Module):
    """norm(x + attention(x)), then norm(x + perceptron(x)) with four times as many hidden units: post-norm."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_NKD: Tensor) -> Tensor:
        x = self.norm1(x_NKD + self.dropout(self.attention(x_NKD)))
        out: Tensor = self.norm2(x + self.dropout(self.perceptron(x)))
        return out

    def attention(self, x_NKD: Tensor) -> Tensor:
        n, k, d = x_NKD.shape
        q, key, v = self.qkv(x_NKD).view(n, k, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, key, v)  # (N, H, K, D / H)
        out: Tensor = self.projection(attended.transpose(1, 2).reshape(n, k, d))
        return out


class ConvTransformer(Encoder):
    """Bodies one by one: points of every frame through two convolutions, then attention over time."""

    takes_padding = True

    def __init__(self, config: ConvTransformerConfig, layout: Layout, frames: int):
        super().__init__()
        self.config = config
        self.frames = frames
        self.features = config.outputs
        self.selection = Selection(config, layout)
        inputs, width = self.selection.numbers, config.width
        self.convolutions = nn.Sequential(Convolution(inputs, width), Convolution(width, width))
        self.tokens = Tokens(width, frames)
        self.blocks = nn.Sequential(*(Block(width, config.heads, config.dropout) for _ in range(config.depth)))
        self.output = nn.Linear(width, config.outputs)
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Conv1d):
                nn.init.xavier_uniform_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def encode_bodies(self, joints_NTVC: Tensor) -> Tensor:
        t, v = joints_NTVC.shape[1:3]
        if (t, v) != (self.frames, self.selection.joints):
            raise ValueError(
                f"the encoder takes clips of {self.frames} frames of {self.selection.joints} joints, got {t} of {v}"
            )
        x = self.convolutions(self.selection(joints_NTVC).transpose(1, 2)).transpose(1, 2)
        features: Tensor = self.output(self.blocks(self.tokens(x))[:, 0])
        return features if features.dtype == torch.float64 else features.float()

    def layers(self) -> Sequence[nn.Module]:
        return [*self.convolutions, self.tokens, *self.blocks, self.output]
