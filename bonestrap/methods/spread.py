"""Terms that keep embeddings from collapsing (Bardes, Ponce and LeCun, VICReg, ICLR 2022, section 4.1).

Legend: B clips of a normalisation group, D dimensions of an embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-4  # added to variances before the root, as the paper does


def variance_term(z_BD: Tensor) -> Tensor:
    """The mean over the dimensions of how far their std is below one, v(Z) of Eq. 1 with gamma 1."""
    return F.relu(1 - (z_BD.float().var(0) + EPSILON).sqrt()).mean()


def covariance_term(z_BD: Tensor) -> Tensor:
    """The sum of the squared covariances of different dimensions, divided by D: c(Z) of Eq. 4."""
    z = z_BD.float()
    with torch.autocast(z.device.type, enabled=False):
        centred = z - z.mean(0)
        covariance = centred.T @ centred / (len(z) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]
