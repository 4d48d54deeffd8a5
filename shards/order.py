"""In which order items come: pure functions of (seed, epoch, position), the same for any number of workers.

An item is a performance or a view. Positions count the clips of all steps: clip i of step s is position s * batch + i,
and epochs follow one another without a break, so every item comes exactly once an epoch and no step is short. Any
position is found without walking to it: a run stops anywhere and resumes there.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a global batch is cut, and how far items mix. `group` clips are normalised together, on whichever rank."""

    batch: int  # clips a step, all ranks together
    group: int  # clips a normalisation group; divides batch
    seed: int
    window: int | None = None  # shards that mix at a time in the part of one group; None: all items mix

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if self.batch < 1 or self.group < 1 or self.batch % self.group:
            raise ValueError(f"group must divide batch: {self.batch} clips make no whole groups of {self.group}")
        if self.window is not None and self.window < 1:
            raise ValueError(f"window must be at least 1 shard, got {self.window}")

    @property
    def groups(self) -> int:
        """Normalisation groups a step."""
        return self.batch // self.group


class Order(Protocol):
    """A number of items, in an order for every epoch."""

    def at(self, positions: np.ndarray) -> np.ndarray:
        """The items, 0..count-1, at these positions of the endless sequence."""
        ...


class Shuffled:
    """Every item may come anywhere in an epoch: for recordings that are all in memory."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed

    def at(self, positions: np.ndarray) -> np.ndarray:
        epochs, places = np.divmod(positions, self.count)
        items = np.empty(len(positions), dtype=np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            items[here] = _permutation(self.seed, int(epoch), self.count)[places[here]]
        return items


class Need(NamedTuple):
    """The shards that a group will be read from, and those that the next groups of its part need."""

    now: np.ndarray
    next: np.ndarray


class Windowed:
    """Few shards at a time: for recordings that are read from shards as training goes.

    Every epoch lines up the shards at random, and the items of each at random, and cuts this line into one part for
    each normalisation group of a step, as long as the group has clips in the epoch. A group draws from its own part
    alone. So a worker reads the parts of its groups only, a shard is read by one group (or two, where the line is
    cut) whatever the number of workers, and the order does not depend on that number.

    Within a part, `window` shards are open at a time. The item of the part's shard s gets a random time between s and
    s + window, and items come by their times: once the first shards, which all start together, are under way, one shard
    is used up whenever the next one joins. At time t the open shards are those from t - window to t.
    """

    def __init__(self, shard: np.ndarray, plan: Plan) -> None:
        """`shard` is each item's, ascending."""
        assert plan.window is not None
        self.shard, self.plan, self.window = shard, plan, plan.window
        self.epochs: dict[int, _Epoch] = {}

    def at(self, positions: np.ndarray) -> np.ndarray:
        numbers = positions // len(self.shard)
        if numbers.min() == numbers.max():
            return self._in_epoch(int(numbers[0]), positions)
        items = np.empty(len(positions), dtype=np.int64)
        for number in np.unique(numbers):
            here = numbers == number
            items[here] = self._in_epoch(int(number), positions[here])
        return items

    def group(self, step: int, group: int) -> np.ndarray:
        """The items of group `group` of step `step`: mostly one slice."""
        first = step * self.plan.batch + group * self.plan.group
        epoch = self.epoch(first // len(self.shard))
        begin = step * self.plan.group - int(epoch.before[group]) + int(epoch.start[group])
        if begin + self.plan.group <= epoch.start[group + 1]:
            return epoch.items[begin : begin + self.plan.group]
        return self.at(np.arange(first, first + self.plan.group))

    def need(self, step: int, group: int, ahead: int) -> Need:
        """The shards of group `group` of step `step`, and up to `ahead` that its part needs after them, in order."""
        number = (step * self.plan.batch + group * self.plan.group) // len(self.shard)
        now: list[np.ndarray] = []
        while True:  # a group that is longer than an epoch takes part in several
            epoch = self.epoch(number)
            runs = slice(*epoch.lanes[group : group + 2])
            shards, starts = epoch.shards[runs], epoch.first[runs]
            low = step * self.plan.group - epoch.before[group]
            high = low + self.plan.group - 1
            now.append(shards[(epoch.last[runs] >= low) & (starts <= high)])
            if high < epoch.start[group + 1] - epoch.start[group]:
                break
            number += 1
        later = shards[starts > high][:ahead]
        if len(later) < ahead:
            epoch = self.epoch(number + 1)
            following = epoch.shards[slice(*epoch.lanes[group : group + 2])][: ahead - len(later)]
            later = np.concatenate((later, following))
        return Need(now[0] if len(now) == 1 else np.unique(np.concatenate(now)), later)

    def _in_epoch(self, number: int, positions: np.ndarray) -> np.ndarray:
        epoch = self.epoch(number)
        lane = positions % self.plan.batch // self.plan.group
        return epoch.items[epoch.start[lane] + self._before(lane, positions) - epoch.before[lane]]

    def _before(self, lane: np.ndarray, position: np.ndarray | int) -> np.ndarray:
        """How many clips of a group's come before a position at all."""
        steps = position // self.plan.batch
        rest = position - steps * self.plan.batch - lane * self.plan.group
        return steps * self.plan.group + np.minimum(np.maximum(rest, 0), self.plan.group)

    def epoch(self, number: int) -> _Epoch:
        """The order of one epoch; the last two are kept."""
        if number not in self.epochs:
            made = self._order(number)
            self.epochs = {n: e for n, e in self.epochs.items() if abs(n - number) < 2} | {number: made}
        return self.epochs[number]

    def _order(self, number: int) -> _Epoch:
        count, groups, stream = len(self.shard), np.arange(self.plan.groups), STREAMS + 3 * number
        before = self._before(groups, number * count)
        sizes = self._before(groups, (number + 1) * count) - before
        lane = np.repeat(groups, sizes)
        shards = int(self.shard[-1]) + 1
        place = np.argsort(np.argsort(mix(self.plan.seed, np.arange(shards), stream)))[self.shard]
        line = np.argsort(place + uniform(self.plan.seed, np.arange(count), stream + 1), kind="stable")
        # A run is what one shard gives to one part.
        border = np.diff(lane, prepend=-1) | np.diff(place[line], prepend=-1)
        begins = np.flatnonzero(border)
        run = np.cumsum(border != 0) - 1
        lanes = np.searchsorted(lane[begins], np.arange(self.plan.groups + 1))
        # The time at which each item comes.
        ordinal, total = run - lanes[lane], np.diff(lanes)[lane]
        window = np.minimum(self.window, total)
        low, high = np.maximum(ordinal, window - 1), np.minimum(ordinal + window, total)
        time = low + (high - low) * uniform(self.plan.seed, line, stream + 2)
        final = np.lexsort((time, lane))
        start = np.concatenate(([0], np.cumsum(sizes)))
        run, rank = run[final], np.arange(count) - start[lane]
        first, last = np.empty((2, len(begins)), dtype=np.int64)
        last[run] = rank
        first[run[::-1]] = rank[::-1]
        return _Epoch(line[final], start, before, self.shard[line[begins]], lanes, first, last)


class _Epoch(NamedTuple):
    items: np.ndarray  # part after part
    start: np.ndarray  # (groups + 1,): where each part begins in `items`
    before: np.ndarray  # (groups,): clips of each group in earlier epochs
    shards: np.ndarray  # (R,): the shard of each run, part after part, in the order of the line
    lanes: np.ndarray  # (groups + 1,): where each part begins in `shards`
    first: np.ndarray  # (R,): the first clip of its part that comes from the run
    last: np.ndarray


STREAMS = 2**32  # the first number of streams for orders; smaller ones are for draws


def mix(seed: int, counter: np.ndarray, stream: int) -> np.ndarray:
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


def uniform(seed: int, counter: np.ndarray, stream: int) -> np.ndarray:
    """Uniform numbers in [0, 1), by 53 bits of the hash."""
    return (mix(seed, counter, stream) >> np.uint64(11)) * 2.0**-53


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)
