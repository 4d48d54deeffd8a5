"""How well features form a cluster for each class: distances between and within classes, and the silhouette.

Legend: R recordings, D features, K classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Separation(NamedTuple):
    """Of features scaled to length one; distances are Euclidean."""

    between: float  # mean distance of two recordings of different classes
    within: float  # mean distance of two recordings of one class
    silhouette: float  # mean over the recordings, -1..1 (Rousseeuw 1987)

    @property
    def ratio(self) -> float:
        """Distances between classes over those within: 1 where classes do not matter."""
        return self.between / self.within if self.within else float("inf")


def separation(x_RD: Tensor, y_R: Tensor, block: int = 1024) -> Separation:
    """Raises ValueError unless there are two classes, and two recordings of one of them.

    A recording that is alone in its class has the silhouette 0, as Rousseeuw defines it.
    """
    unit = F.normalize(x_RD.double(), dim=1)
    _, member = y_R.unique(return_inverse=True)
    count = torch.bincount(member).double()
    if len(count) < 2 or count.max() < 2:
        raise ValueError("clusters need two classes or more, and two recordings of one of them")
    indicator = F.one_hot(member).double()
    own = count[member]
    same = other = silhouette = 0.0
    for rows in torch.arange(len(unit)).split(block):
        sums = torch.cdist(unit[rows], unit) @ indicator  # (rows, K): of distances to each class
        mine = sums.gather(1, member[rows, None]).squeeze(1)
        same += mine.sum().item()
        other += (sums.sum(1) - mine).sum().item()
        inside = mine / (own[rows] - 1).clamp(min=1)
        nearest = (sums / count).scatter(1, member[rows, None], torch.inf).amin(1)
        value = (nearest - inside) / torch.maximum(nearest, inside).clamp(min=1e-12)
        silhouette += value[own[rows] > 1].sum().item()
    pairs = (count * (count - 1)).sum().item()
    return Separation(
        between=other / (len(unit) * (len(unit) - 1) - pairs), within=same / pairs, silhouette=silhouette / len(unit)
    )
