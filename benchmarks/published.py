"""ST-GCN and BYOL in plain eager float32, as published: what the step is compared with.

Every clip brings M bodies, absent ones as zeros, and all of them are encoded; activations are (N, C, T, V); a 1x1
convolution makes K * C' channels of which the graph product sums the partitions; the two views and the two networks
are four forward passes, one after the other.

Legend: B clips, M bodies a clip, C coordinates or channels, T frames, V joints, K spatial partitions.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap.encoders.stgcn.network import BLOCKS
from bonestrap.layout import Layout


class Block(nn.Module):
    """Graph convolution, BatchNorm, ReLU, temporal convolution, BatchNorm; residual; ReLU."""

    partitions: Tensor

    def __init__(self, inputs: int, outputs: int, partitions: Tensor, stride: int, residual: bool):
        super().__init__()
        self.register_buffer("partitions", partitions)
        self.importance = nn.Parameter(torch.ones_like(partitions))
        self.spatial = nn.Conv2d(inputs, outputs * len(partitions), 1)
        self.temporal = nn.Sequential(
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, (9, 1), (stride, 1), (4, 0)),
            nn.BatchNorm2d(outputs),
        )
        self.residual = residual
        self.shortcut: nn.Module = nn.Identity()
        if residual and (inputs != outputs or stride != 1):
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, (stride, 1)), nn.BatchNorm2d(outputs))

    def forward(self, x_NCTV: Tensor) -> Tensor:
        n, _, t, v = x_NCTV.shape
        y = self.spatial(x_NCTV).view(n, len(self.importance), -1, t, v)
        y = self.temporal(torch.einsum("nkctv,kwv->nctw", y, self.partitions * self.importance).contiguous())
        return F.relu(y + self.shortcut(x_NCTV)) if self.residual else F.relu(y)


class PublishedSTGCN(nn.Module):
    """Joints (B, M, T, V, C), absent bodies zero, to features (B, 256 * width), means over all three."""

    def __init__(self, width: float, layout: Layout, channels: int):
        super().__init__()
        partitions = torch.from_numpy(layout.partitions()).float()
        self.norm = nn.BatchNorm1d(len(layout.joints) * channels)
        inputs, blocks = channels, []
        for index, (base, stride) in enumerate(BLOCKS):
            outputs = max(1, round(base * width))
            blocks.append(Block(inputs, outputs, partitions, stride, residual=index > 0))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.features = inputs

    def forward(self, joints_BMTVC: Tensor) -> Tensor:
        b, m, t, v, c = joints_BMTVC.shape
        x = self.norm(joints_BMTVC.permute(0, 1, 3, 4, 2).reshape(b * m, v * c, t))
        x = self.blocks(x.view(b * m, v, c, t).permute(0, 2, 3, 1).contiguous())
        return x.mean((2, 3)).view(b, m, -1).mean(1)


class PublishedBYOL(nn.Module):
    """Online and target network, predictor, and one step of learning from two views."""

    def __init__(self, encoder: PublishedSTGCN, hidden: int, projection: int):
        super().__init__()
        self.online = nn.Sequential(encoder, head(encoder.features, hidden, projection))
        self.predictor = head(projection, hidden, projection)
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.target.eval()

    def loss(self, view1: Tensor, view2: Tensor) -> Tensor:
        with torch.no_grad():
            z1, z2 = self.target(view1), self.target(view2)
        q1, q2 = self.predictor(self.online(view1)), self.predictor(self.online(view2))
        return (4 - 2 * F.cosine_similarity(q1, z2) - 2 * F.cosine_similarity(q2, z1)).mean()

    @torch.no_grad()
    def move_target(self, momentum: float) -> None:
        for slow, fast in zip(self.target.parameters(), self.online.parameters(), strict=True):
            slow.mul_(momentum).add_(fast, alpha=1 - momentum)
        for kept, moved in zip(self.target.buffers(), self.online.buffers(), strict=True):
            kept.copy_(moved)


def head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, outputs)
    )
