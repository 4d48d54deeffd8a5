"""How features are brought to one scale: by the training recordings of seen classes, and nothing else.

Legend: R recordings, D features, P principal components, S texts, Y text features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from bonestrap.zero_shot import WIDEST

SMALL = 1e-6


class TextScale(NamedTuple):
    """Text features to mean 0 and standard deviation 1 over all of them together, so that angles do not change."""

    centre: Tensor  # (Y,)
    factor: Tensor  # ()

    @classmethod
    def fitted(cls, texts: Tensor, *, scaled: bool) -> TextScale:
        """From the texts of seen classes, (S, Y); not scaled, it changes nothing."""
        centre = texts.mean(0)
        if not scaled:
            return cls(torch.zeros_like(centre), torch.ones_like(centre[0]))
        return cls(centre, 1 / (texts - centre).square().mean().sqrt().clamp(min=SMALL))


class Scaling(nn.Module):
    """Features to what the autoencoder sees: (R, D) to (R, min(D, WIDEST))."""

    centre: Tensor
    factor: Tensor
    axes: Tensor | None

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("factor", torch.ones(min(features, WIDEST)))
        wide = features > WIDEST
        self.register_buffer("axes", torch.zeros(features, WIDEST) if wide else None)  # principal, (D, P)

    @classmethod
    def fitted(cls, x: Tensor, *, scaled: bool) -> Scaling:
        """From the training recordings of seen classes, (R, D).

        Wide features are projected on their first principal components, all by one factor.
        """
        made = cls(x.shape[1])
        if made.axes is not None:
            made.centre = x.mean(0)
            made.axes = _principal(x - made.centre, WIDEST)
            spread = ((x - made.centre) @ made.axes).std().clamp(min=SMALL)
            made.factor = torch.full_like(made.factor, 1 / spread.item())
        elif scaled:
            made.centre = x.mean(0)
            made.factor = 1 / x.std(0, unbiased=False).clamp(min=SMALL)
        return made

    def forward(self, x: Tensor) -> Tensor:
        centred = x - self.centre
        return (centred if self.axes is None else centred @ self.axes) * self.factor


def _principal(centred: Tensor, count: int) -> Tensor:
    """The first principal axes (D, count) of centred rows (R, D); zero where rows span fewer."""
    # The eigenvectors of the small matrix of inner products: a singular value decomposition takes ten times as long.
    rows = centred.double()
    if len(rows) <= rows.shape[1]:
        values, vectors = torch.linalg.eigh(rows @ rows.T)
        axes = rows.T @ vectors[:, -count:] / values[-count:].clamp(min=0).sqrt().clamp(min=SMALL)
        axes[:, values[-count:] <= values[-1] * SMALL**2] = 0
    else:
        axes = torch.linalg.eigh(rows.T @ rows).eigenvectors[:, -count:]
    out = centred.new_zeros(centred.shape[1], count)
    out[:, : axes.shape[1]] = axes.flip(1).to(centred.dtype)
    return out
