"""Files behind an address: object stores and web servers, through pyarrow's file systems, with retries.

A file is fetched piece by piece. A piece that fails is asked for again, from where the last one ended, after a pause
that doubles; a file is given up only when the same piece has failed `TRIES` times in a row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from shards.errors import DataError
from shards.storage.redaction import shown

PIECE = 8 * 2**20  # bytes asked for at a time, and the most that is held
TRIES = 6
PAUSE = 0.1  # seconds before the second try
STALL = 30.0  # seconds without a byte after which a web server's answer counts as failed

Result = TypeVar("Result")


def is_address(location: Path | str) -> bool:
    """Whether this names a folder elsewhere and not a path."""
    return isinstance(location, str) and "://" in location


class Remote:
    """A folder behind an address. Nothing is asked of the network before the first file is."""

    def __init__(self, address: str) -> None:
        self.address, self.name = address, shown(address)
        self._opened: tuple[Any, str] | None = None

    def path(self, file: str) -> str:
        """What to call a file in a message."""
        return f"{self.name}/{file}"

    def read(self, file: str) -> bytes:
        """A small file as a whole. DataError where it cannot be had."""
        return b"".join(self.pieces(file))

    def pieces(self, file: str) -> Iterator[bytes]:
        """A file from beginning to end. DataError where a piece cannot be had."""
        stream, done = None, 0
        while True:
            stream, part = self._patiently(partial(self._piece, file, stream, done), file)
            if not part:
                return
            done += len(part)
            yield part

    def _piece(self, file: str, stream: Any, offset: int, failed: int) -> tuple[Any, bytes]:
        """The piece at `offset`, from the stream that ends there or, after a failure, from a new one."""
        if stream is None or failed:
            stream = self._open(file, offset)
        return stream, stream.read(PIECE)

    def _patiently(self, act: Callable[[int], Result], file: str) -> Result:
        """The result of `act`, which is given the number of failures so far."""
        for failed in range(TRIES):
            try:
                return act(failed)
            except DataError:
                raise
            except Exception as error:  # every file system has its own, and they mean: not this time
                reason = (str(error) or type(error).__name__).splitlines()[0]
                # For fsspec a web server that does not answer and a missing file are the same.
                missing = isinstance(error, FileNotFoundError)
                if failed + 1 < TRIES:
                    time.sleep(PAUSE * 2**failed)
        if missing:
            raise DataError(
                f"{self.path(file)} is missing, or the server does not give it; copy the folder there again, or "
                "correct the address"
            )
        raise DataError(f"{self.path(file)} cannot be read: {TRIES} tries failed ({reason}); is the server up?")

    def _open(self, file: str, offset: int) -> Any:
        """A stream of the file from `offset` on."""
        system, root = self._system()
        stream = system.open_input_file(f"{root}/{file}")
        stream.seek(offset)
        return stream

    def _system(self) -> tuple[Any, str]:
        """The file system of the address, and the folder in it."""
        if self._opened is None:
            try:
                self._opened = _file_system(self.address)
            except ModuleNotFoundError as error:
                raise DataError(f"{self.name} needs the {error.name} package; pip install {error.name}") from None
            except ValueError as error:
                raise DataError(f"{self.name}: no folder can be reached by this address ({error})") from None
        return self._opened


def _file_system(address: str) -> tuple[Any, str]:
    from pyarrow import fs

    if address.startswith(("http://", "https://")):
        import aiohttp
        import fsspec

        stall = aiohttp.ClientTimeout(total=None, sock_connect=STALL, sock_read=STALL)
        web = fsspec.filesystem("http", client_kwargs={"timeout": stall}, skip_instance_cache=True)
        return fs.PyFileSystem(fs.FSSpecHandler(web)), address.rstrip("/")
    system, path = fs.FileSystem.from_uri(address)
    if not path.rstrip("/"):
        raise ValueError("it names no folder")
    return system, path.rstrip("/")
