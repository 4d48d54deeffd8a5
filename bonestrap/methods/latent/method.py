"""Masked prediction of latent targets: a teacher's representations of the masked tokens instead of their motion.

The encoder's moving average sees all tokens; its outputs, normalised token by token, are the targets (data2vec, Baevski
et al. 2022; on skeletons S-JEPA, Abdelfattah and Alahi 2024). With a decoder the encoder sees visible tokens alone.
Without one, masked tokens enter the encoder as a learned vector at their place.

Legend: N bodies of all clips, T frames, V joints, C numbers a joint, L tokens of a body, K of them masked, D channels.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Batch, Clips
from bonestrap.encoders.encoder import TokenEncoder
from bonestrap.methods.latent import LatentConfig
from bonestrap.methods.masking.decoder import Decoder
from bonestrap.methods.masking.mask import (
    Mask,
    log_probability,
    mask,
    squared_error,
    stride_motion,
    uniform,
    view_generator,
)
from bonestrap.methods.method import Method
from bonestrap.momentum import cosine_momentum, ema
from bonestrap.transformer import chosen


class Substitute(nn.Module):
    """Instead of a decoder: the vector that stands for masked tokens, and a linear layer on the encoder's output."""

    def __init__(self, width: int):
        super().__init__()
        self.mask_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(width), std=0.02))
        self.head = nn.Linear(width, width)

    def forward(self, encoder: TokenEncoder, joints_NTVC: Tensor, hidden: Mask) -> Tensor:
        """Predictions for all tokens, (N, L, D)."""
        tokens = encoder.embed(joints_NTVC)
        index = hidden.masked[:, :, None].expand(-1, -1, tokens.shape[2])
        tokens = tokens.scatter(1, index, self.mask_token.to(tokens.dtype).expand(index.shape))
        out: Tensor = self.head(encoder.transform(tokens + encoder.positions()))
        return out


class Latent(Method):
    """The encoder sees the tokens that move least, and predicts what its moving average makes of the others."""

    encoder: TokenEncoder

    def __init__(self, encoder: TokenEncoder, config: LatentConfig, *, view: Pipeline, steps: int):
        super().__init__()
        self.config = config
        self.view = view
        self.steps = steps
        self.axes = view.layout.coordinates
        self.count = config.masked(encoder.grid[0] * encoder.grid[1])
        self.encoder = encoder
        self.decoder: Decoder | Substitute
        self.decoder = Decoder(encoder, config, encoder.width) if config.decoder else Substitute(encoder.width)
        self.teacher = copy.deepcopy(encoder).requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Latent:
        super().train(mode)
        self.teacher.eval()
        return self

    def start_from_encoder(self, state: Mapping[str, Tensor]) -> None:
        for network in (self.encoder, self.teacher):
            network.load_state_dict(state)

    def prepare(self, batch: Batch) -> Clips:
        return self.view(batch.views[0], view_generator(batch))

    def losses(self, inputs: Clips, branch: Hashable) -> dict[str, Tensor]:
        joints = inputs.joints
        motion = stride_motion(joints[..., : self.axes], self.encoder.patch)
        pi = log_probability(motion, self.config.tau, self.config.intensity)
        hidden = mask(pi, uniform(self.encoder, joints), self.count)
        return {"loss": squared_error(self.predict(joints, hidden), self.target(joints, hidden), inputs)}

    def predict(self, joints_NTVC: Tensor, hidden: Mask) -> Tensor:
        """What the online networks make of the masked tokens, (N, K, D)."""
        if isinstance(self.decoder, Substitute):
            return chosen(self.decoder(self.encoder, joints_NTVC, hidden), hidden.masked)
        latent = self.encoder.forward_encoder(joints_NTVC, hidden.visible)
        return chosen(self.decoder(latent, hidden.visible), hidden.masked)

    @torch.no_grad()
    def target(self, joints_NTVC: Tensor, hidden: Mask) -> Tensor:
        """What the teacher makes of the masked tokens, (N, K, D): each with mean zero and variance one."""
        tokens = chosen(self.teacher.forward_encoder(joints_NTVC), hidden.masked)
        return F.layer_norm(tokens.to(torch.promote_types(tokens.dtype, torch.float32)), tokens.shape[2:])

    def rates(self, step: int) -> dict[str, float]:
        return {"momentum": cosine_momentum(self.config.momentum, step, self.steps)}

    def follow(self, rates: Mapping[str, float | Tensor], branch: Hashable) -> None:
        ema(self.teacher, self.encoder, rates["momentum"])
