"""Folders of packed shards, read in their order with numpy alone: `manifest.json`, `index.npz` and tar files.

shards/ writes this format and trains from it in any order and from any store; this is the small reader that is
installed with the library. What names the format is in `bonestrap.recordings.format` for both.

Legend: C numbers a joint, F frames of all bodies, M bodies, R recordings of a folder, T frames, V joints.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import itertools
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from bonestrap import files
from bonestrap.clips import Recordings
from bonestrap.layout import Layout
from bonestrap.options import UserError
from bonestrap.recordings.format import DTYPES, FORMAT, MANIFEST, PLAIN_NAME, PUBLISHED, VERSION, digest_of

HEADER = 128  # bytes of a `.npy` file that hold its whole header, for arrays of four dimensions
PERFORMANCES = ("label", "subject")  # columns with one number a performance
VIEWS = ("camera", "frames", "bodies", "offset", "bytes", "member")  # with one a view, which is a recording here


class Stored(NamedTuple):
    """A file of the folder and what must be true of it."""

    file: str
    bytes: int
    sha256: str


class Shard(NamedTuple):
    """A tar file of the folder, and which recordings lie in it."""

    file: str
    bytes: int
    sha256: str
    first: int
    end: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackedFolder:
    """What every recording of a folder is, one element each in the order of the shards; -1: unknown.

    A recording is one view of a performance: `key` names the performance, `view` its member, such as c2 of camera 2.
    """

    path: Path
    name: str
    digest: str  # of all the content
    layout: Layout
    classes: tuple[str, ...]
    rate: float | None  # frames a second, where it is known
    dtype: str
    shards: tuple[Shard, ...]
    key: tuple[str, ...]
    view: tuple[str, ...]
    label: np.ndarray  # (R,) integers, as all below
    subject: np.ndarray
    camera: np.ndarray
    frames: np.ndarray
    bodies: np.ndarray
    offset: np.ndarray  # of the `.npy` file in its shard
    bytes: np.ndarray

    def __len__(self) -> int:
        """The number of recordings."""
        return len(self.key)

    @staticmethod
    def read(path: Path | str) -> PackedFolder:
        """The folder, without its joints. Raises UserError naming the file, the fault and the remedy."""
        folder = Path(path)
        if "://" in str(path):
            raise UserError(f"{path} is an address: copy the folder of shards to this machine and name it there")
        fields = _manifest(folder / MANIFEST)
        index = folder / fields["index"]["file"]
        try:
            _content(index, Stored(**fields["index"]))
            with files.unzipped(index) as archive:
                table = _Table.read(archive)
            return _folder(folder, fields, table)
        except UserError:
            raise
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise UserError(
                f"{index}: not an index of these shards ({error!s:.200}); pack the recordings again"
            ) from None

    def batches(self, size: int) -> Iterator[Recordings]:
        """All recordings in order, `size` at a time, in the stored type on the CPU.

        Every shard is hashed as it is read, the next one while the last is worked on. Raises UserError for a file that
        is missing, damaged, or holds what shards must not hold.
        """
        parts: list[np.ndarray] = []
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(_content, self.path / self.shards[0].file, self.shards[0])
            for number, shard in enumerate(self.shards):
                content = memoryview(coming.result())
                if number + 1 < len(self.shards):
                    after = self.shards[number + 1]
                    coming = pool.submit(_content, self.path / after.file, after)
                for row in range(shard.first, shard.end):
                    parts.append(self._joints(shard, content, row))
                    if len(parts) == size or row + 1 == len(self):
                        yield self._batch(parts)
                        parts = []

    def _joints(self, shard: Shard, content: memoryview, row: int) -> np.ndarray:
        """One recording (T, M, V, C), a view of the shard's bytes."""
        member = content[self.offset[row] : self.offset[row] + self.bytes[row]]
        expected = (int(self.frames[row]), int(self.bodies[row]), len(self.layout.joints), self.layout.axes)
        try:
            begin, shape, dtype = _header(bytes(member[:HEADER]))
            if shape != expected or dtype != np.dtype(self.dtype):
                raise ValueError(f"it holds {dtype} {shape}, and {self.dtype} {expected} is listed")
            return np.frombuffer(member[begin:], self.dtype).reshape(expected)
        except ValueError as error:
            name = f"{self.key[row]}.{self.view[row]}.npy"
            raise UserError(f"{self.path / shard.file}: member {name}: {error}; pack the recordings again") from None

    def _batch(self, parts: list[np.ndarray]) -> Recordings:
        """These recordings, body after body."""
        bodies = np.array([part.shape[1] for part in parts])
        length = np.repeat([part.shape[0] for part in parts], bodies)
        start = np.cumsum(length) - length
        frames = np.empty((int(length.sum()), len(self.layout.joints), self.layout.axes), self.dtype)
        done = 0
        for part in parts:
            count, people = part.shape[:2]
            frames[done : done + count * people].reshape(people, count, *part.shape[2:])[:] = part.swapaxes(0, 1)
            done += count * people
        joints = torch.from_numpy(frames)
        if not torch.isfinite(joints.sum(dtype=torch.float64)):  # of float16 and float32, which cannot overflow it
            raise UserError(f"{self.path} holds NaN or infinite joints; pack the recordings again")
        owner = torch.from_numpy(np.repeat(np.arange(len(parts)), bodies))
        return Recordings(joints, torch.from_numpy(start), torch.from_numpy(length), owner, len(parts))


