"""Search by example: a query's gallery in the order of cosine similarity, scored by the ranks of its class."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

DEPTHS = (1, 5, 10)
TIED = 1e-9  # of cosine similarity; below what features in float32 can tell apart


class Gallery(NamedTuple):
    """Recordings: features (R, D), classes (R,) and performances (R,), which two galleries number alike."""

    x: Tensor
    y: Tensor
    performance: Tensor


class Retrieved(NamedTuple):
    """Shares in 0..1, means over the queries that have something to find; of ties, over the orders that they may have.

    Neither depends on the order of the gallery.
    """

    precision: float  # mean average precision: of the precision at the rank of every recording of the query's class
    recall: tuple[float, float, float]  # a recording of the query's class is among the first 1, 5, 10
    queries: int
    asked: Tensor  # (R,) bool: those queries
    each: Tensor  # float64: the average precision of each of them


def retrieve(queries: Gallery, gallery: Gallery, block: int = 128) -> Retrieved:
    """Rank the gallery for every query; recordings of the query's own performance, itself among them, are left out.

    Similarities within `TIED` of each other are one rank, as those of an encoder that maps all recordings to one point
    are. Raises ValueError where no query has anything to find.
    """
    unit = F.normalize(gallery.x.double(), dim=1)
    precision, hits, answered = [], [], []
    for rows in torch.arange(len(queries.y)).split(block):
        own = queries.performance[rows][:, None] == gallery.performance
        similarity = F.normalize(queries.x[rows].double(), dim=1) @ unit.T
        level = (similarity / TIED).round().masked_fill(own, -torch.inf)
        right = (gallery.y == queries.y[rows][:, None]) & ~own
        asked = right.any(1)
        level, order = level[asked].sort(dim=1, descending=True)
        answered.append(asked)
        ties = Ties.of(level, right[asked].gather(1, order).double())
        precision.append(ties.average_precision())
        hits.append(torch.stack([ties.hit(depth) for depth in DEPTHS], 1))
    found = torch.cat(precision)
    if not len(found):
        raise ValueError("no query has a recording of its class in the gallery")
    first, five, ten = torch.cat(hits).mean(0).tolist()
    return Retrieved(found.mean().item(), (first, five, ten), len(found), torch.cat(answered), found)


class Ties(NamedTuple):
    """For each place of a ranking (Q, R) the group of equal similarities that it lies in, float64."""

    right: Tensor  # 1 where a recording of the query's class stands in one of the orders
    above: Tensor  # recordings ranked before the group
    found: Tensor  # of these, those of the query's class
    size: Tensor  # recordings in the group
    good: Tensor  # of these, those of the query's class

    @classmethod
    def of(cls, level: Tensor, right: Tensor) -> Ties:
        """From similarities in descending order and what is right, each (Q, R)."""
        begins = F.pad(level[:, 1:] != level[:, :-1], (1, 0), value=True)
        group = begins.long().cumsum(1) - 1
        size = torch.zeros_like(right).scatter_add_(1, group, torch.ones_like(right))
        good = torch.zeros_like(right).scatter_add_(1, group, right)
        above, found = size.cumsum(1) - size, good.cumsum(1) - good
        return cls(right, *(each.gather(1, group) for each in (above, found, size, good)))

    def average_precision(self) -> Tensor:
        """The expected average precision of each query, (Q,): McSherry and Najork 2008, section 3.

        At a place within a group a recording is right with the group's share; where it is, each of those before it in
        the group is right with the fraction of the others.
        """
        rank = torch.arange(1, self.right.shape[1] + 1, dtype=self.right.dtype)
        others = (self.good - 1) / (self.size - 1).clamp(min=1)
        precision = (self.found + 1 + (rank - self.above - 1) * others) / rank
        return (self.good / self.size * precision).sum(1) / self.right.sum(1)

    def hit(self, depth: int) -> Tensor:
        """How likely something right is among the first `depth` places of each query, (Q,)."""
        last = min(depth, self.right.shape[1]) - 1
        above, found, size, good = (each[:, last] for each in self[1:])
        # The places that are left go to the group that reaches beyond them: all miss with a hypergeometric chance.
        missed = torch.ones_like(above)
        for taken in range(last + 1):
            inside = taken < last + 1 - above
            missed *= torch.where(inside, ((size - good - taken) / (size - taken).clamp(min=1)).clamp(min=0), 1)
        return 1 - missed * (found == 0)
