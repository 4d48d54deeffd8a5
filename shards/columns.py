"""Columns in a file: plain arrays in an uncompressed zip, read by memory map.

A million rows open in the time of a few system calls, and only what is looked at is ever in memory. The file is an
`.npz` that `numpy.load` reads as well; the same columns give the same bytes.
"""

from __future__ import annotations

import io
import mmap
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bonestrap.files import UNZIP, npy_header, write_atomically
from shards.errors import DataError

ALIGNED = 64  # bytes; arrays begin at a multiple, so that they can be used where they lie
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip can name
LOCAL = struct.Struct("<26xHH")  # a zip member's own header; at its end the lengths of its name and its extra field
PADDING = struct.Struct("<HH")  # an extra field: its number and length
NUMBER = 0xD935  # of the extra field that only aligns, as in Android's packages


class Strings:
    """Many texts as one array of bytes: no Python object a text until one is asked for."""

    def __init__(self, blob: np.ndarray, offsets: np.ndarray, rows: np.ndarray | None = None) -> None:
        self.blob = blob  # uint8, UTF-8
        self.offsets = offsets  # (n + 1,) int64: text i is blob[offsets[i] : offsets[i + 1]]
        self.rows = rows  # which texts, in which order; None: all of them

    @classmethod
    def of(cls, texts: Iterable[str]) -> Strings:
        """These texts."""
        encoded = [text.encode() for text in texts]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1 if self.rows is None else len(self.rows)

    def __getitem__(self, index: int | np.integer) -> str:
        if not -len(self) <= index < len(self):
            raise IndexError(f"text {index} of {len(self)}")
        row = range(len(self))[index] if self.rows is None else int(self.rows[index])
        return self.blob[self.offsets[row] : self.offsets[row + 1]].tobytes().decode(errors="replace")

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    def take(self, indices: np.ndarray) -> Strings:
        """The texts at these indices; the bytes are shared."""
        return Strings(self.blob, self.offsets, indices if self.rows is None else self.rows[indices])


def write(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write the columns, in their order. A file that is mapped somewhere is replaced and never changed."""
    write_atomically(path, lambda file: _archive(file, columns))


def _archive(stream: BinaryIO, columns: Mapping[str, np.ndarray]) -> None:
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as file:
        for name, column in columns.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(column), version=(1, 0), allow_pickle=False)
            assert file.fp is not None
            info = zipfile.ZipInfo(f"{name}.npy", EPOCH)
            used = file.fp.tell() + LOCAL.size + len(info.filename) + PADDING.size
            info.extra = PADDING.pack(NUMBER, -used % ALIGNED) + bytes(-used % ALIGNED)
            file.writestr(info, content.getbuffer())


def read(path: Path) -> dict[str, np.ndarray]:
    """The columns of a file, read-only and mapped. Raises DataError where they are not plain numbers."""
    with path.open("rb") as file:
        return mapped(file, str(path))


def mapped(file: BinaryIO, name: str) -> dict[str, np.ndarray]:
    """The columns of an open file, which may be closed afterwards; see `read`."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return {info.filename.removesuffix(".npy"): _column(content, info) for info in members}
    except (ValueError, *UNZIP) as error:
        raise DataError(f"{name}: not readable ({error}); pack the recordings again") from None


def _column(mapped: mmap.mmap, info: zipfile.ZipInfo) -> np.ndarray:
    name, extra = LOCAL.unpack_from(mapped, info.header_offset)
    start = info.header_offset + LOCAL.size + name + extra
    if info.compress_type != zipfile.ZIP_STORED or start + info.file_size > len(mapped):
        raise ValueError(f"{info.filename} is compressed or cut short")
    header = io.BytesIO(mapped[start : start + min(info.file_size, 4096)])
    shape, _, dtype = npy_header(header)
    if dtype.kind not in "iub" or len(shape) != 1 or header.tell() + dtype.itemsize * shape[0] != info.file_size:
        raise ValueError(f"{info.filename} holds {dtype} {shape}")
    return np.frombuffer(mapped, dtype, shape[0], start + header.tell())
