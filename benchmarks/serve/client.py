"""A client of few instructions: the server under it has to be what costs time.

Every request is bytes made beforehand, and of an answer only what HTTP needs is read.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

CLOSED = 0  # in place of a status: the server closed the connection without an answer


class Answer(NamedTuple):
    status: int
    body: bytes
    last: bool  # the connection ends with it


class Connection:
    """One connection that is opened when it is needed."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes, *, whole: bool = True) -> Answer:
        """The answer to one request; without `whole` nothing follows it, and the server is told so."""
        reused = self.streams is not None
        answer = await self._ask(request, whole)
        if answer.status == CLOSED and reused:  # the server closes what has been idle
            answer = await self._ask(request, whole)
        return answer

    async def _ask(self, request: bytes, whole: bool) -> Answer:
        if self.streams is None:
            self.streams = await asyncio.open_connection(self.host, self.port, limit=2**22)
        reader, writer = self.streams
        try:
            writer.write(request)
            if not whole:
                writer.write_eof()
            answer = await _read(reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            answer = Answer(CLOSED, b"", True)
        if answer.last or not whole:
            self.close()
        return answer

    def close(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    last = b"connection: close" in head or not length
    body = await reader.readexactly(int(length)) if length else await reader.read()
    return Answer(int(head.split(b" ", 2)[1]), body, last)


def post(path: str, body: bytes, kind: str = "application/json", more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode("latin-1") + body


def recordings(joints: int, axes: int, count: int, frames: tuple[int, int] = (20, 60), seed: int = 0) -> list[bytes]:
    """Valid requests of one recording each: random walks of one body."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        length = int(random.integers(*frames))
        walk = random.normal(0, 0.02, (length, 1, joints, axes)).cumsum(0) + random.normal(0, 0.5, (joints, axes))
        found.append(post("/predict", json.dumps({"joints": walk.round(4).tolist()}).encode()))
    return found


class Load(NamedTuple):
    statuses: dict[int, int]
    seconds: float  # from the first request to the last answer
    latency: np.ndarray  # (requests,) seconds


async def as_fast_as_possible(address: tuple[str, int], requests: Sequence[bytes], count: int, clients: int) -> Load:
    """Each client asks again once it is answered."""
    numbers = iter(range(count))
    times: list[float] = []
    statuses: dict[int, int] = {}

    async def client() -> None:
        connection = Connection(*address)
        for number in numbers:
            began = time.perf_counter()
            answer = await connection.ask(requests[number % len(requests)])
            times.append(time.perf_counter() - began)
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return Load(statuses, time.perf_counter() - began, np.array(times))


async def at_rate(address: tuple[str, int], requests: Sequence[bytes], rate: float, seconds: float) -> Load:
    """Requests at random times (a Poisson process) whether or not earlier ones are answered; a latency is from the time
    at which a request was due, so that waiting for the client counts as well."""
    gaps = np.random.default_rng(1).exponential(1 / rate, round(rate * seconds))
    free: list[Connection] = []
    times: list[float] = []
    statuses: dict[int, int] = {}

    async def one(number: int, due: float) -> None:
        connection = free.pop() if free else Connection(*address)
        answer = await connection.ask(requests[number % len(requests)])
        times.append(time.perf_counter() - due)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        free.append(connection)

    began = time.perf_counter()
    tasks = []
    for number, due in enumerate(began + gaps.cumsum()):
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(number, due)))
    await asyncio.gather(*tasks)
    for connection in free:
        connection.close()
    return Load(statuses, time.perf_counter() - began, np.array(times))


async def send_malformed(
    address: tuple[str, int], requests: Iterable[tuple[str, bytes, bool]], valid: bytes, every: int = 50
) -> dict[str, dict[int, int]]:
    """How often each kind was answered with each status; a valid request goes between, as the kind `valid`."""
    found: dict[str, dict[int, int]] = {}
    connection = Connection(*address)
    for number, (kind, request, whole) in enumerate(requests):
        pairs = [(kind, request, whole), *([("valid", valid, True)] if number % every == 0 else [])]
        for name, one, is_whole in pairs:
            answer = await connection.ask(one, whole=is_whole)
            counts = found.setdefault(name, {})
            counts[answer.status] = counts.get(answer.status, 0) + 1
    connection.close()
    return found
