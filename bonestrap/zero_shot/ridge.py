"""The floor of zero-shot recognition: ridge regression from skeleton features to text features, then the nearest text.

Legend: R recordings, D features, K classes, Y text features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bonestrap.zero_shot.alignment import Seen, balanced, held_out_classes
from bonestrap.zero_shot.texts import ClassTexts

STRENGTHS = tuple(10.0**e for e in range(-1, 6))


class TextRidge(NamedTuple):
    """A linear map from scaled features into text features."""

    weight: Tensor  # (D, Y)
    bias: Tensor  # (Y,)

    def votes(self, x: Tensor, texts: ClassTexts) -> Tensor:
        """Cosine similarities (R, K) of scaled features with the mean text of each class."""
        return F.normalize(x.double() @ self.weight + self.bias, dim=1) @ texts.means.double().T


def fit_ridge(seen: Seen, strength: float) -> TextRidge:
    """Least squares with an L2 penalty of `strength` on the weights, in closed form and float64."""
    z, target = seen.x.double(), seen.texts.means.double()[seen.y]
    z_mean, t_mean = z.mean(0), target.mean(0)
    centred = z - z_mean
    gram = centred.T @ centred + strength * torch.eye(z.shape[1], dtype=z.dtype)
    weight = torch.linalg.solve(gram, centred.T @ (target - t_mean))
    return TextRidge(weight, t_mean - z_mean @ weight)


def choose_ridge(seen: Seen, hidden: int, seed: int) -> TextRidge:
    """The strength that recognises held-out seen classes best, of equals the stronger, fitted on all seen classes."""
    scores = dict.fromkeys(STRENGTHS, 0.0)
    for held, kept in held_out_classes(seen.texts.classes, hidden, seed):
        inner, asked = seen.of(kept), seen.of(held)
        for strength in STRENGTHS:
            scores[strength] += balanced(fit_ridge(inner, strength).votes(asked.x, asked.texts).argmax(1), asked.y)
    best = max(STRENGTHS, key=lambda strength: (scores[strength], strength))
    return fit_ridge(seen, best)
