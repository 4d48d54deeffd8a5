"""Where the joints of a view lie in its shard, and that there is nothing else in their place.

Legend: C numbers a joint, M bodies, T frames, V joints.

A shard's hash says that it is the one that was packed; what is checked here is that a view's bytes are what the index
promises, whoever made it: the member's name and size, a plain array of the right shape, finite numbers. Nothing is
unpacked and no pickle is ever read, so a member can neither run code nor write outside a folder.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bonestrap.files import npy_header
from shards.errors import DataError
from shards.index import Table
from shards.manifest import Manifest

BLOCK = 512  # of a tar file; a member's header is the block before its data
HEADER = 128  # bytes of a `.npy` file that hold its whole header, for arrays of four dimensions
NAME, SIZE = slice(0, 100), slice(124, 136)  # of a tar header
EXPONENT = {2: (np.uint16, 0x7C00), 4: (np.uint32, 0x7F800000)}  # bits that are all set in NaN and infinity


@dataclass(frozen=True)
class Members:
    """The `.npy` members of a folder's shards."""

    table: Table
    manifest: Manifest

    @property
    def dtype(self) -> np.dtype:
        """The stored type."""
        return np.dtype(self.manifest.dtype)

    @property
    def joint_shape(self) -> tuple[int, int]:
        """(V, C)"""
        return len(self.manifest.layout.joints), self.manifest.channels

    @property
    def stride(self) -> int:
        """Bytes of one body in one frame."""
        joints, channels = self.joint_shape
        return joints * channels * self.dtype.itemsize

    def places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the joints of the views in these rows begin and end in their shards, in bytes."""
        end = self.table.offset[rows] + self.table.bytes[rows]
        return end - self.table.frames[rows].astype(np.int64) * self.table.bodies[rows] * self.stride, end

    def check(self, path: object, content: np.ndarray, rows: np.ndarray, owner: np.ndarray) -> None:
        """DataError unless the views in `rows`, of performances `owner`, are as promised in this shard's bytes."""
        table = self.table
        begins, ends = self.places(rows)
        for row, performance, begin, end in zip(rows, owner, begins, ends, strict=True):
            name = f"{table.key[performance]}.{table.members[table.member[row]]}"
            start = int(table.offset[row])
            header = content[start - BLOCK : start].tobytes()
            found = header[NAME].split(b"\0", 1)[0].decode(errors="replace")
            if found != name:
                raise DataError(
                    f"{path}: member {found!r} lies where {name!r} belongs; do not use these shards, repack them"
                )
            if header[SIZE].rstrip(b"\0 ") != b"%011o" % table.bytes[row]:
                raise DataError(f"{path}: member {name} is not as long as the index says; repack the recordings")
            expected = (int(table.frames[row]), int(table.bodies[row]), *self.joint_shape)
            try:
                length, shape, dtype = _header(content[start : start + HEADER].tobytes())
            except ValueError as error:
                raise DataError(
                    f"{path}: member {name} is no plain array ({error}); pack the recordings again"
                ) from None
            if (shape, dtype) != (expected, self.dtype) or start + length != begin:
                raise DataError(
                    f"{path}: member {name} holds {dtype} {shape}, the manifest says {self.dtype} {expected}; repack"
                )
            if not finite(content[begin:end], self.dtype):
                raise DataError(f"{path}: member {name} holds NaN or infinite joints; pack the recordings again")


def gather(target: np.ndarray, source: np.ndarray, places: Iterable[Sequence[int]], stride: int) -> None:
    """Copy views of one shard into `target`, one behind the other, each from (T, M, V, C) to body after body.

    A place is (first byte, end, bodies); a frame of a body has `stride` bytes.
    """
    content, room, done = source.data, target.data, 0  # their slices are cheaper than NumPy's
    for begin, end, bodies in places:
        size = end - begin
        if bodies == 1:
            room[done : done + size] = content[begin:end]
        else:
            joints = source[begin:end].reshape(-1, bodies, stride)
            target[done : done + size].reshape(bodies, -1, stride)[:] = joints.swapaxes(0, 1)
        done += size


def finite(content: np.ndarray, dtype: np.dtype) -> bool:
    """Whether these bytes hold no NaN and no infinity; numpy's own test is ten times slower on half precision."""
    kind, exponent = EXPONENT[dtype.itemsize]
    return not ((content.view(kind) & exponent) == exponent).any()


@functools.lru_cache(maxsize=4096)
def _header(start: bytes) -> tuple[int, tuple[int, ...], np.dtype]:
    """Length, shape and type of an `.npy` header. Raises ValueError for anything else, pickles included."""
    stream = io.BytesIO(start)
    shape, fortran, dtype = npy_header(stream)
    if fortran or dtype.kind != "f":
        raise ValueError(f"an array of {dtype}, in {'Fortran' if fortran else 'C'} order")
    return stream.tell(), shape, dtype
