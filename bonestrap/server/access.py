"""Who may ask, and how often: tokens from a file, and a token bucket for each client."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from bonestrap.files import content

SHORTEST = 16  # characters of a token
CLIENTS = 10_000  # that are remembered; of more, those who asked longest ago are forgotten


class Tokens:
    """The names of those who have a token. Only digests are kept."""

    def __init__(self, digests: dict[bytes, str]) -> None:
        self.digests = digests

    @staticmethod
    def read(file: Path) -> Tokens:
        """A line for each: `NAME TOKEN`. Empty lines and those that begin with # are left out. Raises ValueError."""
        try:
            lines = content(file).decode().splitlines()
        except OSError as error:
            raise ValueError(f"{file} cannot be read: {(error.strerror or str(error)).lower()}") from None
        except ValueError as error:
            raise ValueError(f"{file} cannot be read: {error!s:.100}") from None
        digests: dict[bytes, str] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.startswith("#"):
                continue
            name, *rest = line.split()
            if len(rest) != 1 or len(rest[0]) < SHORTEST or not line.isascii():
                raise ValueError(
                    f"{file}, line {number}: give a name and a token of {SHORTEST} or more characters, as from "
                    "openssl rand -hex 32"
                )
            if name in digests.values() or _digest(rest[0]) in digests:
                raise ValueError(f"{file}, line {number}: a name or a token stands there twice; remove one")
            digests[_digest(rest[0])] = name
        if not digests:
            raise ValueError(f"{file} holds no token: give a line NAME TOKEN for each client")
        return Tokens(digests)

    def name(self, authorization: bytes) -> str | None:
        """Who sent this header, `Bearer TOKEN`. All tokens are compared, so time says nothing about them."""
        scheme, _, token = authorization.partition(b" ")
        given, found = hashlib.sha256(token.strip()).digest(), None
        for digest, name in self.digests.items():
            if hmac.compare_digest(given, digest):
                found = name
        return found if scheme.lower() == b"bearer" else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class Buckets:
    """`rate` requests a second for each client, and `burst` at once for one who was silent."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst, self.clock = rate, burst, clock
        self.levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # how full it was, and when

    def wait(self, client: str) -> float:
        """Take one request out: 0 if there was one, else the seconds until there is."""
        if not self.rate:
            return 0.0
        now = self.clock()
        level, then = self.levels.pop(client, (float(self.burst), now))
        level = min(float(self.burst), level + (now - then) * self.rate)
        allowed = level >= 1
        self.levels[client] = (level - allowed, now)
        if len(self.levels) > CLIENTS:
            self.levels.popitem(last=False)
        return 0.0 if allowed else (1 - level) / self.rate
