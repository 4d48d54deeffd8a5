"""Recordings of several requests, computed together."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

Compute = Callable[[Sequence[np.ndarray], Hashable], Sequence[np.ndarray]]


class Full(Exception):
    """More recordings wait than may."""


class Waiting(NamedTuple):
    joints: np.ndarray
    question: Hashable
    answer: asyncio.Future[np.ndarray]


class Batcher:
    """One thread that computes, and the recordings that wait for it.

    What has come while one batch was computed is the next one, so batches grow with the load and an idle model answers
    at once; with `wait` seconds it first waits for a fuller batch. Only recordings with the same question are together.
    """

    def __init__(
        self, compute: Compute, *, size: int, wait: float, limit: int, computed: Callable[[int, float], None]
    ) -> None:
        """`computed` is told the size of each batch and the seconds that it took."""
        self.compute, self.size, self.wait, self.limit, self.computed = compute, size, wait, limit, computed
        self.waiting: deque[Waiting] = deque()
        self.some, self.enough = asyncio.Event(), asyncio.Event()
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self.busy_since: float | None = None
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the event loop that runs."""
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End once nothing waits any more."""
        while self.waiting or self.busy_since is not None:
            await asyncio.sleep(0.01)
        if self.task is not None:
            self.task.cancel()
        self.thread.shutdown()

    async def ask(self, recordings: Sequence[np.ndarray], question: Hashable) -> list[np.ndarray]:
        """The answer to each recording. Raises Full, or what computing has raised."""
        if len(self.waiting) + len(recordings) > self.limit:
            raise Full
        loop = asyncio.get_running_loop()
        answers = [loop.create_future() for _ in recordings]
        self.waiting.extend(map(Waiting, recordings, [question] * len(recordings), answers))
        self.some.set()
        if len(self.waiting) >= self.size:
            self.enough.set()
        return list(await asyncio.gather(*answers))

    def stuck(self, seconds: float) -> bool:
        """Whether one batch has taken longer than this, or nothing computes any more."""
        if self.task is not None and self.task.done():
            return True
        return self.busy_since is not None and time.monotonic() - self.busy_since > seconds

    async def _run(self) -> None:
        while True:
            idle = not self.waiting
            await self.some.wait()
            if idle and self.wait and len(self.waiting) < self.size:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.enough.wait(), self.wait)
            batch = self._take()
            if batch:
                await self._compute(batch)

    def _take(self) -> list[Waiting]:
        """The next recordings that share a question; those whose request has gone are dropped."""
        batch: list[Waiting] = []
        while self.waiting and len(batch) < self.size:
            if self.waiting[0].answer.done():
                self.waiting.popleft()
            elif batch and self.waiting[0].question != batch[0].question:
                break
            else:
                batch.append(self.waiting.popleft())
        if not self.waiting:
            self.some.clear()
        if len(self.waiting) < self.size:
            self.enough.clear()
        return batch

    async def _compute(self, batch: list[Waiting]) -> None:
        self.busy_since = began = time.monotonic()
        recordings = [one.joints for one in batch]
        try:
            loop = asyncio.get_running_loop()
            answers = await loop.run_in_executor(self.thread, self.compute, recordings, batch[0].question)
            for one, answer in zip(batch, answers, strict=True):
                if not one.answer.done():
                    one.answer.set_result(answer)
        except Exception as error:
            for one in batch:
                if not one.answer.done():
                    one.answer.set_exception(error)
        finally:
            self.busy_since = None
            self.computed(len(batch), time.monotonic() - began)
