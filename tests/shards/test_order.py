"""The order of a stream: every item once an epoch, the same for any number of ranks and from any place, few shards."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

import numpy as np
import pytest

from shards.order import Plan, Shuffled, Windowed

Made = Callable[..., Windowed]
SIZES = (7, 3, 0, 12, 5, 9, 1, 8, 10, 6, 4, 11)  # items of each shard; one has none that is selected


def windowed(
    batch: int = 12, group: int = 3, window: int = 2, seed: int = 0, sizes: tuple[int, ...] = SIZES
) -> Windowed:
    shard = np.repeat(np.arange(len(sizes)), sizes)
    return Windowed(shard, Plan(batch=batch, group=group, seed=seed, window=window))


def walk(order: Windowed | Shuffled, count: int) -> np.ndarray:
    return order.at(np.arange(count))


@pytest.mark.parametrize(
    ("batch", "group", "window"),
    [(12, 3, 2), (8, 8, 1), (16, 2, 3), (64, 8, 2), (100, 100, 4), (300, 50, 99), (5, 1, 5)],
)
def test_every_item_comes_once_an_epoch(batch: int, group: int, window: int) -> None:
    count = sum(SIZES)
    epochs = walk(windowed(batch, group, window), 5 * count).reshape(5, count)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(count), (5, 1)))
    assert len({tuple(epoch) for epoch in epochs}) == 5


def test_few_items_and_large_batches() -> None:
    order = windowed(batch=20, group=5, sizes=(2, 1))
    epochs = walk(order, 60).reshape(20, 3)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(3), (20, 1)))
    for step in range(3):
        for group in range(4):
            assert set(order.need(step, group, 2).now) <= {0, 1}


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 8])
def test_global_batches_do_not_depend_on_the_ranks(ranks: int) -> None:
    """Each rank asks for the groups that it holds, with an object of its own, and is stopped anywhere and replaced."""
    steps, groups, size = 12, 24, 3
    plain = walk(windowed(groups * size, size), steps * groups * size).reshape(steps, groups, size)
    seen = np.empty_like(plain)
    for rank in range(ranks):
        order = windowed(groups * size, size)
        for step in range(steps):
            if step % 5 == rank % 5:
                order = windowed(groups * size, size)  # another process goes on
            for group in range(rank * groups // ranks, (rank + 1) * groups // ranks):
                first = (step * groups + group) * size
                seen[step, group] = order.at(np.arange(first, first + size))
    np.testing.assert_array_equal(seen, plain)


def test_any_place_is_found_without_the_way_there() -> None:
    whole = walk(windowed(), 1000)
    for place in (999, 0, 500, 77, 76, 75):
        np.testing.assert_array_equal(windowed().at(np.array([place])), whole[[place]])


@pytest.mark.parametrize("sizes", [SIZES, (2, 1), (1,), (40, 40)])
@pytest.mark.parametrize(("batch", "group", "window"), [(12, 3, 2), (8, 8, 1), (300, 50, 99), (5, 1, 5), (76, 19, 2)])
def test_a_group_is_its_places_also_across_epochs(batch: int, group: int, window: int, sizes: tuple[int, ...]) -> None:
    order, walked = windowed(batch, group, window, sizes=sizes), windowed(batch, group, window, sizes=sizes)
    for step in (*range(40), 10**6):
        for lane in range(order.plan.groups):
            places = step * batch + lane * group + np.arange(group)
            np.testing.assert_array_equal(order.group(step, lane), walked.at(places))


def shard_of(order: Windowed, items: np.ndarray) -> list[int]:
    return order.shard[items].tolist()


@pytest.mark.parametrize("ahead", [0, 1, 2])
@pytest.mark.parametrize(("batch", "group", "window"), [(12, 3, 2), (8, 8, 3), (24, 4, 1), (16, 4, 4), (200, 50, 2)])
def test_what_is_used_was_named(batch: int, group: int, window: int, ahead: int) -> None:
    order = windowed(batch, group, window)
    for step in range(60):
        for lane in range(order.plan.groups):
            need, first = order.need(step, lane, ahead), step * batch + lane * group
            assert set(shard_of(order, order.at(np.arange(first, first + group)))) <= set(need.now.tolist())
            assert len(need.next) <= ahead and set(need.next) <= set(order.shard)


def test_shards_are_named_before_they_are_used() -> None:
    """Reading ahead by one, a group of few clips never meets a shard that was not read, but where an epoch begins."""
    order = windowed(batch=8, group=2, window=3, sizes=(40,) * 40)
    told: dict[int, set[int]] = {}
    surprises: list[int] = []
    for step in range(450):
        for lane in range(4):
            need = order.need(step, lane, 1)
            if not set(need.now.tolist()) <= told.get(lane, set()):
                surprises.append(step)
            told[lane] = {*need.now.tolist(), *need.next.tolist()}
    assert max(step % 200 for step in surprises) < 5


@pytest.mark.parametrize("window", [1, 2, 3, 5])
def test_open_shards_are_bounded(window: int) -> None:
    """Single clips: never more than `window` at a time, in every part and over the borders of epochs."""
    order = windowed(batch=4, group=1, window=window, sizes=(40,) * 20)
    for step in range(500):
        for lane in range(4):
            now = order.need(step, lane, 0).now
            assert len(now) <= window
            assert set(shard_of(order, order.at(np.array([step * 4 + lane])))) <= set(now.tolist())


def test_a_shard_is_read_by_one_group() -> None:
    """In an epoch a shard belongs to one part, but for those on which two parts border."""
    order = windowed(batch=16, group=4, sizes=(50,) * 40)
    epoch = order.epoch(3)
    parts = [set(epoch.shards[slice(*epoch.lanes[lane : lane + 2])].tolist()) for lane in range(4)]
    assert sum(map(len, parts)) <= 40 + 3
    assert {len(part) for part in parts} <= {10, 11}
    assert parts != [
        set(order.epoch(4).shards[slice(*order.epoch(4).lanes[lane : lane + 2])].tolist()) for lane in range(4)
    ]


def test_neighbours_in_a_shard_are_torn_apart() -> None:
    """Within a part the shards of a window mix: neighbours in time seldom come from one shard, or lie side by side."""
    order = windowed(batch=64, group=64, window=4, sizes=(100,) * 12)
    items = walk(order, 1200)
    same = np.mean(order.shard[items[1:]] == order.shard[items[:-1]])
    assert 0.15 < same < 0.45  # a quarter, more while an epoch begins and ends
    assert np.mean(np.abs(np.diff(items)) == 1) < 0.02
    batches = items[: 64 * 18].reshape(18, 64)
    assert min(len(set(order.shard[batch])) for batch in batches) >= 3


def test_a_window_over_everything_is_a_plain_shuffle() -> None:
    order = windowed(batch=1, group=1, window=99, sizes=(10, 10))
    epochs = np.array([walk(order, 20 * 2000).reshape(2000, 20)])[0]
    counts = np.zeros((20, 20))
    np.add.at(counts, (np.tile(np.arange(20), 2000), epochs.ravel()), 1)
    assert abs(counts - 100).max() < 5 * 10  # every item at every place equally often, five standard deviations


def test_another_seed_gives_another_order() -> None:
    assert not np.array_equal(walk(windowed(seed=0), 76), walk(windowed(seed=1), 76))


@pytest.mark.parametrize("kind", ["shuffled", "windowed"])
def test_an_epoch_costs_no_object_an_item(kind: str) -> None:
    def objects(count: int) -> int:
        plan = Plan(batch=512, group=128, seed=0, window=4)
        order = Windowed(np.arange(count) // 1000, plan) if kind == "windowed" else Shuffled(count, 1)
        order.at(np.arange(512))
        gc.collect()
        before = sys.getallocatedblocks()
        order.at(np.arange(512) + 3 * count)
        gc.collect()
        return sys.getallocatedblocks() - before

    assert objects(300_000) < objects(3_000) + 200


@pytest.mark.parametrize("window", [0, -1])
def test_a_window_holds_a_shard(window: int) -> None:
    with pytest.raises(ValueError, match="window must be at least 1"):
        Plan(batch=4, group=2, seed=0, window=window)
