"""Shards into one tensor: every selected view, once, at its own length, on the training device.

Legend: B recordings, C numbers a joint, F frames of all bodies, M bodies, N bodies of all recordings, T frames,
V joints.

A batch is then an index: no copy, no decoding, no worker. A view's bodies follow one another in `frames`, each with all
of its frames.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from bonestrap.clips import Recordings
from shards import index
from shards.catalogue import Catalogue, Rows, Select, numpy, selected
from shards.errors import DataError
from shards.index import Table
from shards.manifest import Manifest, verify

BLOCK = 512  # of a tar file; a member's header is the block before its data


@dataclass(frozen=True, kw_only=True)
class Resident(Catalogue):
    """All selected views in one tensor on a device, and what is known of them.

    `view_start[i]` is the row of the first frame of view i's first body; its body m starts `m * view_length[i]` rows
    later.
    """

    frames: Tensor  # (F, V, C) in the stored type
    view_start: np.ndarray

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        select: Select | None = None,
        device: torch.device | str = "cpu",
        verify: bool = True,
    ) -> Resident:
        """Read the views that `select` accepts; the frames of the others are never decoded nor kept.

        `verify` hashes every file first (about a second a gigabyte); without it only sizes are checked. Raises
        DataError naming the file where the folder is unfinished, damaged, altered, or holds what shards must not hold.
        """
        folder = Path(path)
        manifest = _verified(folder, hashed=verify)
        table = index.read(folder, manifest.index.file)
        _check(folder, manifest, table)
        columns = selected(table, select)
        rows = columns["view_row"]
        if not len(rows):
            raise DataError(f"{folder}: the chosen protocol leaves no recording; choose another one or other shards")
        counts = table.frames[rows].astype(np.int64) * table.bodies[rows]
        starts = np.cumsum(counts) - counts
        frames = _read(folder, manifest, table, rows, starts)
        frames = frames.to(device)
        return cls(manifest=manifest, device=frames.device, frames=frames, view_start=starts, **columns)

    def recordings(self, views: Rows) -> Recordings:
        """These views in this order, their bodies packed densely; the frames are shared, not copied."""
        chosen = numpy(views)
        bodies = self.view_bodies[chosen]
        owner = np.repeat(np.arange(len(chosen)), bodies)
        body = np.arange(len(owner)) - np.repeat(np.cumsum(bodies) - bodies, bodies)
        length = self.view_length[chosen][owner]
        start = self.view_start[chosen][owner] + body * length
        table = torch.from_numpy(np.stack((start, length, owner))).to(self.device)
        return Recordings(frames=self.frames, start=table[0], length=table[1], owner=table[2], size=len(chosen))


def _verified(folder: Path, *, hashed: bool) -> Manifest:
    manifest = Manifest.read(folder)
    for stored in (manifest.index, *manifest.shards):
        verify(folder, stored, hashed=hashed)
    return manifest


def _check(folder: Path, manifest: Manifest, table: Table) -> None:
    """Index and manifest must tell the same story, and every label must name a class."""
    where = folder / manifest.index.file
    counted = (len(table), len(table.camera))
    if counted != (manifest.performances, manifest.views):
        raise DataError(f"{where} lists {counted} performances and views, the manifest others; repack")
    wrong = np.flatnonzero((table.label < -1) | (table.label >= len(manifest.classes)))
    if len(wrong):
        raise DataError(
            f"{where}: label {table.label[wrong[0]]} of {table.key[wrong[0]]} is out of range for the "
            f"{len(manifest.classes)} classes; correct the source and pack again"
        )
    nowhere = (table.frames < 1) | (table.bodies < 1) | (table.offset < BLOCK) | (table.bytes < 1)
    lost = np.flatnonzero((table.shard < 0) | (table.shard >= len(manifest.shards)))
    lost = np.concatenate((lost, table.performance[nowhere]))
    if len(lost):
        raise DataError(f"{where}: {table.key[lost[0]]} lies nowhere in these shards; pack again")


def _read(folder: Path, manifest: Manifest, table: Table, rows: np.ndarray, starts: np.ndarray) -> Tensor:
    """The frames of the views in these rows, (F, V, C); every shard is opened once and only their members are read."""
    dtype = np.dtype(manifest.dtype)
    shape = (len(manifest.layout.joints), manifest.channels)
    frames = np.empty((starts[-1] + int(table.frames[rows[-1]]) * int(table.bodies[rows[-1]]), *shape), dtype=dtype)
    owner = table.performance[rows]
    shard = table.shard[owner]
    for number in np.unique(shard):
        path = folder / manifest.shards[number].file
        with path.open("rb") as file:
            for place in np.flatnonzero(shard == number):
                row, start = rows[place], starts[place]
                length, bodies = int(table.frames[row]), int(table.bodies[row])
                name = f"{table.key[owner[place]]}.{table.members[table.member[row]]}"
                where = (int(table.offset[row]), int(table.bytes[row]))
                part = _member(file, path, name, where, (length, bodies, *shape), dtype)
                frames[start : start + length * bodies] = part.swapaxes(0, 1).reshape(length * bodies, *shape)
    return torch.from_numpy(frames)


def _member(
    file: BinaryIO, path: Path, name: str, where: tuple[int, int], expected: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    """One view's joints (T, M, V, C), read from its place and checked against what the index promises."""
    offset, length = where
    file.seek(offset - BLOCK)
    header, data = file.read(BLOCK), file.read(length)
    found = header[:100].split(b"\0", 1)[0].decode(errors="replace")
    if found != name:
        raise DataError(f"{path}: member {found!r} lies where {name!r} belongs; do not use these shards, repack them")
    try:
        size, shape, kind = _npy_header(data[:128])
        joints = np.frombuffer(data, kind, offset=size).reshape(shape)
    except ValueError as error:
        raise DataError(f"{path}: member {name} is no plain array ({error}); pack the recordings again") from None
    if joints.shape != expected or kind != dtype:
        raise DataError(f"{path}: member {name} holds {kind} {shape}, the manifest says {dtype} {expected}; repack")
    if not np.isfinite(joints).all():
        raise DataError(f"{path}: member {name} holds NaN or infinite joints; pack the recordings again")
    return joints


@functools.lru_cache(maxsize=4096)
def _npy_header(start: bytes) -> tuple[int, tuple[int, ...], np.dtype]:
    """Length, shape and type of a version 1 `.npy` header. Raises ValueError for anything else, pickles included."""
    stream = io.BytesIO(start)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("not version 1.0 of the npy format")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if fortran or dtype.kind != "f":
        raise ValueError(f"an array of {dtype}, in {'Fortran' if fortran else 'C'} order")
    return stream.tell(), shape, dtype
