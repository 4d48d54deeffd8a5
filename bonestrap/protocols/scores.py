"""How well votes fit labels: accuracy with its interval, top-5, balanced accuracy, one row a class; and over runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

from bonestrap.protocols.bootstrap import Bootstrap, Groups, bootstrap

Z95 = 1.959964  # two-sided 95 % quantile of the normal distribution
T95 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)  # Student's, 1 to 10 degrees


class ClassScore(NamedTuple):
    """One class."""

    recordings: int
    recall: float | None  # fraction of its recordings that are recognised; None where there are none
    precision: float | None  # fraction of its predictions that are right; None where nothing is


class Scores(NamedTuple):
    """Shares in 0..1 of `recordings`."""

    accuracy: float  # top-1
    low: float  # Wilson's 95 % interval of the accuracy, as if recordings were independent
    high: float
    balanced: float  # mean over the classes that occur of the share that is right
    recordings: int
    top5: float  # the right class is among the five likeliest
    classes: tuple[ClassScore, ...]
    bootstrap: Bootstrap | None  # the interval over whole groups; None of few groups, or where they are not known


class Spread(NamedTuple):
    """A figure over several runs."""

    mean: float
    std: float  # of a run, with n - 1; 0 of one run
    low: float  # Student's 95 % interval of the mean
    high: float


def score(votes: Tensor, labels: Tensor, groups: Groups | None = None) -> Scores:
    """Compare votes (R, classes), the larger the likelier and -inf for never, with labels (R,) int64.

    `groups` are the recordings that depend on each other. Raises ValueError without recordings.
    """
    count, classes = votes.shape
    if not count:
        raise ValueError("there is no recording to score")
    predicted = votes.argmax(1)
    table = confusion(predicted, labels, classes)
    right = table.diagonal().sum().item() / count
    seen = table.sum(1) > 0
    balanced = (table.diagonal()[seen] / table.sum(1)[seen]).mean().item()
    best, ranked = votes.topk(min(5, classes), dim=1)
    top5 = ((ranked == labels[:, None]) & best.isfinite()).any(1).double().mean().item()
    drawn = None if groups is None else bootstrap(predicted == labels, groups)
    return Scores(right, *wilson(right, count), balanced, count, top5, tuple(map(_class, *_counts(table))), drawn)


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Counts (classes, classes): rows are true classes, columns predicted ones."""
    import torch

    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's score interval for a fraction of `count` independent predictions (1927)."""
    middle = share + Z95**2 / (2 * count)
    half = Z95 * ((share * (1 - share) + Z95**2 / (4 * count)) / count) ** 0.5
    scale = 1 + Z95**2 / count
    return (middle - half) / scale, (middle + half) / scale


def spread(values: Sequence[float]) -> Spread:
    """Mean, standard deviation and the mean's interval of independent runs. One run is its own interval."""
    count = len(values)
    mean = sum(values) / count
    if count == 1:
        return Spread(mean, 0.0, mean, mean)
    std = (sum((value - mean) ** 2 for value in values) / (count - 1)) ** 0.5
    half = _student(count - 1) * std / count**0.5
    return Spread(mean, std, mean - half, mean + half)


def _student(freedom: int) -> float:
    """Student's two-sided 95 % quantile; beyond the table by Cornish and Fisher's expansion, right to four digits."""
    if freedom <= len(T95):
        return T95[freedom - 1]
    z = Z95
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def _counts(table: Tensor) -> tuple[list[int], list[int], list[int]]:
    """Of each class: how many are right, how many there are, how many are taken for it."""
    return table.diagonal().tolist(), table.sum(1).tolist(), table.sum(0).tolist()


def _class(right: int, there: int, taken: int) -> ClassScore:
    return ClassScore(there, right / there if there else None, right / taken if taken else None)
