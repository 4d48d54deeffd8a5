"""Files behind an address: object stores and web servers, through pyarrow's file systems, with retries.

A file is fetched piece by piece. A piece that fails is asked for again, from where the last one ended, after a pause
that doubles; a file is given up only when the same piece has failed `TRIES` times in a row. Whatever else is asked for
is asked for once: whoever keeps a lease or writes checkpoints tries again later, and has to learn soon of an outage.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from shards.errors import StorageError
from shards.storage.redaction import shown

PIECE = 8 * 2**20  # bytes asked for at a time, and the most that is held
TRIES = 6
PAUSE = 0.1  # seconds before the second try
STALL = 30.0  # seconds without a byte after which a web server's answer counts as failed


def is_address(location: Path | str) -> bool:
    """Whether this names a folder elsewhere and not a path."""
    return isinstance(location, str) and "://" in location


class RemoteStorage:
    """A `shards.storage.storage.Storage` behind an address. Nothing is asked of the network before the first file is.

    Raises StorageError where a file cannot be had, the OSError of pyarrow where something cannot be written.
    """

    renames = False

    def __init__(self, address: str) -> None:
        self.address, self.name = address, shown(address)
        self._opened: tuple[Any, str] | None = None

    def path(self, name: str) -> str:
        return f"{self.name}/{name}"

    def names(self) -> list[str]:
        from pyarrow import fs

        system, root = self.system()
        return sorted(info.base_name for info in system.get_file_info(fs.FileSelector(root, allow_not_found=True)))

    def exists(self, name: str) -> bool:
        from pyarrow import fs

        system, root = self.system()
        return system.get_file_info(f"{root}/{name}").type == fs.FileType.File

    def read(self, name: str) -> BinaryIO:
        if not self.exists(name):  # the error of an object store has no type of its own
            raise FileNotFoundError(f"{self.path(name)} is missing")
        return cast(BinaryIO, io.BufferedReader(RemoteFile(self, name), PIECE))

    def pieces(self, name: str) -> Iterator[bytes]:
        """A file from beginning to end, at most `PIECE` bytes at a time."""
        file = RemoteFile(self, name)
        while piece := file.read(PIECE):
            yield piece

    def write(self, name: str, put: Callable[[BinaryIO], object]) -> None:
        system, root = self.system()
        path = f"{root}/{name}"
        system.create_dir(path.rpartition("/")[0], recursive=True)
        stream = system.open_output_stream(path)
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

        system, root = self.system()
        path = f"{root}/{name}"
        kind = system.get_file_info(path).type
        if kind == fs.FileType.Directory:
            system.delete_dir(path)
        elif kind == fs.FileType.File:
            system.delete_file(path)

    def system(self) -> tuple[Any, str]:
        """The file system of the address, and the folder in it."""
        if self._opened is None:
            try:
                self._opened = _file_system(self.address)
            except ModuleNotFoundError as error:
                raise StorageError(f"{self.name} needs the {error.name} package; pip install {error.name}") from None
            except ValueError as error:
                raise StorageError(f"{self.name}: no folder can be reached by this address ({error})") from None
        return self._opened


class RemoteFile(io.RawIOBase):
    """A file elsewhere, open for reading. A piece that fails is asked for again, of a new connection."""

    def __init__(self, storage: RemoteStorage, name: str) -> None:
        self.storage, self.file = storage, name
        self.offset = 0
        self.stream: Any = None  # stands at `offset`, where there is one

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.offset

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.offset}.get(whence)
        self.offset = offset + (self._patiently(lambda: self._open().size()) if start is None else start)
        self.stream = None
        return self.offset

    def readinto(self, buffer: Any) -> int:
        part = self.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, or all that follow."""
        if size < 0:
            return self.readall()
        part = self._patiently(lambda: self._piece(size))
        self.offset += len(part)
        return part

    def _piece(self, size: int) -> bytes:
        self.stream = self.stream or self._open()
        return self.stream.read(size)

    def _open(self) -> Any:
        system, root = self.storage.system()
        stream = system.open_input_file(f"{root}/{self.file}")
        stream.seek(self.offset)
        return stream

    def _patiently(self, act: Callable[[], Any]) -> Any:
        for failed in range(TRIES):
            try:
                return act()
            except StorageError:
                raise
            except Exception as error:  # every file system has its own, and they mean: not this time
                self.stream = None
                reason = (str(error) or type(error).__name__).splitlines()[0]
                # For fsspec a web server that does not answer and a missing file are the same.
                missing = isinstance(error, FileNotFoundError)
                if failed + 1 < TRIES:
                    time.sleep(PAUSE * 2**failed)
        path = self.storage.path(self.file)
        if missing:
            raise StorageError(
                f"{path} is missing, or the server does not give it; copy the folder there again, or correct the "
                "address"
            )
        raise StorageError(f"{path} cannot be read: {TRIES} tries failed ({reason}); is the server up?")


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
