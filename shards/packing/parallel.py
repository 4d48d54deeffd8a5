"""One function over many items in many processes of this machine: results come back in the order of the items.

What a worker is given depends on the items alone, so whatever is made of the results in order does not depend on how
many workers there were. `distributed.tasks.Tasks` does the same on Ray.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import connection
from pathlib import Path
from typing import Any, Protocol, TypeVar

from shards.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")
T = TypeVar("T")

AHEAD = 4  # results for each worker that wait for a slower item before them: what bounds memory
PATIENCE = 2.0  # seconds of work done alone before processes are worth their start
CGROUP = Path("/sys/fs/cgroup")  # of this container


class Spread(Protocol):
    """How work is done: `function` and items are picklable; an exception of `function` is raised where it was due."""

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
        """Call `function` on every item; yield the results in the order of the items."""
        ...


def cores(cgroup: Path = CGROUP) -> int:
    """The cores that this process may use: those that it is bound to, and whole ones within its container's limit."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(bound, int(cpu_limit(cgroup) or bound)))


def cpu_limit(cgroup: Path = CGROUP) -> float | None:
    """A container's limit in cores (`resources.limits.cpu` of a pod), which neither affinity nor os.cpu_count knows."""
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):  # cgroup v2, v1
        with suppress(OSError, ValueError):
            quota, period = (int(word) for file in files for word in (cgroup / file).read_text().split())
            return quota / period if quota > 0 < period else None
    return None


class Processes:
    """A `Spread` over this machine's processes. Short work is done in this one, without the start of any other.

    `eager`: start them at once and leave all work to them.
    """

    def __init__(self, workers: int, *, eager: bool = False) -> None:
        self.workers, self.eager = workers, eager

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
        """Raises DataError where a worker process dies, and what `function` raises."""
        items = iter(items)
        end = time.monotonic() + (0 if self.eager else PATIENCE)
        for item in items:
            if self.workers > 1 and time.monotonic() >= end:
                yield from self._pool(function, itertools.chain([item], items))
                return
            yield function(item)

    def _pool(self, function: Callable[[Item], Result], items: Iterator[Item]) -> Generator[Result, None, None]:
        # Not by plain fork: the parent's arithmetic threads would be copied in an unknown state.
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:
            context.set_forkserver_preload([__name__, function.__class__.__module__])
        pool = ProcessPoolExecutor(self.workers, context, _start, (function,))

        def submit(item: Item) -> Future[Result]:
            return pool.submit(_work, item)

        try:
            started = [pool.submit(_nothing) for _ in range(self.workers)]
            for item in () if self.eager else items:  # workers take seconds to start; meanwhile this process works
                yield function(item)
                if any(worker.done() for worker in started):
                    break
            for future in ahead(submit, items, self.workers + 1, _finished):  # one more, so that no worker waits
                yield future.result()
        except BrokenProcessPool:
            raise DataError(
                "a packing process was killed, perhaps for want of memory; start the same command again, with fewer "
                "--workers if it happens again"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def ahead(
    submit: Callable[[Item], T], items: Iterator[Item], at_once: int, finished: Callable[[set[T]], set[T]]
) -> Iterator[T]:
    """Keep `at_once` items at work and yield what `submit` returned for each, once finished, in the items' order.

    `finished` waits until one of a set is finished and returns all that are.
    """
    waiting: deque[T] = deque()
    running: set[T] = set()
    while True:
        room = min(at_once - len(running), AHEAD * at_once - len(waiting))
        for item in itertools.islice(items, max(room, 0)):
            waiting.append(submit(item))
            running.add(waiting[-1])
        if not waiting:
            return
        if waiting[0] in running:
            running -= finished(running)
        else:
            yield waiting.popleft()


def _finished(futures: set[Future[Any]]) -> set[Future[Any]]:
    return set(wait(futures, return_when=FIRST_COMPLETED).done)


_function: Callable[[Any], Any]  # of a worker process, set once as it starts


def _start(function: Callable[[Any], Any]) -> None:
    global _function  # noqa: PLW0603 -- a worker process has no other place for it
    _function = function
    import torch

    torch.set_num_threads(1)  # the processes are the threads
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the workers
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _nothing() -> None:
    """What shows that a worker is there."""


def _work(item: Any) -> Any:
    return _function(item)


def _die_with_parent() -> None:
    """End this process with the one that started it: a killed parent cannot say goodbye."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        with suppress(OSError):
            connection.wait([parent.sentinel])
        os._exit(1)
