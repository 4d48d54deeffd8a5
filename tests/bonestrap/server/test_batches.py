"""Recordings of several requests in one batch: which, in what order, and what happens when there are too many."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Hashable, Sequence
from typing import Any

import numpy as np
import pytest

from bonestrap.server.batches import Batcher, Full


class Doubling:
    """Answers twice the recording, once it may."""

    def __init__(self) -> None:
        self.may, self.batches = threading.Event(), list[tuple[list[int], Hashable]]()

    def __call__(self, recordings: Sequence[np.ndarray], question: Hashable) -> list[np.ndarray]:
        self.batches.append(([int(one) for one in recordings], question))
        assert self.may.wait(30)
        if 13 in self.batches[-1][0]:
            raise ValueError("unlucky")
        return [2 * one for one in recordings]


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 30))


def batcher(compute: Doubling, **settings: Any) -> Batcher:
    sizes: dict[str, Any] = {"size": 4, "wait": 0.0, "limit": 10, "computed": lambda size, seconds: None}
    made = Batcher(compute, **{**sizes, **settings})
    made.start()
    return made


def ask(batches: Batcher, *values: int, question: Hashable = None) -> asyncio.Task[list[np.ndarray]]:
    return asyncio.ensure_future(batches.ask([np.array(value) for value in values], question))


def test_what_comes_during_one_batch_is_the_next() -> None:
    async def scene() -> None:
        compute, sizes = Doubling(), list[int]()
        batches = batcher(compute, computed=lambda size, seconds: sizes.append(size))
        first = ask(batches, 1)
        while not compute.batches:
            await asyncio.sleep(0.001)
        rest = [ask(batches, 2, 3), ask(batches, 4), ask(batches, 5, 6)]
        await asyncio.sleep(0)
        compute.may.set()
        assert await first == [2]
        assert [await task for task in rest] == [[4, 6], [8], [10, 12]]
        await batches.stop()
        assert compute.batches == [([1], None), ([2, 3, 4, 5], None), ([6], None)] and sizes == [1, 4, 1]

    run(scene())


def test_other_questions_are_other_batches() -> None:
    async def scene() -> None:
        compute = Doubling()
        compute.may.set()
        batches = batcher(compute, wait=5.0)
        tasks = [ask(batches, 1, question="a"), ask(batches, 2, question="a"), ask(batches, 3, question="b")]
        await asyncio.sleep(0)
        tasks.append(ask(batches, 4, question="a"))  # the fourth ends the waiting
        await asyncio.gather(*tasks)
        await batches.stop()
        assert [batch for batch, _ in compute.batches] == [[1, 2], [3], [4]]

    run(scene())


def test_too_many_are_refused_and_none_of_them_is_computed() -> None:
    async def scene() -> None:
        compute = Doubling()
        batches = batcher(compute, limit=4)
        first = ask(batches, 0)
        while not compute.batches:
            await asyncio.sleep(0.001)
        fits, refused = ask(batches, 1, 2, 3), ask(batches, 4, 5)
        with pytest.raises(Full):
            await refused
        gone = ask(batches, 9)
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        compute.may.set()
        await asyncio.gather(first, fits)
        await batches.stop()
        assert sorted(value for batch, _ in compute.batches for value in batch) == [0, 1, 2, 3]

    run(scene())


def test_a_batch_that_fails_does_not_end_the_next() -> None:
    async def scene() -> None:
        compute = Doubling()
        compute.may.set()
        batches = batcher(compute)
        with pytest.raises(ValueError, match="unlucky"):
            await ask(batches, 13)
        assert await ask(batches, 7) == [14] and not batches.stuck(60)
        await batches.stop()

    run(scene())


def test_stopping_waits_for_what_was_asked() -> None:
    async def scene() -> None:
        compute = Doubling()
        batches = batcher(compute)
        tasks = [ask(batches, value) for value in range(6)]
        while not compute.batches:
            await asyncio.sleep(0.001)
        assert batches.stuck(0)
        stopping = asyncio.ensure_future(batches.stop())
        await asyncio.sleep(0.05)
        assert not stopping.done()
        compute.may.set()
        await stopping
        assert [await task for task in tasks] == [[2 * value] for value in range(6)]

    run(scene())
