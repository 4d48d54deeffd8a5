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
BETAS, EPS = (0.9, 0.999), 1e-8  # Adam's own


class LatentClassifier(NamedTuple):
    """Logits of semantic latents."""

    weight: Tensor  # (K, U)
    bias: Tensor  # (K,)

    def logits(self, latents: Tensor) -> Tensor:
        """(R, K)"""
        return latents @ self.weight.T + self.bias


def fit_classifier(model: SADVAE, texts: ClassTexts, seed: int, limit: int | None = None) -> LatentClassifier:
    """Fitted on `samples` text latents a class, drawn over its texts in turn (Li et al. 2024, section 3.3).

    It begins at zero, so that classes are alike before their texts count. `limit` bounds the samples where many
    classifiers are compared.
    """
    samples, classes = min(model.config.samples, limit or model.config.samples), texts.classes
    counts = torch.bincount(texts.owner)
    first = counts.cumsum(0) - counts
    rows = torch.cat([first[k] + torch.arange(samples) % counts[k] for k in range(classes)])
    label = torch.arange(classes).repeat_interleave(samples)
    with torch.no_grad():
        latent = model.text(texts.features[rows].to(model.encode_y.weight))
        noise = torch.randn(latent.mean.shape, generator=torch.Generator().manual_seed(seed)).to(latent.mean)
        z = latent.sample(noise)
    return LatentClassifier(*(part.to(z.dtype) for part in _descended(z.double(), label.to(z.device), classes)))


@torch.no_grad()
def _descended(z: Tensor, label: Tensor, classes: int) -> LatentClassifier:
    """Adam on the cross-entropy, with its gradient written out, which takes a third of the time.

    In float64: the gradients of the biases begin at zero, and Adam would make steps of their rounding errors.
    """
    inputs = torch.cat((z, z.new_ones(len(z), 1)), 1)
    weight = z.new_zeros(classes, inputs.shape[1])
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    target = F.one_hot(label, classes).to(z.dtype)
    for step in range(1, STEPS + 1):
        gradient = ((inputs @ weight.T).softmax(1) - target).T @ inputs / len(z)
        first = BETAS[0] * first + (1 - BETAS[0]) * gradient
        second = BETAS[1] * second + (1 - BETAS[1]) * gradient.square()
        mean, spread = first / (1 - BETAS[0] ** step), (second / (1 - BETAS[1] ** step)).sqrt()
        weight -= RATE * mean / (spread + EPS)
    return LatentClassifier(weight[:, :-1], weight[:, -1])


@torch.no_grad()
def semantic(model: SADVAE, x: Tensor) -> Tensor:
    """The means of the semantic latents of skeleton features, (R, U)."""
    return model.skeleton(x)[0].mean
