"""Open shards: memory maps that threads open ahead, and that are closed when nobody asks for them any more."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import BinaryIO

import numpy as np

from shards.manifest import Shard
from shards.storage.folder import Folder

THREADS = 4
POPULATE = 22  # MADV_POPULATE_READ: read a map whole and enter its pages; since Linux 5.14, before that it does nothing
LIMIT = 2 * 2**30  # bytes


class Shelf:
    """Shards by their position in the manifest, each as its bytes, at most `limit` bytes of them open at a time.

    (One shard is always open, however large.) Whole shards are brought near as soon as they are announced: from
    elsewhere into the cache, from the disk into the page cache. The first time a shard is opened it is hashed and
    `check` looks at what lies in it. A fault is raised where the shard is asked for.
    """

    def __init__(
        self,
        folder: Folder,
        shards: tuple[Shard, ...],
        check: Callable[[int, np.ndarray], None],
        *,
        hashed: bool = True,
        limit: int = LIMIT,
    ) -> None:
        self.folder, self.shards, self.check, self.hashed, self.limit = folder, shards, check, hashed, limit
        self.bytes = self.peak = 0  # of what is open or about to be, now and at most
        self._open: dict[int, Future[np.ndarray]] = {}  # what was asked for last stands last
        self._announced: dict[int, tuple[int, ...]] = {}
        self._seen: dict[int, tuple[int, ...]] = {}  # checked shards, as they were then
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="shards")

    def announce(self, lane: int, shards: Iterable[int]) -> None:
        """Say what `lane` will ask for, most urgent first. What no lane announces any more is closed.

        What does not fit the limit is opened when it is asked for.
        """
        wanted = tuple(shards)
        with self._lock:
            if self._announced.get(lane) == wanted:
                return
            self._announced[lane] = wanted
            everything = set().union(*self._announced.values())
            for shard in [shard for shard in self._open if shard not in everything]:
                self._close(shard)
            for shard in wanted:
                if shard not in self._open and self.bytes + self.shards[shard].bytes <= self.limit:
                    self._begin(shard)

    def get(self, shard: int) -> np.ndarray:
        """The bytes of a shard, read-only. Waits for them; raises DataError where the shard is damaged or missing.

        The limit holds if the caller lets go of one shard before it asks for the next.
        """
        with self._lock:
            future = self._open.pop(shard, None)
            if future is None:
                while self._open and self.bytes + self.shards[shard].bytes > self.limit:
                    self._close(next(iter(self._open)))
                future = self._begin(shard)
            self._open[shard] = future
        try:
            return future.result()
        except BaseException:
            with self._lock:
                if self._open.get(shard) is future:
                    self._close(shard)
            raise

    def close(self) -> None:
        """Let go of everything."""
        self._pool.shutdown(cancel_futures=True)
        with self._lock:
            self._announced = {}
            for shard in list(self._open):
                self._close(shard)

    def _begin(self, shard: int) -> Future[np.ndarray]:
        self.bytes += self.shards[shard].bytes
        self.peak = max(self.peak, self.bytes)
        self._open[shard] = self._pool.submit(self._load, shard)
        return self._open[shard]

    def _close(self, shard: int) -> None:
        self._open.pop(shard).cancel()
        self.bytes -= self.shards[shard].bytes

    def _load(self, shard: int) -> np.ndarray:
        stored, seen = self.shards[shard], self._seen.get(shard)
        with self.folder.open(stored, hashed=self.hashed and seen is None) as file:
            state = os.fstat(file.fileno())
            now = (state.st_ino, state.st_size, state.st_mtime_ns)
            if seen is None or now == seen:
                return self._mapped(shard, file, now)
        del self._seen[shard]  # the file was replaced since: look at it as at a new one
        return self._load(shard)

    def _mapped(self, shard: int, file: BinaryIO, now: tuple[int, ...]) -> np.ndarray:
        content = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)
        if sys.platform == "linux":  # mmap.madvise would hold up all threads
            ctypes.CDLL(None).madvise(ctypes.c_void_p(content.ctypes.data), ctypes.c_size_t(len(content)), POPULATE)
        if shard not in self._seen:
            self.check(shard, content)
            self._seen[shard] = now
        return content
