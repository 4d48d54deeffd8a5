"""k nearest neighbours on frozen features: no training, no hyper-parameter but k and, if wanted, a temperature."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def knn_votes(
    train_x: Tensor,
    train_y: Tensor,
    test_x: Tensor,
    classes: int,
    k: int = 1,
    temperature: float | None = None,
    block: int = 1024,
) -> Tensor:
    """The votes of the k nearest training features by cosine similarity, (R, classes); -inf where nobody voted.

    Every neighbour has one vote, and of equals the label whose neighbours are the most similar in sum is ahead. With a
    temperature a neighbour's vote is exp(similarity / temperature), as in Wu et al. 2018, section 3.4.

    Raises ValueError where there are fewer training rows than k.
    """
    if not 1 <= k <= len(train_x):
        raise ValueError(f"k must lie between 1 and the number of training features ({len(train_x)}), got {k}")
    train = F.normalize(train_x.float(), dim=1)
    out = []
    for rows in test_x.split(block):
        similarity, index = (F.normalize(rows.float(), dim=1) @ train.T).topk(k, dim=1)
        # The similarity, at most one, breaks ties without outvoting a neighbour.
        weight = 1 + similarity / (4 * k) if temperature is None else (similarity / temperature).softmax(1)
        votes = torch.zeros(len(rows), classes, device=rows.device).scatter_add_(1, train_y[index], weight)
        voted = torch.zeros_like(votes, dtype=torch.bool).scatter_(1, train_y[index], True)
        out.append(votes.masked_fill(~voted, -torch.inf))
    return torch.cat(out)


def knn_predict(train_x: Tensor, train_y: Tensor, test_x: Tensor, k: int = 1, block: int = 1024) -> Tensor:
    """The majority label of the k nearest training features, (R,); see `knn_votes`."""
    return knn_votes(train_x, train_y, test_x, int(train_y.max()) + 1, k, block=block).argmax(1)


def knn_accuracy(train_x: Tensor, train_y: Tensor, test_x: Tensor, test_y: Tensor, k: int = 1) -> float:
    """The fraction of test features whose nearest neighbours' majority label is right."""
    return (knn_predict(train_x, train_y, test_x, k) == test_y).float().mean().item()
