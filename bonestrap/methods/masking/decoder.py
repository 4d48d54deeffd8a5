"""The decoder of masked prediction (Mehraban et al., section 3.2): from visible tokens to a prediction for all.

Legend: N bodies, L tokens of each, K of them visible, D channels of the encoder, P numbers predicted of a token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bonestrap.encoders.encoder import TokenEncoder
from bonestrap.methods.masking import MaskedConfig
from bonestrap.transformer import EPS, Block, Positions, initialise


class Decoder(nn.Module):
    """Mask tokens where tokens are hidden, positions of its own, blocks like the encoder's, a linear layer."""

    def __init__(self, encoder: TokenEncoder, config: MaskedConfig, outputs: int):
        super().__init__()
        width = max(1, round(encoder.width * config.decoder_width / encoder.heads)) * encoder.heads
        self.embedding = nn.Linear(encoder.width, width)
        self.mask_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(width), std=0.02))
        self.positions = Positions(*encoder.grid, width)
        self.blocks = nn.ModuleList(Block(width, encoder.heads) for _ in range(config.decoder))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.head = nn.Linear(width, outputs)
        initialise(self)

    def forward(self, latent_NKD: Tensor, visible_NK: Tensor) -> Tensor:
        """(N, L, P)."""
        seen = self.embedding(latent_NKD)
        places = self.positions()
        tokens = self.mask_token.to(seen.dtype).expand(len(seen), len(places), -1)
        x = tokens.scatter(1, visible_NK[:, :, None].expand_as(seen), seen) + places
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(self.norm(x))
        return out
