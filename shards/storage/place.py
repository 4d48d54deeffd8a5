"""A folder of files on this machine or on any file system that pyarrow reaches, behind the few verbs a run needs.

On this machine a folder is written aside and renamed, and bytes are flushed to the disk. An object store knows no
rename: there each file appears whole or not at all, and what makes a folder count is a mark that is written last.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from shards.storage.redaction import shown
from shards.storage.remote import is_address

PIECE = 4 * 2**20  # bytes read at a time


class Place(Protocol):
    """Files by name, in one level of folders: "lease.json", "step-00000100/state.pt"."""

    renames: bool  # whether a folder can be written aside and renamed in one step

    def path(self, name: str) -> str:
        """What to call a file or folder in a message."""

    def names(self) -> list[str]:
        """The folders and files of the first level."""

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""

    def read(self, name: str) -> BinaryIO:
        """An open file that can be sought in. Raises FileNotFoundError."""

    def write(self, name: str, put: Callable[[BinaryIO], object]) -> None:
        """Make or replace a file of what `put` writes; whoever reads sees the old one or the new. Raises OSError."""

    def rename(self, old: str, new: str) -> None:
        """Give a folder another name, in one step; only where `renames`."""

    def remove(self, name: str) -> None:
        """Remove a file or folder, if it is there."""


class Local:
    """A folder on this machine, or on a disk that it mounts."""

    renames = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self.made = False  # by the first file; a run directory that is removed later does not come back

    def path(self, name: str) -> str:
        return str(self.root / name)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir()) if self.root.is_dir() else []

    def exists(self, name: str) -> bool:
        return (self.root / name).is_file()

    def read(self, name: str) -> BinaryIO:
        return (self.root / name).open("rb")

    def write(self, name: str, put: Callable[[BinaryIO], object]) -> None:
        target = self.root / name
        self.root.mkdir(parents=not self.made, exist_ok=True)
        self.made = True
        target.parent.mkdir(exist_ok=True)
        aside = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            with aside.open("wb") as file:
                put(file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(target)
        except BaseException:
            with suppress(OSError):  # the disk that refused the file may refuse this as well
                aside.unlink(missing_ok=True)
            raise
        flush(target.parent)

    def rename(self, old: str, new: str) -> None:
        (self.root / old).rename(self.root / new)
        flush(self.root)

    def remove(self, name: str) -> None:
        path = self.root / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


class Remote:
    """A folder on a pyarrow file system, such as `s3://bucket/folder`."""

    renames = False

    def __init__(self, system: Any, root: str, name: str) -> None:
        self.system, self.root, self.name = system, root.rstrip("/"), name.rstrip("/")

    @classmethod
    def at(cls, address: str) -> Remote:
        """Raises ValueError for an address that pyarrow does not know."""
        from pyarrow import fs

        system, root = fs.FileSystem.from_uri(address)
        return cls(system, root, shown(address))

    def path(self, name: str) -> str:
        return f"{self.name}/{name}"

    def names(self) -> list[str]:
        from pyarrow import fs

        found = self.system.get_file_info(fs.FileSelector(self.root, allow_not_found=True))
        return sorted(info.base_name for info in found)

    def exists(self, name: str) -> bool:
        from pyarrow import fs

        return self.system.get_file_info(f"{self.root}/{name}").type == fs.FileType.File

    def read(self, name: str) -> BinaryIO:
        if not self.exists(name):  # the error of an object store has no type of its own
            raise FileNotFoundError(f"{self.path(name)} is missing")
        return self.system.open_input_file(f"{self.root}/{name}")

    def write(self, name: str, put: Callable[[BinaryIO], object]) -> None:
        self.system.create_dir(f"{self.root}/{name}".rpartition("/")[0], recursive=True)
        stream = self.system.open_output_stream(f"{self.root}/{name}")
        try:
            put(stream)
        except BaseException:
            with suppress(OSError):
                stream.abort() if hasattr(stream, "abort") else stream.close()
            raise
        stream.close()

    def rename(self, old: str, new: str) -> None:
        raise OSError(f"{self.path(old)} cannot be renamed: an object store copies")

    def remove(self, name: str) -> None:
        from pyarrow import fs

        path = f"{self.root}/{name}"
        kind = self.system.get_file_info(path).type
        if kind == fs.FileType.Directory:
            self.system.delete_dir(path)
        elif kind == fs.FileType.File:
            self.system.delete_file(path)


def place(location: Path | str) -> Place:
    """The folder at a path, or at an address that pyarrow knows."""
    return Remote.at(str(location)) if is_address(location) else Local(Path(location))


def digest(folder: Place, name: str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with folder.read(name) as file:
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
def aside(folder: Place, name: str) -> Iterator[str]:
    """The name under which to write a folder that becomes `name` at the end; nothing is left if writing fails.

    Where folders cannot be renamed it is `name` itself, emptied: its files only count once they are marked.
    """
    writing = f".writing-{name}" if folder.renames else name
    folder.remove(writing)
    try:
        yield writing
        if folder.renames:
            folder.remove(name)
            folder.rename(writing, name)
    except BaseException:
        with suppress(OSError):
            folder.remove(writing)
        raise


def flush(folder: Path) -> None:
    """Make a folder's names survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
