"""Reading files that anybody may have written, and writing files that are found whole or not at all.

Only regular files are read, and with no more memory than they can be meant to take. A FIFO would block, a header may
claim what the file does not hold, a few kilobytes may unpack to gigabytes, and nested JSON exhausts the stack of
whoever walks through it. What is wrong is raised as ValueError, a reason without the file's name, which the caller
knows; an OSError, such as of a file that is not there, passes through.
"""

from __future__ import annotations

import errno
import json
import lzma
import math
import os
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

LARGEST = 2**29  # bytes of one array: 16 hours of a person with 25 joints in space, 30 frames a second, float32
WHOLE = 2**32  # bytes of a file that is read as a whole
DEPTH = 64  # of nested JSON; a model's lineage takes three a generation
KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}  # fmt: skip
NAMELESS = (errno.ELOOP, errno.ENAMETOOLONG)  # what is wrong with a name, not with the disk
UNZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, struct.error)


@contextmanager
def opened(path: Path | str) -> Iterator[BinaryIO]:
    """The file, open for reading. ValueError where it is a folder, a FIFO or the like, or its name leads nowhere."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in NAMELESS:
            raise
        raise ValueError((error.strerror or str(error)).lower()) from None
    if fault := strange(os.fstat(handle)):
        os.close(handle)
        raise ValueError(fault)
    with os.fdopen(handle, "rb") as file:
        yield file


def strange(status: os.stat_result) -> str:
    """What something is instead of a regular file, as a reason; nothing where it is one."""
    kind = stat.S_IFMT(status.st_mode)
    return "" if kind == stat.S_IFREG else f"it is {KINDS.get(kind, 'something else')} and not a file"


def content(path: Path | str) -> bytes:
    """The bytes of a file. ValueError where it is no regular file, or larger than `WHOLE`."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > WHOLE:
            raise ValueError(f"it has {size} bytes, and no such file has more than {WHOLE}")
        return file.read(size)


def read_json(path: Path | str) -> Any:
    """What a JSON file holds. ValueError where it is not JSON, or nested deeper than `DEPTH`."""
    return parse_json(content(path))


def read_object(path: Path | str) -> dict[str, Any]:
    """The object that a JSON file holds. ValueError where it holds anything else."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"it holds no JSON object but {found!r:.40}")
    return found


def parse_json(text: bytes | str) -> Any:
    """What a JSON text says; see `read_json`."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [found]
    for _ in range(DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return found
    raise ValueError("it is nested too deeply")


def read_array(file: BinaryIO, size: int) -> np.ndarray:
    """The array of an open `.npy` file of `size` bytes, read-only.

    Its header is held against the size before any memory is taken. ValueError where it is no array of plain values,
    claims more than the file holds, or is larger than `LARGEST`.
    """
    shape, fortran, dtype = npy_header(file)
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"an array of {dtype}; save it as a plain array of numbers")
    need = check_size(shape, dtype.itemsize)
    if need > size - file.tell():
        raise ValueError(f"its header claims {need} bytes, and {size - file.tell()} follow")
    data = file.read(need)
    if len(data) != need:
        raise ValueError("it is cut short")
    return np.ndarray(shape, dtype, data, order="F" if fortran else "C")


def npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran's order, and type of an `.npy` file that is open at its beginning."""
    formats: Any = np.lib.format
    readers = {(1, 0): formats.read_array_header_1_0, (2, 0): formats.read_array_header_2_0}
    version = formats.read_magic(file)
    if version not in readers:
        raise ValueError(f"version {version} of the npy format is not read")
    try:
        header: tuple[tuple[int, ...], bool, np.dtype[Any]] = readers[version](file)
        return header
    except OSError:
        raise
    except Exception as error:  # it is a Python literal, which fails in any way it likes
        raise ValueError(f"its header is damaged ({type(error).__name__})") from None


@contextmanager
def unzipped(path: Path | str) -> Iterator[zipfile.ZipFile]:
    """An `.npz` file. What its damage raises inside, too, is a ValueError."""
    with opened(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield archive
        except (OSError, *UNZIP) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:  # which comes of places that cannot be
                raise
            raise ValueError(str(error) or type(error).__name__) from None


def read_member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One array of an `.npz` file, by its name with or without `.npy`; see `read_array`."""
    names = archive.namelist()
    found = next((known for known in (f"{name}.npy", name) if known in names), None)
    if found is None:
        raise ValueError(f"it holds no array {name}")
    with archive.open(found) as file:
        return read_array(file, archive.getinfo(found).file_size)  # type: ignore[arg-type]  # reads and tells, as needed


def check_size(shape: Sequence[int], itemsize: int = 4) -> int:
    """The bytes of an array of this shape. ValueError where they are more than `LARGEST`."""
    bytes = math.prod(shape) * itemsize
    if min(shape, default=0) < 0 or bytes > LARGEST:
        raise ValueError(f"an array of {' x '.join(map(str, shape))} has {bytes} bytes; {LARGEST} is the most")
    return bytes


class Unfinished:
    """A file that is written beside its name and gets it when it is whole. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
        self.file = self.partial.open("wb")

    def commit(self, *, replace: bool = True) -> None:
        """Flush the file to the disk and name it. Without `replace`, FileExistsError where the name is taken."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        if replace or not self._linked():
            os.replace(self.partial, self.path)
        flush(self.path.parent)

    def discard(self) -> None:
        """Leave nothing of it."""
        with suppress(OSError):  # the disk that refused the file may refuse this as well
            self.file.close()
        with suppress(OSError):
            self.partial.unlink(missing_ok=True)

    def _linked(self) -> bool:
        """Whether the file has its name, as a link: which fails where the name is taken, and a rename does not."""
        try:
            os.link(self.partial, self.path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            return False
        self.partial.unlink()
        return True


def write_atomically(path: Path, content: bytes | str | Callable[[BinaryIO], object], *, replace: bool = True) -> None:
    """Make or replace a file: whoever reads it finds the old one or the new, also after a power cut.

    `content` is text (written as UTF-8), bytes, or a function that writes into the open file. Without `replace` it is
    FileExistsError where there is a file already. Raises OSError, and then leaves what was there.
    """
    unfinished = Unfinished(path)
    try:
        if callable(content):
            content(unfinished.file)
        else:
            unfinished.file.write(content.encode() if isinstance(content, str) else content)
        unfinished.commit(replace=replace)
    except BaseException:
        unfinished.discard()
        raise


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def misfit(error: Exception) -> str:
    """Why a state could not be loaded, in one line: of torch's several lines the first only names the network."""
    first, *rest = map(str.strip, str(error).splitlines())
    return rest[0].rstrip(".") if rest and first.startswith("Error(s) in loading") else first
