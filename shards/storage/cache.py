"""Files from elsewhere, kept on this machine: whole, verified, within a bound, shared by all processes.

A file is named by its SHA-256, so two folders, runs or users of one cache share what they have in common. It is fetched
beside its name, hashed on the way, and renamed: under its name it is whole. Whoever reads it holds a shared lock, which
the kernel lets go when the file and its memory map are closed, and what is locked is never thrown out. What is thrown
out is what was opened longest ago.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from shards.errors import DataError, StorageError
from shards.manifest import Stored

LIMIT = 50 * 2**30  # bytes
WAIT = 60.0  # seconds that one waits for others to let go of what they read
FETCHES = 3  # of a file that comes with another content than the manifest says
LOCK = ".lock"
PARTIAL = ".partial"


class Pieces(Protocol):
    """Where files come from; see `shards.storage.remote.RemoteStorage`."""

    def pieces(self, file: str) -> Iterator[bytes]:
        """A file from beginning to end."""
        ...

    def path(self, file: str) -> str:
        """What to call a file in a message."""
        ...


class Cache:
    """A folder of at most `limit` bytes, unfinished files included."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.folder, self.limit = folder, limit
        self.hashed: dict[str, tuple[int, ...]] = {}  # files whose content this process has seen, as they were then

    @staticmethod
    def default() -> Cache:
        """The user's own: `bonestrap` in XDG_CACHE_HOME, or in ~/.cache."""
        return Cache(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bonestrap")

    def open(self, stored: Stored, remote: Pieces, *, hashed: bool = True) -> BinaryIO:
        """The file, from here or from `remote`; it stays as long as it or a memory map of it is open.

        `hashed` checks the content on its first opening in this process. A file that was damaged here is fetched again.
        Raises DataError where the remote file is missing or not what the manifest says, or there is no room.
        """
        if stored.bytes > self.limit:
            raise DataError(
                f"{self.folder} may hold {self.limit} bytes and {stored.file} has {stored.bytes}; allow more"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            while True:
                file = self._kept(stored, hashed=hashed) or self._fetched(stored, remote)
                if file is not None:
                    return file
        except OSError as error:  # no right to write, a full disk
            raise DataError(f"{self.folder}: {error.strerror or error}; choose another folder for the cache") from None

    def _kept(self, stored: Stored, *, hashed: bool) -> BinaryIO | None:
        """The file if it is here and whole."""
        path = self.folder / stored.sha256
        with suppress(FileNotFoundError):
            file = path.open("rb")
            fcntl.flock(file, fcntl.LOCK_SH)
            state = os.fstat(file.fileno())
            seen = (state.st_ino, state.st_size, state.st_mtime_ns)
            whole = state.st_size == stored.bytes
            if whole and hashed and self.hashed.get(stored.sha256) != seen:
                whole = hashlib.file_digest(file, "sha256").hexdigest() == stored.sha256
                file.seek(0)
            if whole and state.st_nlink:  # nobody has thrown it out between opening and locking
                if hashed:
                    self.hashed[stored.sha256] = seen
                os.utime(path, ns=(time.time_ns(), state.st_mtime_ns))  # when it was last of use
                return file
            if not whole:
                path.unlink(missing_ok=True)
            file.close()
        return None

    def _fetched(self, stored: Stored, remote: Pieces) -> BinaryIO | None:
        """The file, newly fetched; None if another process has fetched it meanwhile."""
        path, partial = self.folder / stored.sha256, self.folder / (stored.sha256 + PARTIAL)
        file = os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # one process fetches, the others wait here
            if not _names(partial, file) or path.exists():
                if _names(partial, file):
                    partial.unlink()
                file.close()
                return None
            file.truncate(0)  # what a killed process left in it is nobody's
            self._reserve(stored, file)
            for attempt in range(1, FETCHES + 1):
                try:
                    fault = _download(remote.pieces(stored.file), file, stored)
                except StorageError as error:
                    raise DataError(str(error)) from None
                if not fault:
                    break
                if attempt == FETCHES:
                    raise DataError(f"{remote.path(stored.file)} is {fault}; copy the file there again or repack it")
            os.fsync(file.fileno())
            with self._alone():  # whoever counts files finds this one under one of its names
                os.replace(partial, path)
            state = os.fstat(file.fileno())
            self.hashed[stored.sha256] = (state.st_ino, state.st_size, state.st_mtime_ns)
            fcntl.flock(file, fcntl.LOCK_SH)
            file.seek(0)
            return file
        except BaseException:
            with suppress(FileNotFoundError):
                if _names(partial, file):
                    partial.unlink()
            file.close()
            raise

    def _reserve(self, stored: Stored, file: BinaryIO) -> None:
        """Make room for the file and take it, by its length: what others count is what is promised."""
        began = time.monotonic()
        while True:
            with self._alone():
                if self._make_room(stored.bytes):
                    file.truncate(stored.bytes)
                    return
            if time.monotonic() - began > WAIT:
                raise DataError(
                    f"{self.folder} is full of files that are in use, and its {self.limit} bytes do not suffice; allow "
                    "more, or a smaller window"
                )
            time.sleep(0.1)

    def _make_room(self, size: int) -> bool:
        """Throw out files, the longest unused first, until `size` bytes fit."""
        files: dict[Path, os.stat_result] = {}
        for path in self.folder.iterdir():
            if path.name != LOCK:
                with suppress(FileNotFoundError):  # found damaged by another process, and gone
                    files[path] = path.stat()
        left = self.limit - size - sum(state.st_size for state in files.values())
        for path, state in sorted(files.items(), key=lambda item: item[1].st_atime_ns):
            if left >= 0:
                return True
            with suppress(BlockingIOError, FileNotFoundError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a partial file that nobody holds is a dead one's
                path.unlink()
                left += state.st_size
        return left >= 0

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time."""
        with (self.folder / LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _names(path: Path, file: BinaryIO) -> bool:
    """Whether the path is still this file's."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _download(pieces: Iterator[bytes], file: BinaryIO, stored: Stored) -> str:
    """Write the pieces from the beginning on, and no more than are promised; returns what is wrong with them."""
    file.seek(0)
    found, done = hashlib.sha256(), 0
    for piece in pieces:
        done += len(piece)
        if done > stored.bytes:
            return f"too long (more than {stored.bytes} bytes)"
        file.write(piece)
        found.update(piece)
    file.flush()
    if done < stored.bytes:
        return f"truncated ({done} of {stored.bytes} bytes)"
    return "" if found.hexdigest() == stored.sha256 else "damaged: its SHA-256 differs from the manifest's"
