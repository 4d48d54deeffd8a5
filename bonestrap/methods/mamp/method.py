"""MAMP, masked motion prediction (Mao et al., ICCV 2023), as the first stage of STARS (Mehraban et al., section 3.2).

Legend: N bodies of all clips, T frames, V joints, C coordinates, l frames of a patch, S = T / l segments, L = S V
tokens of a body, K of them visible, D channels.
"""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor
from torch.nn import functional as F

from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Batch, Clips
from bonestrap.encoders.encoder import TokenEncoder
from bonestrap.methods.mamp import MAMPConfig
from bonestrap.methods.masking.decoder import Decoder
from bonestrap.methods.masking.mask import (
    Mask,
    log_probability,
    mask,
    patched,
    squared_error,
    stride_motion,
    uniform,
    view_generator,
)
from bonestrap.methods.method import Method
from bonestrap.transformer import chosen

VARIANCE = 1e-6  # added to a target's variance


class MAMP(Method):
    """The encoder sees the tokens that move least; a decoder predicts the motion of the others."""

    encoder: TokenEncoder

    def __init__(self, encoder: TokenEncoder, config: MAMPConfig, *, view: Pipeline):
        super().__init__()
        self.config = config
        self.view = view
        self.axes = view.layout.coordinates
        self.count = config.masked(encoder.grid[0] * encoder.grid[1])
        self.encoder = encoder
        self.decoder = Decoder(encoder, config, encoder.patch * self.axes)

    def prepare(self, batch: Batch) -> Clips:
        return self.view(batch.views[0], view_generator(batch))

    def losses(self, inputs: Clips, branch: Hashable) -> dict[str, Tensor]:
        joints = inputs.joints
        hidden = self.forward_mask(joints, uniform(self.encoder, joints))
        latent = self.forward_encoder(joints, hidden)
        return {"loss": self.forward_loss(inputs, self.forward_decoder(latent, hidden), hidden)}

    def forward_mask(self, joints_NTVC: Tensor, uniform_NL: Tensor) -> Mask:
        """Which tokens are masked: those that move most, and chance (Eq. 2 and 3)."""
        motion = stride_motion(joints_NTVC[..., : self.axes], self.encoder.patch)
        return mask(log_probability(motion, self.config.tau, self.config.intensity), uniform_NL, self.count)

    def forward_encoder(self, joints_NTVC: Tensor, hidden: Mask) -> Tensor:
        """Representations of the visible tokens, (N, K, D)."""
        return self.encoder.forward_encoder(joints_NTVC, hidden.visible)

    def forward_decoder(self, latent_NKD: Tensor, hidden: Mask) -> Tensor:
        """The predicted motion of all tokens, (N, L, l C)."""
        prediction: Tensor = self.decoder(latent_NKD, hidden.visible)
        return prediction

    def forward_loss(self, clips: Clips, prediction_NLP: Tensor, hidden: Mask) -> Tensor:
        """Eq. 4 over l C: the mean squared error over the masked tokens alone, of all bodies that are there."""
        target = chosen(self.target(clips.joints), hidden.masked)
        return squared_error(chosen(prediction_NLP, hidden.masked), target, clips)

    def target(self, joints_NTVC: Tensor) -> Tensor:
        """The motion that is predicted, (N, L, l C), each token's normalised by its own mean and variance."""
        joints, patch = joints_NTVC[..., : self.axes], self.encoder.patch
        if self.config.target == "stride":
            motion = stride_motion(joints, patch)
        else:
            motion = patched(F.pad(joints[:, 1:] - joints[:, :-1], (0, 0, 0, 0, 0, 1)), patch)
        motion = motion.flatten(3).flatten(1, 2)
        if not self.config.normalise:
            return motion
        variance, mean = torch.var_mean(motion, 2, keepdim=True)
        return (motion - mean) / (variance + VARIANCE).sqrt()
