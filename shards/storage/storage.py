"""A folder of files on this machine or on any file system that pyarrow reaches, behind the few verbs that are needed.

On this machine a folder is written under another name and renamed, and bytes are flushed to the disk. An object store
knows no rename: there each file appears whole or not at all, and what makes a folder count is a mark written last.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from bonestrap.files import flush, write_atomically
from shards.storage.remote import RemoteStorage, is_address

PIECE = 4 * 2**20  # bytes read at a time


class Storage(Protocol):
    """Files by name, in one level of folders: "lease.json", "step-00000100/state.pt".

    Everything raises OSError where the disk or the store fails.
    """

    name: str  # of the folder, without secrets
    renames: bool  # whether a folder can be renamed in one step

    def path(self, name: str) -> str:
        """What to call a file or folder in a message."""

    def names(self) -> list[str]:
        """The folders and files of the first level."""

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""

    def read(self, name: str) -> BinaryIO:
        """An open file that can be sought in. Raises FileNotFoundError."""

    def write(self, name: str, put: Callable[[BinaryIO], object]) -> None:
        """Make or replace a file of what `put` writes; whoever reads sees the old one or the new."""

    def rename(self, old: str, new: str) -> None:
        """Give a folder another name, in one step; only where `renames`."""

    def remove(self, name: str) -> None:
        """Remove a file or folder, if it is there."""


class LocalStorage:
    """A folder on this machine, or on a disk that it mounts."""

    renames = True

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, str(root)
        self.seen = False  # the folder, once; a run directory that is removed later does not come back

    def path(self, name: str) -> str:
        return str(self.root / name)

    def names(self) -> list[str]:
        self.seen = self.seen or self.root.is_dir()
        return sorted(path.name for path in self.root.iterdir()) if self.root.is_dir() else []

    def exists(self, name: str) -> bool:
        return (self.root / name).is_file()

    def read(self, name: str) -> BinaryIO:
        return (self.root / name).open("rb")

    def write(self, name: str, put: Callable[[BinaryIO], object]) -> None:
        target = self.root / name
        self.root.mkdir(parents=not self.seen, exist_ok=True)
        self.seen = True
        target.parent.mkdir(exist_ok=True)
        write_atomically(target, put)

    def rename(self, old: str, new: str) -> None:
        (self.root / old).rename(self.root / new)
        flush(self.root)

    def remove(self, name: str) -> None:
        path = self.root / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def open_storage(location: Path | str) -> Storage:
    """The folder at a path, or at an address that pyarrow knows."""
    return RemoteStorage(str(location)) if is_address(location) else LocalStorage(Path(location))


def digest(storage: Storage, name: str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with storage.read(name) as file:
        total = hashlib.sha256()
        while piece := file.read(PIECE):
            total.update(piece)
    return total.hexdigest()


class Hashed:
    """A file being written that knows the SHA-256 of what it was given, so that nothing has to be read again.

    `error` is the first that the file raised: what `torch.save` makes of it, a RuntimeError, hides a full disk.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.total = file, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        self.total.update(data)
        try:
            self.file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise
        return len(data)

    def flush(self) -> None:
        self.file.flush()


@contextmanager
def staged(storage: Storage, name: str) -> Iterator[str]:
    """The name under which to write a folder that becomes `name` at the end; nothing is left if writing fails.

    Where folders cannot be renamed it is `name` itself, emptied: its files only count once they are marked.
    """
    writing = f".writing-{name}" if storage.renames else name
    storage.remove(writing)
    try:
        yield writing
        if storage.renames:
            storage.remove(name)
            storage.rename(writing, name)
    except BaseException:
        with suppress(OSError):
            storage.remove(writing)
        raise
