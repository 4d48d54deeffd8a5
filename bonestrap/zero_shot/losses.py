"""The losses of SA-DVAE (Li et al. 2024, section 3), as functions of a batch and of its noise.

Legend: B rows of a batch, X skeleton features, Y text features, R semantic units, V style units.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bonestrap.zero_shot import SADVAEConfig
from bonestrap.zero_shot.networks import SADVAE, Gaussian


class Noise(NamedTuple):
    """Standard normal numbers of a batch, one for every latent dimension."""

    semantic: Tensor  # (B, R), of skeletons
    style: Tensor  # (B, V)
    text: Tensor  # (B, R)

    @classmethod
    def draw(cls, config: SADVAEConfig, rows: int, generator: torch.Generator, dtype: torch.dtype) -> Noise:
        def normal(units: int) -> Tensor:
            return torch.randn(rows, units, generator=generator, dtype=dtype)

        return cls(normal(config.semantic), normal(config.style), normal(config.semantic))


class Weights(NamedTuple):
    """Weights of the losses at one step; reconstruction has 1."""

    kl_x: float
    kl_y: float
    cross: float
    penalty: float


def weights_at(config: SADVAEConfig, place: float) -> Weights:
    """The weights at a place of a cycle, 0 to 1. Those of the KL divergences and of the penalty rise linearly to its
    end, after `warmup` (cyclical annealing: Fu et al. 2019, section 4).
    """
    rise = max(0.0, (place - config.warmup) / (1 - config.warmup))
    cross = config.cross if place >= config.cross_from else 0.0
    return Weights(config.beta_x * rise, config.beta_y * rise, cross, config.penalty * rise if config.style else 0.0)


def autoencoder_loss(model: SADVAE, x_BX: Tensor, y_BY: Tensor, noise: Noise, weights: Weights) -> Tensor:
    """What encoders and decoders minimise; the discriminator gets no gradient of use, as its weights are not stepped.

    Mean squared errors of both reconstructions; KL divergences, summed over units; the cross-alignment, skeletons from
    their texts' latents with their own style, texts from skeletons' semantic latents; and the discriminator's
    probability that style and semantic latents belong together.
    """
    semantic, style = model.skeleton(x_BX)
    text, target_BY = model.text(y_BY), model.scaled_text(y_BY)
    z_BR, style_BV, text_BR = semantic.sample(noise.semantic), style.sample(noise.style), text.sample(noise.text)
    loss = F.mse_loss(model.skeleton_from(z_BR, style_BV), x_BX) + F.mse_loss(model.text_from(text_BR), target_BY)
    loss = loss + weights.kl_x * (kl(semantic) + kl(style)) + weights.kl_y * kl(text)
    if weights.cross:
        x_error = F.mse_loss(model.skeleton_from(text_BR, style_BV), x_BX)
        loss = loss + weights.cross * (x_error + F.mse_loss(model.text_from(z_BR), target_BY))
    if weights.penalty:
        loss = loss + weights.penalty * model.together(z_BR, style_BV).sigmoid().mean()
    return loss


def discriminator_loss(model: SADVAE, x_BX: Tensor, noise: Noise, order: tuple[Tensor, Tensor]) -> Tensor:
    """Binary cross-entropy of true pairs of latents against pairs in two random orders. Encoders get no gradient."""
    with torch.no_grad():
        semantic, style = model.skeleton(x_BX)
        z_BR, style_BV = semantic.sample(noise.semantic), style.sample(noise.style)
    true, permuted = model.together(z_BR, style_BV), model.together(z_BR[order[0]], style_BV[order[1]])
    real = F.binary_cross_entropy_with_logits(true, torch.ones_like(true))
    return (real + F.binary_cross_entropy_with_logits(permuted, torch.zeros_like(permuted))) / 2


def kl(latent: Gaussian) -> Tensor:
    """The divergence from a standard normal distribution: a sum over units, a mean over rows."""
    each = latent.mean.square() + latent.logvar.exp() - 1 - latent.logvar
    return each.sum(1).mean() / 2
