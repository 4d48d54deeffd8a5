"""The skeleton transformer of MAMP (Mao et al., ICCV 2023) and STARS (Mehraban et al., section 4.2).

Legend: N bodies of all clips, T frames, V joints, C numbers a joint, l frames of a patch, S = T / l segments, L = S V
tokens of a body, K of them that are visible, D channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bonestrap.augment import ClipConfig
from bonestrap.encoders import SkeletonTransformerConfig
from bonestrap.encoders.encoder import TokenEncoder
from bonestrap.layout import Layout
from bonestrap.transformer import EPS, Block, Positions, chosen, initialise


class SkeletonTransformer(TokenEncoder):
    """Bodies one by one: patches of l frames of one joint, embedded with their place, through pre-norm blocks."""

    takes_padding = True

    def __init__(self, config: SkeletonTransformerConfig, layout: Layout, clip: ClipConfig):
        super().__init__()
        self.config = config
        self.grid = clip.frames // config.patch, len(layout.joints)
        self.patch, self.width, self.heads = config.patch, config.units, config.heads
        self.channels = layout.coordinates if config.channels == "joints" else clip.channels(layout)
        self.features = self.width * (self.grid[1] if config.pool == "joint" else 1)
        self.embedding = nn.Linear(self.patch * self.channels, self.width)
        self.positions = Positions(*self.grid, self.width)
        rates = torch.linspace(0, config.drop_path, config.depth).tolist()
        self.blocks = nn.ModuleList(Block(self.width, self.heads, rate) for rate in rates)
        self.norm = nn.LayerNorm(self.width, eps=EPS)
        initialise(self.blocks)

    def patches(self, joints_NTVC: Tensor) -> Tensor:
        """The segments S' of section 3.2, (N, L, l C), a segment's joints one after the other."""
        n, t, v, _ = joints_NTVC.shape
        frames, joints = self.grid[0] * self.patch, self.grid[1]
        if (t, v) != (frames, joints):
            raise ValueError(f"the encoder takes clips of {frames} frames of {joints} joints, got {t} of {v}")
        x = joints_NTVC[..., : self.channels].reshape(n, self.grid[0], self.patch, v, self.channels)
        return x.transpose(2, 3).reshape(n, self.grid[0] * v, self.patch * self.channels)

    def embed(self, joints_NTVC: Tensor) -> Tensor:
        tokens: Tensor = self.embedding(self.patches(joints_NTVC))
        return tokens

    def transform(self, tokens_NKD: Tensor) -> Tensor:
        for block in self.blocks:
            tokens_NKD = block(tokens_NKD)
        out: Tensor = self.norm(tokens_NKD)
        return out

    def forward_encoder(self, joints_NTVC: Tensor, visible_NK: Tensor | None = None) -> Tensor:
        patches, places = self.patches(joints_NTVC), self.positions()
        if visible_NK is None:
            return self.transform(self.embedding(patches) + places)
        return self.transform(self.embedding(chosen(patches, visible_NK)) + places[visible_NK])

    def encode_bodies(self, joints_NTVC: Tensor) -> Tensor:
        tokens = self.forward_encoder(joints_NTVC)
        kind = torch.promote_types(tokens.dtype, torch.float32)
        by_joint: Tensor = tokens.unflatten(1, self.grid).mean(1, dtype=kind)  # (N, V, D)
        return by_joint.flatten(1) if self.config.pool == "joint" else by_joint.mean(1)

    def layers(self) -> Sequence[nn.Module]:
        """The embedding, then the blocks; the last norm goes with the last block."""
        *blocks, last = self.blocks
        return [nn.ModuleList([self.embedding, self.positions]), *blocks, nn.ModuleList([last, self.norm])]
