"""Batches of several folders: exact fractions, every item once an epoch of its folder, the same whoever builds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from bonestrap.clips import Batch, concatenated
from bonestrap.layouts import KINECT20, SBU15
from bonestrap.retarget import Retarget
from shards.loader import Loader
from shards.mixture import CYCLE, Interleaving, Mixture, Part, apportioned, part_plan, retargeted
from shards.order import Plan
from shards.packing.pack import pack
from shards.reader import Resident
from shards.stream import Stream
from tests.bonestrap.tiny import recordings

SIZES = (7, 30)  # performances of the two folders


@pytest.fixture(scope="module")
def folders(people: Callable, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    places = [tmp_path_factory.mktemp("folders") / str(size) for size in SIZES]
    for seed, (size, place) in enumerate(zip(SIZES, places, strict=True)):
        pack(people(size, seed), place, shard_bytes=4000)
    return places


def mixture(
    folders: list[Path],
    *,
    single: bool,
    fractions: tuple[float, ...] = (0.4, 0.6),
    window: int | None = None,
    plan: tuple[int, int, int] = (12, 6, 0),
    retarget: Retarget | None = None,
) -> Mixture:
    batch, group, seed = plan
    whole = Plan(batch=batch, group=group, seed=seed, window=window)
    parts = []
    for number, folder in enumerate(folders):
        data = Stream.open(folder) if window else Resident.load(folder)
        own = part_plan(whole, number)
        parts.append(Part(loader=Loader(data, own, unit="performance", pairs=True, labels=False), retarget=retarget))
    return Mixture(parts, fractions, whole, single=single)


@pytest.mark.parametrize("fractions", [(0.4, 0.6), (1 / 3, 1 / 3, 1 / 3), (0.0001, 0.9999), (1.0,), (0.07, 0.2, 0.73)])
def test_shares_are_those_of_every_cycle(fractions: tuple[float, ...]) -> None:
    order = Interleaving(fractions, seed=3)
    folder, rank = order.at(np.arange(3 * CYCLE))
    walked: Counter[int] = Counter()
    for owner, before in zip(folder.tolist(), rank.tolist(), strict=True):  # by walking through all slots
        assert before == walked[owner]
        walked[owner] += 1
    for cycle in folder.reshape(3, CYCLE):
        assert np.bincount(cycle, minlength=len(fractions)).tolist() == order.quotas.tolist()
    assert order.quotas.sum() == CYCLE and (order.quotas >= 1).all()
    np.testing.assert_allclose(order.quotas / CYCLE, fractions, atol=1 / CYCLE)
    # Evenly: at no time is a folder further from its fraction than by what its own jitter and the others' explain.
    ahead = np.arange(1, CYCLE + 1)[:, None] * (order.quotas / CYCLE)
    got = np.cumsum(folder[:CYCLE, None] == np.arange(len(fractions)), axis=0)
    assert abs(got - ahead).max() <= len(fractions)
    places = np.random.default_rng(0).permutation(3 * CYCLE)[:200]
    again = Interleaving(fractions, seed=3).at(places)
    assert (again[0] == folder[places]).all() and (again[1] == rank[places]).all()


def test_slots_are_apportioned_by_largest_remainders() -> None:
    for seed in range(20):
        weights = np.random.default_rng(seed).integers(1, 50, 1 + seed % 6)
        exact = [Fraction(int(weight) * 1000, int(weights.sum())) for weight in weights]
        expected = [int(each) for each in exact]
        behind = sorted(range(len(exact)), key=lambda n: exact[n] - expected[n], reverse=True)
        for n in behind[: 1000 - sum(expected)]:
            expected[n] += 1
        found = apportioned(weights / weights.sum(), 1000).tolist()
        assert sum(found) == 1000 and (sorted(found) == sorted(expected))
    assert apportioned((1e-6, 1e-6, 1 - 2e-6), 10).tolist() == [1, 1, 8]


@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("single", [False, True])
def test_every_item_comes_once_an_epoch_of_its_folder(folders: list[Path], single: bool, window: int | None) -> None:
    mixed = mixture(folders, single=single, window=window)
    assert mixed.epoch_length == sum(SIZES) / 12 and mixed.groups == 2
    drawn: list[list[str]] = [[], []]
    for step in range(45):
        for group in range(2):
            owners = set()
            for folder, positions in mixed._drawn(step, group):
                owners.add(folder)
                drawn[folder] += mixed.parts[folder].loader.named(positions)
            assert len(owners) == 1 or not single
        assert len(mixed.keys(step, 1)) == 6
    for size, names in zip(SIZES, drawn, strict=True):
        whole = names[: len(names) // size * size]
        epochs = np.array(whole).reshape(-1, size)
        assert len(epochs) >= 7 and all(len(set(epoch)) == size for epoch in epochs)
        assert window or len({tuple(epoch) for epoch in epochs}) == len(epochs)
    assert abs(len(drawn[0]) / (45 * 12) - 0.4) < 0.02


def same(a: Batch, b: Batch) -> bool:
    return a.seed == b.seed and all(
        x.size == y.size
        and torch.equal(x.owner, y.owner)
        and torch.equal(concatenated((x, x)).frames, concatenated((y, y)).frames)
        for x, y in zip(a.views, b.views, strict=True)
    )


@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("single", [False, True])
def test_groups_are_the_same_whoever_builds_them(folders: list[Path], single: bool, window: int | None) -> None:
    """One rank, two ranks that go backwards, and a run resumed in the middle."""
    make = lambda: mixture(folders, single=single, window=window)  # noqa: E731
    one = make()
    whole = {(step, group): one.group(step, group) for step in range(4) for group in range(2)}
    ranks = [make(), make()]
    for step in reversed(range(4)):
        for group in (1, 0):
            assert same(ranks[group].group(step, group), whole[step, group])
    resumed = make()
    assert all(same(resumed.group(step, 0), whole[step, 0]) for step in range(2, 4))
    assert not same(mixture(folders, single=single, window=window, plan=(12, 6, 1)).group(0, 0), whole[0, 0])


def test_cameras_of_a_performance_stay_a_pair(folders: list[Path]) -> None:
    mixed = mixture(folders, single=False)
    pairs = set()
    for step in range(10):
        for folder, positions in mixed._drawn(step, 0):
            part = mixed.parts[folder]
            data = part.loader.data
            assert isinstance(data, Resident)
            first, second = part.loader.clips(positions)
            first_row = dict(zip(data.view_start.tolist(), data.view_performance.tolist(), strict=True))
            shown = [{first_row[row] for row in each.start.tolist() if row in first_row} for each in (first, second)]
            assert shown[0] == shown[1]
            pairs.add(first.start.tolist() == second.start.tolist())
    assert False in pairs  # not always a recording with itself


def test_items_are_told_apart_across_folders(folders: list[Path]) -> None:
    mixed = mixture(folders, single=False)
    keys: dict[int, str] = {}
    for step in range(20):
        batch = mixed.group(step, 1)
        assert batch.group == 1 and batch.items is not None
        for item, key in zip(batch.items.tolist(), mixed.keys(step, 1), strict=True):
            assert keys.setdefault(item, key) == key
    assert len(keys) > len(mixed.parts[1].loader.items) and max(keys) < sum(SIZES)


def test_sets_of_recordings_become_one() -> None:
    a, b = recordings([1, 2], [3, 5]), recordings([2, 1, 1], [4, 2, 6], seed=1)
    b = b._replace(frames=torch.cat((torch.full((2, 15, 3), 9.0), b.frames)).half(), start=b.start + 2)
    both = concatenated((a, b))
    assert both.size == 5 and both.owner.tolist() == [0, 1, 1, 2, 2, 3, 4] and concatenated((a,)) is a
    bodies = [(part, n) for part in (a, b) for n in range(len(part.start))]
    for n, (part, own) in enumerate(bodies):
        there = both.frames[both.start[n] : both.start[n] + both.length[n]]
        assert torch.equal(there, part.frames[part.start[own] : part.start[own] + part.length[own]].float())


def test_recordings_are_retargeted_once_or_as_they_come(folders: list[Path]) -> None:
    retarget = Retarget.of(SBU15, KINECT20, step=0.5)
    packed = Resident.load(folders[1])
    data = retargeted(packed, retarget, portion=7)
    expected = retarget(packed.recordings(range(len(packed))))
    found = data.recordings(range(len(data)))
    assert torch.equal(found.frames, expected.frames) and torch.equal(found.start, expected.start)
    assert torch.equal(found.length, expected.length) and torch.equal(found.owner, expected.owner)
    assert data.view_length.tolist() == (2 * packed.view_length - 1).tolist()
    streamed = mixture(folders, single=True, window=2, retarget=retarget)
    ((folder, positions),) = streamed._drawn(3, 1)
    expected = retarget(streamed.parts[folder].loader.clips(positions)[0])
    assert torch.equal(streamed.group(3, 1).views[0].frames, expected.frames) and expected.frames.shape[1:] == (15, 3)
