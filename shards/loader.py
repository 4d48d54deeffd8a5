"""Which recordings make a step: a pure function of (seed, step, group).

Legend: B clips.

Nothing is remembered between calls, so a run stops anywhere and goes on with more or fewer workers, and any rank can
build any group. The stream of items runs through one shuffled epoch after another without a break: every item comes
exactly once an epoch, and no step is ever short.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bonestrap.clips import Batch
from shards.errors import DataError
from shards.reader import Resident


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a global batch is cut. `group` clips are normalised together, on whichever rank."""

    batch: int  # clips a step, all ranks together
    group: int  # clips a normalisation group; divides batch
    seed: int

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if self.batch < 1 or self.group < 1 or self.batch % self.group:
            raise ValueError(f"group must divide batch: {self.batch} clips make no whole groups of {self.group}")


class Loader:
    """Random access to batches of resident recordings.

    An item is a performance, of which a view is drawn each time, or one view. With `pairs` a batch carries two views of
    each item: drawn with replacement from the performance's views (document 001, section 3.4), or the same view twice
    where items are views. `labels` says whether batches carry labels at all. `subset` restricts the items.
    """

    def __init__(
        self,
        data: Resident,
        plan: Plan,
        *,
        unit: Literal["performance", "view"],
        pairs: bool,
        labels: bool,
        subset: Sequence[int] | np.ndarray | None = None,
    ) -> None:
        self.data = data
        self.plan = plan
        self.unit = unit
        self.pairs = pairs
        self.labels = labels
        count = len(data) if unit == "view" else len(data.performance_key)
        self.items = np.arange(count) if subset is None else np.unique(np.asarray(subset, dtype=np.int64))
        if not len(self.items) or self.items[0] < 0 or self.items[-1] >= count:
            raise DataError(f"{data.manifest.name}: a subset names some of the {count} {unit}s; choose another one")
        self.groups = plan.batch // plan.group

    @property
    def epoch_length(self) -> float:
        """Steps an epoch."""
        return len(self.items) / self.plan.batch

    def group(self, step: int, group: int) -> Batch:
        """Normalisation group `group`, 0..groups-1, of step `step`."""
        first = step * self.plan.batch + group * self.plan.group
        positions = np.arange(first, first + self.plan.group)
        items = self._items_at(positions)
        views = [self._views(items, positions, draw) for draw in range(2 if self.pairs else 1)]
        return Batch(
            views=tuple(self.data.recordings(chosen) for chosen in views),
            labels=self.data.labels(views[0]) if self.labels else None,
            seed=int(_mix(self.plan.seed, np.array([step]), group)[0] >> np.uint64(1)),
        )

    def _items_at(self, positions: np.ndarray) -> np.ndarray:
        """The items at these positions of the endless stream."""
        epochs, places = np.divmod(positions, len(self.items))
        chosen = np.empty(len(positions), dtype=np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            chosen[here] = self.items[_permutation(self.plan.seed, int(epoch), len(self.items))[places[here]]]
        return chosen

    def _views(self, items: np.ndarray, positions: np.ndarray, draw: int) -> np.ndarray:
        if self.unit == "view":
            return items
        first = self.data.performance_first_view[items]
        count = self.data.performance_first_view[items + 1] - first
        # 53 bits of the hash make a uniform number in [0, 1).
        uniform = (_mix(self.plan.seed, positions, 1 + draw) >> np.uint64(11)) * 2.0**-53
        return first + (uniform * count).astype(np.int64)


def balanced_subset(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Indices of a class-balanced share of labelled items (document 001, section 4.4), ascending.

    Every class gives the same number: `fraction` of the items over the number of classes, rounded, at least one, or all
    it has where that is less. A function of the labels and the seed, so the same on every rank; of one seed, the
    smaller fraction's subset lies within the larger's. Raises ValueError for a fraction outside (0, 1] or a missing
    label.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"the labelled fraction must be above 0 and at most 1, got {fraction}")
    if (labels < 0).any():
        raise ValueError("a class-balanced subset needs a label for every item")
    if fraction == 1:
        return np.arange(len(labels))
    classes = np.unique(labels)
    quota = max(1, round(fraction * len(labels) / len(classes)))
    chosen = [
        np.random.default_rng([seed, int(label)]).permutation(np.flatnonzero(labels == label))[:quota]
        for label in classes
    ]
    return np.sort(np.concatenate(chosen))


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


def _mix(seed: int, counter: np.ndarray, stream: int) -> np.ndarray:
    """Hash (seed, stream, counter) to uniform uint64: counter-based, so every draw stands alone.

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014), applied to one word after another.
    """
    state = np.zeros(counter.shape, dtype=np.uint64)
    for word in (np.uint64(seed), np.uint64(stream), counter.astype(np.uint64)):
        state = (state ^ word) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state
