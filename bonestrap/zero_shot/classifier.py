"""What recognises classes that nobody has shown: a linear classifier of latents that their texts give.

Legend: R recordings, K classes, U units of a latent.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bonestrap.zero_shot.networks import SADVAE
from bonestrap.zero_shot.texts import ClassTexts

STEPS, RATE = 300, 1e-3  # of Adam on all samples, as in the authors' code


class LatentClassifier(NamedTuple):
    """Logits of semantic latents."""

    weight: Tensor  # (K, U)
    bias: Tensor  # (K,)

    def logits(self, latents: Tensor) -> Tensor:
        """(R, K)"""
        return latents @ self.weight.T + self.bias


def fit_classifier(model: SADVAE, texts: ClassTexts, seed: int) -> LatentClassifier:
    """Fitted on `samples` text latents a class, drawn over its texts in turn (Li et al. 2024, section 3.3).

    It begins at zero, so that classes are alike before their texts count.
    """
    samples, classes = model.config.samples, texts.classes
    counts = torch.bincount(texts.owner)
    first = counts.cumsum(0) - counts
    rows = torch.cat([first[k] + torch.arange(samples) % counts[k] for k in range(classes)])
    label = torch.arange(classes).repeat_interleave(samples)
    with torch.no_grad():
        latent = model.text(texts.features.to(model.encode_y.weight.dtype)[rows])
        noise = torch.randn(latent.mean.shape, generator=torch.Generator().manual_seed(seed)).to(latent.mean.dtype)
        z = latent.sample(noise)
    weight = z.new_zeros(classes, z.shape[1]).requires_grad_()
    bias = z.new_zeros(classes).requires_grad_()
    optimizer = torch.optim.Adam([weight, bias], lr=RATE, fused=True)
    with torch.enable_grad():
        for _ in range(STEPS):
            optimizer.zero_grad()
            F.cross_entropy(z @ weight.T + bias, label).backward()
            optimizer.step()
    return LatentClassifier(weight.detach(), bias.detach())


@torch.no_grad()
def semantic(model: SADVAE, x: Tensor) -> Tensor:
    """The means of the semantic latents of skeleton features, (R, U)."""
    return model.skeleton(x)[0].mean
