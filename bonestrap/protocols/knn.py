"""k nearest neighbours on frozen features: no training, no hyper-parameter but k."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def knn_predict(train_x: Tensor, train_y: Tensor, test_x: Tensor, k: int = 1, block: int = 1024) -> Tensor:
    """The majority label of the k nearest training features by cosine similarity, (R,).

    A tie goes to the label whose neighbours are the most similar in sum.

    Raises ValueError where there are fewer training rows than k.
    """
    if not 1 <= k <= len(train_x):
        raise ValueError(f"k must lie between 1 and the number of training features ({len(train_x)}), got {k}")
    classes = int(train_y.max()) + 1
    train = F.normalize(train_x.float(), dim=1)
    out = []
    for rows in test_x.split(block):
        similarity, index = (F.normalize(rows.float(), dim=1) @ train.T).topk(k, dim=1)
        votes = torch.zeros(len(rows), classes, device=rows.device)
        # The similarity, at most one, breaks ties without outvoting a neighbour.
        votes.scatter_add_(1, train_y[index], 1 + similarity / (4 * k))
        out.append(votes.argmax(1))
    return torch.cat(out)


def knn_accuracy(train_x: Tensor, train_y: Tensor, test_x: Tensor, test_y: Tensor, k: int = 1) -> float:
    """The share of test features whose nearest neighbours' majority label is right."""
    return (knn_predict(train_x, train_y, test_x, k) == test_y).float().mean().item()
