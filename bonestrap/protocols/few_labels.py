"""Classifiers of frozen features from few labels, or from labels of which some classes have few.

Nothing but the labelled rows is seen: what is to be chosen is chosen on half of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bonestrap.protocols.linear import Classifier, Fitted, accuracy, select


def few_labels(
    fit: Callable[[Tensor, Tensor, int, float], Classifier],
    strengths: Sequence[float],
    x: Tensor,
    y: Tensor,
    classes: int,
    scorer: Callable[[Fitted, Tensor, Tensor], float] = accuracy,
) -> Classifier:
    """Choose the strength on every second row of each class, then fit on all rows.

    Where no class has two rows there is nothing to choose on, and the middle one of the strengths is taken.
    """
    held_out = halved(y)
    if not held_out.any():
        return fit(x, y, classes, strengths[len(strengths) // 2])
    return select(fit, strengths, x, y, held_out, classes, scorer)[0]


def halved(y: Tensor) -> Tensor:
    """Every second row of each class, (R,) bool: a class of one row keeps it."""
    order = y.argsort(stable=True)
    ordered = y[order]
    rank = torch.arange(len(y)) - torch.searchsorted(ordered, ordered)
    out = torch.zeros(len(y), dtype=torch.bool)
    out[order] = rank % 2 == 1
    return out
