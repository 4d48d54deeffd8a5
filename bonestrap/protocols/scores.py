"""How well predictions fit labels: accuracy with its interval, balanced accuracy, confusion."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

Z95 = 1.959964  # two-sided 95 % quantile of the normal distribution


class Scores(NamedTuple):
    """Shares in 0..1 of `count` recordings."""

    accuracy: float  # top-1
    low: float  # Wilson's 95 % interval of the accuracy, as if recordings were independent
    high: float
    balanced: float  # mean over the classes that occur of the share that is right
    recordings: int


def score(predicted: Tensor, labels: Tensor, classes: int) -> Scores:
    """Compare predicted and true classes, both (R,) int64. Raises ValueError without recordings."""
    count = len(labels)
    if not count:
        raise ValueError("there is no recording to score")
    table = confusion(predicted, labels, classes)
    right = table.diagonal().sum().item() / count
    seen = table.sum(1) > 0
    balanced = (table.diagonal()[seen] / table.sum(1)[seen]).mean().item()
    low, high = wilson(right, count)
    return Scores(right, low, high, balanced, count)


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Counts (classes, classes): rows are true classes, columns predicted ones."""
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's score interval for a share of `count` independent trials (1927)."""
    middle = share + Z95**2 / (2 * count)
    half = Z95 * ((share * (1 - share) + Z95**2 / (4 * count)) / count) ** 0.5
    scale = 1 + Z95**2 / count
    return (middle - half) / scale, (middle + half) / scale
