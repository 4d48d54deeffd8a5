"""Shards into one tensor: every selected view, once, at its own length, on the training device.

Legend: B recordings, C coordinates, F frames of all bodies, M bodies, N bodies of all recordings, P performances,
T frames, V joints.

A batch is then an index: no copy, no decoding, no worker. A view's bodies follow one another in `frames`, each with all
of its frames.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from bonestrap.clips import Recordings
from bonestrap.layouts import LAYOUTS, Layout
from shards import index
from shards.errors import DataError
from shards.index import Entry, StoredView, ViewInfo
from shards.manifest import Manifest, verify

Select = Callable[[ViewInfo], bool]
BLOCK = 512  # of a tar file; a member's header is the block before its data


@dataclass(frozen=True, kw_only=True)
class Resident:
    """All selected views in one tensor on a device, and what is known of them. Views are sorted by performance.

    Unknown numbers are -1 in the tables. `view_start[i]` is the row of the first frame of view i's first body; its body
    m starts `m * view_length[i]` rows later.
    """

    manifest: Manifest
    layout: Layout
    frames: Tensor  # (F, V, C) in the stored type
    view_start: np.ndarray
    view_length: np.ndarray
    view_bodies: np.ndarray
    view_camera: np.ndarray
    view_copy: np.ndarray  # bool
    view_performance: np.ndarray  # 0..P-1, ascending
    view_origin: tuple[str, ...]
    performance_key: tuple[str, ...]
    performance_label: np.ndarray
    performance_subject: np.ndarray
    performance_setup: np.ndarray
    performance_replication: np.ndarray
    performance_first_view: np.ndarray  # (P + 1,): performance p owns views first[p]..first[p + 1] - 1

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
        entries = index.read(folder)
        _check(folder, manifest, entries)
        chosen = [
            (entry, views)
            for entry in entries
            if (views := [view for view in entry.views if select is None or select(entry.info(view))])
        ]
        if not chosen:
            raise DataError(f"{folder}: the chosen protocol leaves no recording; choose another one or other shards")
        tables = _tables(chosen)
        layout = LAYOUTS[manifest.layout]
        frames = _read(folder, manifest, layout, chosen, tables["view_start"])
        return cls(manifest=manifest, layout=layout, frames=frames.to(device), **tables)

    @property
    def device(self) -> torch.device:
        """Where the frames are."""
        return self.frames.device

    def __len__(self) -> int:
        """The number of views."""
        return len(self.view_start)

    def recordings(self, views: Sequence[int] | np.ndarray | Tensor) -> Recordings:
        """These views in this order, their bodies packed densely; the frames are shared, not copied."""
        chosen = _numpy(views)
        bodies = self.view_bodies[chosen]
        owner = np.repeat(np.arange(len(chosen)), bodies)
        body = np.arange(len(owner)) - np.repeat(np.cumsum(bodies) - bodies, bodies)
        length = self.view_length[chosen][owner]
        start = self.view_start[chosen][owner] + body * length
        table = torch.from_numpy(np.stack((start, length, owner))).to(self.device)
        return Recordings(frames=self.frames, start=table[0], length=table[1], owner=table[2], size=len(chosen))

    def labels(self, views: Sequence[int] | np.ndarray | Tensor) -> Tensor:
        """The labels of these views, (B,) int64 on the device. Raises DataError where one is unknown."""
        labels = self.performance_label[self.view_performance[_numpy(views)]]
        if (labels < 0).any():
            raise DataError(f"{self.manifest.name}: some of these recordings have no label; choose labelled shards")
        return torch.from_numpy(labels).to(self.device)

    def info(self, view: int) -> ViewInfo:
        """What a split sees of one view."""
        p = self.view_performance[view]
        subject, setup, replication = (
            None if table[p] < 0 else int(table[p])
            for table in (self.performance_subject, self.performance_setup, self.performance_replication)
        )
        return ViewInfo(
            key=self.performance_key[p],
            label=None if self.performance_label[p] < 0 else int(self.performance_label[p]),
            subject=subject,
            camera=None if self.view_camera[view] < 0 else int(self.view_camera[view]),
            setup=setup,
            replication=replication,
            copy=bool(self.view_copy[view]),
        )

    def keep(self, select: Select) -> Resident:
        """The part that `select` accepts, sharing the frames. Performances without a view left are gone."""
        views = np.array([view for view in range(len(self)) if select(self.info(view))], dtype=np.int64)
        if not len(views):
            raise DataError(f"{self.manifest.name}: no recording is left by the chosen selection; choose another one")
        performances, renumbered = np.unique(self.view_performance[views], return_inverse=True)
        return dataclasses.replace(
            self,
            view_start=self.view_start[views],
            view_length=self.view_length[views],
            view_bodies=self.view_bodies[views],
            view_camera=self.view_camera[views],
            view_copy=self.view_copy[views],
            view_performance=renumbered,
            view_origin=tuple(self.view_origin[view] for view in views),
            performance_key=tuple(self.performance_key[p] for p in performances),
            performance_label=self.performance_label[performances],
            performance_subject=self.performance_subject[performances],
            performance_setup=self.performance_setup[performances],
            performance_replication=self.performance_replication[performances],
            performance_first_view=_first_view(renumbered),
        )


def _numpy(views: Sequence[int] | np.ndarray | Tensor) -> np.ndarray:
    return np.asarray(views.cpu() if isinstance(views, Tensor) else views, dtype=np.int64)


def _verified(folder: Path, *, hashed: bool) -> Manifest:
    manifest = Manifest.read(folder)
    for stored in (manifest.index, *manifest.shards):
        verify(folder, stored, hashed=hashed)
    return manifest


def _check(folder: Path, manifest: Manifest, entries: list[Entry]) -> None:
    """Index and manifest must tell the same story, and every label must name a class."""
    counted = (len(entries), sum(len(entry.views) for entry in entries))
    if counted != (manifest.performances, manifest.views):
        raise DataError(f"{folder / index.FILE} lists {counted} performances and views, the manifest others; repack")
    for entry in entries:
        if entry.label is not None and not 0 <= entry.label < len(manifest.classes):
            raise DataError(
                f"{folder / index.FILE}: label {entry.label} of {entry.key} is out of range for the "
                f"{len(manifest.classes)} classes; correct the source and pack again"
            )
        if not 0 <= entry.shard < len(manifest.shards) or any(
            view.frames < 1 or view.bodies < 1 or view.offset < BLOCK or view.bytes < 1 for view in entry.views
        ):
            raise DataError(f"{folder / index.FILE}: {entry.key} lies nowhere in these shards; pack again")


def _tables(chosen: list[tuple[Entry, list[StoredView]]]) -> dict:
    views = [view for _, kept in chosen for view in kept]
    length = np.array([view.frames for view in views], dtype=np.int64)
    bodies = np.array([view.bodies for view in views], dtype=np.int64)
    performance = np.repeat(np.arange(len(chosen)), [len(kept) for _, kept in chosen])
    return {
        "view_start": np.cumsum(length * bodies) - length * bodies,
        "view_length": length,
        "view_bodies": bodies,
        "view_camera": _known([view.camera for view in views]),
        "view_copy": np.array([view.copy_of is not None for view in views]),
        "view_performance": performance,
        "view_origin": tuple(view.origin for view in views),
        "performance_key": tuple(entry.key for entry, _ in chosen),
        "performance_label": _known([entry.label for entry, _ in chosen]),
        "performance_subject": _known([entry.subject for entry, _ in chosen]),
        "performance_setup": _known([entry.setup for entry, _ in chosen]),
        "performance_replication": _known([entry.replication for entry, _ in chosen]),
        "performance_first_view": _first_view(performance),
    }


def _known(values: list[int | None]) -> np.ndarray:
    return np.array([-1 if value is None else value for value in values], dtype=np.int64)


def _first_view(performance: np.ndarray) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(np.bincount(performance))))


def _read(
    folder: Path, manifest: Manifest, layout: Layout, chosen: list[tuple[Entry, list[StoredView]]], starts: np.ndarray
) -> Tensor:
    """The frames of the chosen views, (F, V, C); every shard is opened once and only their members are read."""
    dtype = np.dtype(manifest.dtype)
    joints, axes = len(layout.joints), manifest.coordinates
    total = sum(view.frames * view.bodies for _, kept in chosen for view in kept)
    frames = np.empty((total, joints, axes), dtype=dtype)
    rows = iter(starts)
    for number, samples in itertools.groupby(chosen, key=lambda sample: sample[0].shard):
        path = folder / manifest.shards[number].file
        with path.open("rb") as file:
            for entry, kept in samples:
                for view in kept:
                    start, count = next(rows), view.frames * view.bodies
                    expected = (view.frames, view.bodies, joints, axes)
                    part = _member(file, path, f"{entry.key}.{view.member}", view, expected, dtype)
                    frames[start : start + count] = part.swapaxes(0, 1).reshape(count, joints, axes)
    return torch.from_numpy(frames)


def _member(
    file: BinaryIO, path: Path, name: str, view: StoredView, expected: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    """One view's joints (T, M, V, C), read from its place and checked against what the index promises."""
    file.seek(view.offset - BLOCK)
    header, data = file.read(BLOCK), file.read(view.bytes)
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
