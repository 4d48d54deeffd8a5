"""The order of training: exactly once an epoch, the same whoever builds the groups, pairs drawn with replacement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from bonestrap.clips import Batch
from shards.errors import DataError
from shards.loader import Loader, Plan, balanced_subset
from shards.packing.pack import pack
from shards.reader import Resident


@pytest.fixture
def data(people: Callable, tmp_path: Path) -> Resident:
    pack(people(30), tmp_path / "shards")
    return Resident.load(tmp_path / "shards")


def make(
    data: Resident,
    batch: int = 8,
    group: int = 4,
    seed: int = 0,
    *,
    unit: Literal["performance", "view"] = "performance",
    pairs: bool = True,
    subset: list[int] | None = None,
) -> Loader:
    plan = Plan(batch=batch, group=group, seed=seed)
    return Loader(data, plan, unit=unit, pairs=pairs, labels=False, subset=subset)


def views_of(data: Resident, batch: Batch, which: int) -> list[int]:
    """The view of each clip, found by the row at which its first body starts."""
    recordings = batch.views[which]
    first = {
        int(owner): int(start) for start, owner in reversed(list(zip(recordings.start, recordings.owner, strict=True)))
    }
    where = {int(start): view for view, start in enumerate(data.view_start)}
    return [where[first[clip]] for clip in range(recordings.size)]


def stream(data: Resident, loader: Loader, steps: int, which: int = 0) -> list[int]:
    return [
        view
        for step in range(steps)
        for group in range(loader.groups)
        for view in views_of(data, loader.group(step, group), which)
    ]


@pytest.mark.parametrize("which", [0, 1])
def test_every_performance_comes_once_an_epoch(data: Resident, which: int) -> None:
    loader = make(data)
    assert loader.epoch_length == 30 / 8 and loader.groups == 2
    performances = data.view_performance[stream(data, loader, 15, which)]  # 4 epochs of 30 in 15 steps of 8
    epochs = performances.reshape(4, 30)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(30), (4, 1)))
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_every_view_comes_once_an_epoch(data: Resident) -> None:
    loader = make(data, unit="view")
    views = stream(data, loader, len(data))
    assert Counter(views) == dict.fromkeys(range(len(data)), 8)
    assert views == stream(data, loader, len(data), which=1)


def test_a_subset_restricts_the_items(data: Resident) -> None:
    views = stream(data, make(data, batch=2, group=2, unit="view", pairs=False, subset=[9, 3, 5]), 3)
    assert sorted(views) == [3, 3, 5, 5, 9, 9]
    for wrong in ([], [len(data)], [-1]):
        with pytest.raises(DataError, match=r"people: a subset names some of the \d+ views"):
            make(data, unit="view", subset=wrong)


def test_groups_are_the_same_whoever_builds_them(data: Resident) -> None:
    """Two ranks, one rank, and a run resumed in the middle see the same batches, bit for bit."""
    whole = [make(data).group(step, group) for step in range(6) for group in range(2)]
    ranks = [make(data), make(data)]
    for step in reversed(range(6)):
        for group in (1, 0):
            again, before = ranks[group].group(step, group), whole[2 * step + group]
            assert again.seed == before.seed
            for a, b in zip(again.views, before.views, strict=True):
                assert a.size == b.size and all(torch.equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))


def test_the_size_of_a_group_does_not_change_what_is_drawn(data: Resident) -> None:
    for which in (0, 1):
        assert stream(data, make(data, group=4), 6, which) == stream(data, make(data, group=2), 6, which)


def test_pairs_are_drawn_with_replacement_and_evenly(data: Resident) -> None:
    loader = make(data, batch=30, group=30)
    pairs: Counter[tuple[int, int]] = Counter()
    epochs = 900
    for step in range(epochs):
        batch = loader.group(step, 0)
        pairs.update(zip(views_of(data, batch, 0), views_of(data, batch, 1), strict=True))
    for p in range(30):
        own = range(data.performance_first_view[p], data.performance_first_view[p + 1])
        counts = np.array([pairs[a, b] for a in own for b in own])
        assert counts.sum() == epochs
        expected = epochs / len(counts)
        assert (abs(counts - expected) < 5 * np.sqrt(expected) + 1).all(), counts


def test_one_view_is_drawn_where_no_pair_is_asked_for(data: Resident) -> None:
    loader = make(data, pairs=False)
    assert len(loader.group(0, 0).views) == 1
    assert len(set(stream(data, loader, 60))) == len(data)


def test_seeds_belong_to_one_group(data: Resident) -> None:
    seeds = {make(data, seed=seed).group(step, group).seed for seed in (0, 1) for step in range(50) for group in (0, 1)}
    assert len(seeds) == 200 and all(0 <= seed < 2**63 for seed in seeds)
    torch.manual_seed(max(seeds))


def test_another_seed_gives_another_order(data: Resident) -> None:
    assert stream(data, make(data, seed=0), 4) != stream(data, make(data, seed=1), 4)


def test_labels_come_only_when_asked_for(data: Resident) -> None:
    assert make(data).group(0, 0).labels is None
    loader = Loader(data, Plan(batch=8, group=8, seed=0), unit="view", pairs=False, labels=True)
    batch = loader.group(3, 0)
    assert batch.labels is not None
    assert batch.labels.tolist() == data.views.label[views_of(data, batch, 0)].tolist()


def test_a_group_must_divide_the_batch() -> None:
    with pytest.raises(ValueError, match="group must divide batch"):
        Plan(batch=10, group=4, seed=0)
    with pytest.raises(ValueError, match="seed must not be negative"):
        Plan(batch=8, group=4, seed=-1)


def test_a_balanced_subset_is_balanced_nested_and_repeatable() -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(4), [50, 50, 97, 3]))
    subset = balanced_subset(labels, 0.1, seed=5)
    assert np.bincount(labels[subset]).tolist() == [5, 5, 5, 3]
    np.testing.assert_array_equal(subset, balanced_subset(labels, 0.1, seed=5))
    assert not np.array_equal(subset, balanced_subset(labels, 0.1, seed=6))
    assert set(balanced_subset(labels, 0.05, seed=5)) < set(subset)
    assert np.bincount(labels[balanced_subset(labels, 0.001, seed=0)]).tolist() == [1, 1, 1, 1]
    np.testing.assert_array_equal(balanced_subset(labels, 1, seed=0), np.arange(200))


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1])
def test_a_fraction_is_a_fraction(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction must be above 0 and at most 1"):
        balanced_subset(np.zeros(4, dtype=np.int64), fraction, seed=0)
    with pytest.raises(ValueError, match="needs a label"):
        balanced_subset(np.array([-1, 0]), 0.5, seed=0)
