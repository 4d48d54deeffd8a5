"""Search by example: a query's gallery in the order of cosine similarity, judged by where its class stands."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

DEPTHS = (1, 5, 10)


class Gallery(NamedTuple):
    """Recordings: features (R, D), classes (R,) and performances (R,), which two galleries number alike."""

    x: Tensor
    y: Tensor
    performance: Tensor


class Retrieved(NamedTuple):
    """Shares in 0..1, means over the queries that have something to find."""

    precision: float  # mean average precision: of the precision at the rank of every recording of the query's class
    recall: tuple[float, float, float]  # a recording of the query's class is among the first 1, 5, 10
    queries: int


def retrieve(queries: Gallery, gallery: Gallery, block: int = 256) -> Retrieved:
    """Rank the gallery for every query; recordings of the query's own performance, itself among them, are left out.

    Raises ValueError where no query has anything to find.
    """
    unit = F.normalize(gallery.x.float(), dim=1)
    ranks = torch.arange(1, len(unit) + 1, dtype=torch.float64)
    precision, hits = [], []
    for rows in torch.arange(len(queries.y)).split(block):
        own = queries.performance[rows][:, None] == gallery.performance
        similarity = (F.normalize(queries.x[rows].float(), dim=1) @ unit.T).masked_fill(own, -torch.inf)
        order = similarity.argsort(dim=1, descending=True, stable=True)
        right = ((gallery.y == queries.y[rows][:, None]) & ~own).gather(1, order)
        right = right[right.any(1)].double()
        precision.append((right.cumsum(1) / ranks * right).sum(1) / right.sum(1))
        hits.append(torch.stack([right[:, :depth].amax(1) for depth in DEPTHS], 1))
    found = torch.cat(precision)
    if not len(found):
        raise ValueError("no query has a recording of its class in the gallery")
    first, five, ten = torch.cat(hits).mean(0).tolist()
    return Retrieved(found.mean().item(), (first, five, ten), len(found))
