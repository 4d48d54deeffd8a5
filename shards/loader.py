"""Which recordings make a step: a pure function of (seed, step, group).

Legend: B clips.

Nothing is remembered between calls, so a run stops anywhere and resumes with more or fewer workers, and any rank can
build any group.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from bonestrap.clips import Batch, Recordings
from shards.errors import DataError
from shards.order import Plan, Shuffled, Windowed, mix, uniform
from shards.reader import Resident
from shards.stream import Stream

SEEDS = 64  # steps whose seeds are hashed at once

__all__ = ["Loader", "Plan", "balanced_subset"]


class Loader:
    """Random access to batches of recordings, which are in memory or streamed.

    An item is a performance, of which a view is drawn each time, or one view. With `pairs` a batch carries two views of
    each item: drawn with replacement from the performance's views (Moliner et al., 2023, section 3.4), or the same view
    twice where items are views. `labels` says whether batches carry labels at all. `subset` restricts the items.
    """

    def __init__(
        self,
        data: Resident | Stream,
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
        self.count = count = len(data) if unit == "view" else len(data.performance_key)
        self.items = np.arange(count) if subset is None else np.unique(np.asarray(subset, dtype=np.int64))
        if not len(self.items) or self.items[0] < 0 or self.items[-1] >= count:
            raise DataError(f"{data.manifest.name}: a subset names some of the {count} {unit}s; choose another one")
        self.groups = plan.groups
        self.order = self._order()

    @property
    def epoch_length(self) -> float:
        """Steps an epoch."""
        return len(self.items) / self.plan.batch

    def keys(self, step: int, group: int) -> list[str]:
        """The performances of a group, for messages about it."""
        return self._names(self._drawn(step, group)[1])

    def named(self, positions: np.ndarray) -> list[str]:
        """The performances at these places of the endless sequence."""
        return self._names(self.chosen(positions))

    def chosen(self, positions: np.ndarray) -> np.ndarray:
        """The items at these places of the endless sequence, 0..count-1."""
        chosen: np.ndarray = self.items[self.order.at(positions)]
        return chosen

    def clips(self, positions: np.ndarray) -> tuple[Recordings, ...]:
        """The recordings at these places of the endless sequence, one set a view."""
        items = self.chosen(positions)
        return tuple(self.data.recordings(self._views(items, positions, draw)) for draw in range(1 + self.pairs))

    def group(self, step: int, group: int) -> Batch:
        """Normalisation group `group`, 0..groups-1, of step `step`."""
        positions, items = self._drawn(step, group)
        if isinstance(self.data, Stream) and isinstance(self.order, Windowed):
            need = self.order.need(step, group, self.data.ahead)
            self.data.expect(group, [*need.now.tolist(), *need.next.tolist()])
        views = [self._views(items, positions, draw) for draw in range(2 if self.pairs else 1)]
        return Batch(
            views=tuple(self.data.recordings(chosen) for chosen in views),
            labels=self.data.labels(views[0]) if self.labels else None,
            seed=batch_seed(self.plan.seed, step, group),
            items=torch.from_numpy(items),
            group=group,
        )

    def _names(self, items: np.ndarray) -> list[str]:
        performances = self.data.view_performance[items] if self.unit == "view" else items
        return [self.data.performance_key[performance] for performance in performances]

    def _order(self) -> Shuffled | Windowed:
        if self.plan.window is None:
            if isinstance(self.data, Stream):
                raise ValueError("a stream needs a window: the number of shards that mix at a time")
            return Shuffled(len(self.items), self.plan.seed)
        performances = self.data.view_performance[self.items] if self.unit == "view" else self.items
        return Windowed(self.data.performance_shard[performances], self.plan)

    def _drawn(self, step: int, group: int) -> tuple[np.ndarray, np.ndarray]:
        """The group's places in the order of all batches, and the items there."""
        first = step * self.plan.batch + group * self.plan.group
        positions = np.arange(first, first + self.plan.group)
        order = self.order
        items = order.group(step, group) if isinstance(order, Windowed) else order.at(positions)
        return positions, self.items[items]

    def _views(self, items: np.ndarray, positions: np.ndarray, draw: int) -> np.ndarray:
        if self.unit == "view":
            return items
        first = self.data.performance_first_view[items]
        count = self.data.performance_first_view[items + 1] - first
        return first + (uniform(self.plan.seed, positions, 1 + draw) * count).astype(np.int64)


def batch_seed(seed: int, step: int, group: int) -> int:
    """The seed of a group's draws."""
    return _seeds(seed, group, step // SEEDS)[step % SEEDS]


@functools.lru_cache(maxsize=1024)
def _seeds(seed: int, group: int, block: int) -> list[int]:
    """The seeds of a group in `SEEDS` steps: 63 bits of the hash of (seed, step, group)."""
    steps = np.arange(SEEDS) + block * SEEDS
    return (mix(seed, steps, group) >> np.uint64(1)).tolist()


def balanced_subset(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Indices of a class-balanced fraction of labelled items (Moliner et al., 2023, section 4.4), ascending.

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