def _content(path: Path, stored: Stored | Shard) -> bytes:
    """The bytes of a file, which are those that were packed. Raises UserError where they are not."""
    try:
        content = files.content(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing though the manifest lists it; copy the folder again") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}; pack the recordings again") from None
    if len(content) != stored.bytes:
        fault = "truncated" if len(content) < stored.bytes else "too long"
        raise UserError(f"{path} is {fault} ({len(content)} of {stored.bytes} bytes); copy the file again")
    if hashlib.sha256(content).hexdigest() != stored.sha256:
        raise UserError(f"{path} is damaged: its SHA-256 differs from the manifest's; copy the file again")
    return content


class _Table(NamedTuple):
    """The columns of an index that are used here."""

    first_view: np.ndarray
    shard: np.ndarray
    numbers: dict[str, np.ndarray]
    keys: list[str]
    members: list[str]

    @staticmethod
    def read(archive: zipfile.ZipFile) -> _Table:
        def column(name: str) -> np.ndarray:
            return files.read_member(archive, name)

        def texts(name: str) -> list[str]:
            blob, ends = column(f"{name}.text").tobytes(), column(f"{name}.offsets").tolist()
            return [blob[a:b].decode(errors="replace") for a, b in itertools.pairwise(ends)]

        numbers = {name: column(name).astype(np.int64) for name in (*PERFORMANCES, *VIEWS)}
        return _Table(column("first_view"), column("shard"), numbers, texts("key"), texts("members"))


def _manifest(path: Path) -> dict[str, Any]:
    """The fields of a manifest that is whole and of this format."""
    if not path.is_file():
        raise UserError(f"{path} does not exist: name a finished folder of packed shards")
    try:
        fields = files.read_object(path)
        if (fields["format"], fields["version"]) != (FORMAT, VERSION):
            found = f"{fields['format']!s:.40} {fields['version']!s:.40}"
            raise UserError(f"{path}: format {found} is not {FORMAT} {VERSION}; pack the recordings again")
        names = [fields["index"]["file"], *(shard["file"] for shard in fields["shards"])]
        if fields["digest"] != digest_of(fields):
            raise UserError(f"{path} was altered: its digest does not match its content; pack the recordings again")
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not a readable manifest ({error!s:.200}); pack the recordings again") from None
    if outside := [name for name in names if not (isinstance(name, str) and PLAIN_NAME.fullmatch(name))]:
        raise UserError(f"{path}: {outside[0]!r:.80} leads out of the folder; do not use these shards")
    return fields


def _folder(path: Path, fields: Mapping[str, Any], table: _Table) -> PackedFolder:
    """Manifest and index together. Raises ValueError where they do not tell the same story."""
    counts = np.diff(table.first_view)
    owner = np.repeat(np.arange(len(counts)), counts)
    numbers = {name: table.numbers[name][owner] for name in PERFORMANCES} | {n: table.numbers[n] for n in VIEWS}
    if len(table.keys) != len(counts) or {len(column) for column in numbers.values()} != {fields["views"]}:
        raise ValueError("its columns have other lengths than the manifest says")
    if fields["dtype"] not in DTYPES or not len(owner):
        raise ValueError(f"{fields['views']} recordings of type {fields['dtype']!r:.40}")
    if numbers["label"].max() >= len(fields["classes"]) or min(numbers["frames"].min(), numbers["bodies"].min()) < 1:
        raise ValueError("a label without a class, or a recording without a frame")
    shard = table.shard[owner]
    ends = np.searchsorted(shard, np.arange(len(fields["shards"])), side="right").tolist()
    sizes = np.array([each["bytes"] for each in fields["shards"]])
    outside = (numbers["offset"] < 0) | (numbers["bytes"] < 1) | (numbers["offset"] + numbers["bytes"] > sizes[shard])
    if (np.diff(shard) < 0).any() or shard[0] < 0 or outside.any():
        raise ValueError("a recording lies outside its shard")
    return PackedFolder(
        path=path,
        name=fields["name"],
        digest=fields["digest"],
        layout=Layout.from_json(fields["layout"]),
        classes=tuple(fields["classes"]),
        rate=fields.get("rate") or (PUBLISHED[fields["name"]].rate if fields["name"] in PUBLISHED else None),
        dtype=fields["dtype"],
        shards=tuple(
            Shard(each["file"], each["bytes"], each["sha256"], first, end)
            for each, first, end in zip(fields["shards"], [0, *ends], ends, strict=False)
        ),
        key=tuple(table.keys[performance] for performance in owner),
        view=tuple(table.members[member].removesuffix(".npy") for member in numbers.pop("member")),
        **numbers,
    )


@functools.lru_cache(maxsize=4096)
def _header(start: bytes) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Length, shape and type of an `.npy` header. Raises ValueError for anything else."""
    stream = io.BytesIO(start)
    shape, fortran, dtype = files.npy_header(stream)
    if fortran or dtype.kind != "f":
        raise ValueError(f"an array of {dtype}, in {'Fortran' if fortran else 'C'} order")
    return stream.tell(), shape, dtype
