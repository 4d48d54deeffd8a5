"""Pre-norm blocks of a transformer, for encoders and decoders of tokens (Vaswani et al. 2017; ViT, Eq. 2 and 3).

Legend: N bodies, K tokens of each, D channels, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-5  # of layer normalisation


class Attention(nn.Module):
    """Multi-head self-attention over the tokens, (N, K, D) to (N, K, D), through PyTorch's fused kernel."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, x_NKD: Tensor) -> Tensor:
        n, k, d = x_NKD.shape
        q, key, v = self.qkv(x_NKD).view(n, k, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, key, v)  # (N, H, K, D / H)
        out: Tensor = self.projection(attended.transpose(1, 2).reshape(n, k, d))
        return out


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): in training, each body skips the branch with probability `rate`."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x_NKD: Tensor) -> Tensor:
        if not self.training or not self.rate:
            return x_NKD
        kept = torch.rand(len(x_NKD), 1, 1, device=x_NKD.device) >= self.rate
        return x_NKD * kept / (1 - self.rate)


class Block(nn.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x)) with four times as many hidden units and GELU."""

    def __init__(self, width: int, heads: int, drop_path: float = 0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop_path = DropPath(drop_path)

    def forward(self, x_NKD: Tensor) -> Tensor:
        x = x_NKD + self.drop_path(self.attention(self.norm1(x_NKD)))
        out: Tensor = x + self.drop_path(self.perceptron(self.norm2(x)))
        return out


class Positions(nn.Module):
    """A learned embedding of each segment in time and one of each joint, summed: (segments * joints, D)."""

    def __init__(self, segments: int, joints: int, width: int):
        super().__init__()
        self.time = nn.Parameter(nn.init.trunc_normal_(torch.empty(segments, 1, width), std=0.02))
        self.joint = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, joints, width), std=0.02))

    def forward(self) -> Tensor:
        return (self.time + self.joint).flatten(0, 1)


def initialise(module: nn.Module) -> None:
    """Weights of linear layers as Glorot and Bengio (2010) draw them, biases zero, as ViT begins."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


def chosen(x_NLD: Tensor, index_NK: Tensor) -> Tensor:
    """Each body's tokens of these numbers, (N, K, D)."""
    return x_NLD.gather(1, index_NK[:, :, None].expand(-1, -1, x_NLD.shape[2]))
