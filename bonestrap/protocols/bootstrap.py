"""The bootstrap interval of a share whose recordings depend on each other: whole groups of them are drawn anew.

Three cameras of one performance, or all recordings of one person, are right or wrong together more often than three
recordings taken at random, so an interval for independent recordings (Wilson's) is too narrow. Drawing groups with
replacement keeps what is within them (Davison and Hinkley 1997, section 3.8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

DRAWS = 10_000
TOGETHER = 500  # draws that are made at once
FEW = 5  # groups; fewer say too little of how groups differ


class Groups(NamedTuple):
    """Which recordings depend on each other."""

    unit: str  # what a group is, in the plural: subjects or performances
    of: Tensor  # (R,) int64, the group of each recording

    def take(self, chosen: Tensor) -> Groups:
        """Those of some recordings, by a mask (R,)."""
        return Groups(self.unit, self.of[chosen])


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """A 95 % interval, shares in 0..1, and how many groups of which kind were drawn from."""

    low: float
    high: float
    unit: str
    units: int


def bootstrap(right: Tensor, groups: Groups, draws: int = DRAWS, seed: int = 0) -> Bootstrap | None:
    """The percentile interval of the mean of `right` (R,), shares in 0..1 a recording; None of fewer than `FEW` groups.

    Differences of two such shares, in -1..1, give the interval of a paired comparison.
    A draw takes as many groups as there are, with replacement, and the mean is that of all recordings in them. The same
    arguments give the same interval.
    """
    import torch

    _, member = groups.of.unique(return_inverse=True)
    count = torch.bincount(member)
    units = len(count)
    if units < FEW:
        return None
    sums = torch.bincount(member, weights=right.double())
    # Groups of the same sum and size are interchangeable: how often each kind is drawn is multinomial.
    kinds, times = np.unique(torch.stack((sums, count.double()), 1).numpy(), axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(units, times / units, size=draws) @ kinds
    return _percentiles(drawn[:, 0] / drawn[:, 1], groups.unit, units)


def bootstrap_balanced(
    right: Tensor, labels: Tensor, groups: Groups, draws: int = DRAWS, seed: int = 0
) -> Bootstrap | None:
    """The same of balanced accuracy: the mean over classes of `right` (R,), of the classes `labels` (R,) in a draw."""
    import torch

    _, member = groups.of.unique(return_inverse=True)
    _, label = labels.unique(return_inverse=True)
    units, classes = int(member.max()) + 1, int(label.max()) + 1
    if units < FEW:
        return None
    cell = member * classes + label
    count, sums = (
        torch.bincount(cell, weights=weights.double(), minlength=units * classes).view(units, classes).numpy()
        for weights in (torch.ones_like(right), right)
    )
    random = np.random.default_rng(seed)
    means = []
    for first in range(0, draws, TOGETHER):  # how often each group is drawn, for some draws at a time
        times = random.multinomial(units, np.full(units, 1 / units), size=min(TOGETHER, draws - first))
        there = times @ count
        means.append(np.nanmean(np.where(there > 0, times @ sums / np.maximum(there, 1), np.nan), axis=1))
    return _percentiles(np.concatenate(means), groups.unit, units)


def _percentiles(drawn: np.ndarray, unit: str, units: int) -> Bootstrap:
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Bootstrap(low=float(low), high=float(high), unit=unit, units=units)
