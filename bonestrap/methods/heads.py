"""Heads of self-supervised methods: what stands on the encoder while it trains and is not shipped."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap.clips import Clips
from bonestrap.encoders.encoder import Encoder
from bonestrap.momentum import BatchNorm


class Head(nn.Module):
    """A perceptron with one hidden layer: linear, BatchNorm, ReLU, linear (projector g and predictor q)."""

    def __init__(self, inputs: int, hidden: int, outputs: int, norm: bool = False):
        super().__init__()
        self.linear1 = nn.Linear(inputs, hidden)
        self.norm1 = BatchNorm(hidden)
        self.linear2 = nn.Linear(hidden, outputs)
        self.norm2 = BatchNorm(outputs) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm2(self.linear2(F.relu(self.norm1(self.linear1(x)))))
        return out


class Projected(nn.Module):
    """Encoder f and projector g: clips to embeddings z."""

    def __init__(self, encoder: Encoder, *, hidden: int, projection: int, norm: bool):
        super().__init__()
        self.encoder = encoder
        self.projector = Head(encoder.features, hidden, projection, norm)

    def forward(self, clips: Clips) -> Tensor:
        z: Tensor = self.projector(self.encoder(clips))
        return z
