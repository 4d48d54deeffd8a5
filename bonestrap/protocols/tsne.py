"""t-SNE (van der Maaten and Hinton 2008), exact, for pictures of some hundreds of features.

Legend: R points, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor

EXAGGERATION, EARLY = 12.0, 250  # attraction is multiplied over the first iterations
TRIED = 64  # halvings of the interval in which a point's precision lies


def tsne(x_RD: Tensor, perplexity: float = 30.0, iterations: int = 750, seed: int = 0) -> Tensor:
    """Places of the points in a plane, (R, 2) float64. The same arguments give the same picture.

    Raises ValueError where there are not more than three times as many points as the perplexity.
    """
    count = len(x_RD)
    if count <= 3 * perplexity:
        raise ValueError(f"{count} points are too few for a perplexity of {perplexity:g}: give {count / 4:g} or less")
    p = affinities(x_RD.double(), perplexity)
    y = torch.randn(count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 1e-4
    velocity, gains = torch.zeros_like(y), torch.ones_like(y)
    rate = max(count / EXAGGERATION / 4, 50.0)
    for number in range(iterations):
        gradient = slope(y, p * (EXAGGERATION if number < EARLY else 1.0))
        gains = torch.where(gradient.sign() == velocity.sign(), gains * 0.8, gains + 0.2).clamp_(min=0.01)
        velocity = (0.5 if number < EARLY else 0.8) * velocity - rate * gains * gradient
        y = y + velocity
    return y - y.mean(0)


def affinities(x_RD: Tensor, perplexity: float) -> Tensor:
    """The joint probabilities p (R, R): each point's Gaussian has the entropy log(perplexity), by bisection."""
    distance = torch.cdist(x_RD, x_RD).square().fill_diagonal_(torch.inf)
    distance = distance / distance[distance.isfinite()].mean()
    low, high = (torch.full((len(x_RD), 1), bound, dtype=x_RD.dtype) for bound in (1e-6, 1e8))
    aim = torch.tensor(perplexity, dtype=x_RD.dtype).log()
    for _ in range(TRIED):
        middle = (low * high).sqrt()
        entropy = torch.special.entr(torch.softmax(-distance * middle, 1)).sum(1, keepdim=True)
        low, high = torch.where(entropy > aim, middle, low), torch.where(entropy > aim, high, middle)
    p = torch.softmax(-distance * (low * high).sqrt(), 1)
    return (p + p.T) / (2 * len(x_RD))


def slope(y_R2: Tensor, p_RR: Tensor) -> Tensor:
    """The gradient of the divergence of p and the picture's q by the places (Eq. 5), (R, 2)."""
    kernel = (1 + torch.cdist(y_R2, y_R2).square()).reciprocal().fill_diagonal_(0)
    pull = (p_RR - kernel / kernel.sum()) * kernel
    return 4 * (pull.sum(1, keepdim=True) * y_R2 - pull @ y_R2)
