"""What is known of the recordings that a predicate selects, without their frames: the part that every reader shares.

Legend: B recordings, M bodies, N bodies of all recordings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from bonestrap.layout import Layout
from shards import index
from shards.columns import Strings
from shards.errors import DataError
from shards.index import Splits, Table, Views
from shards.manifest import Manifest
from shards.members import BLOCK, Members
from shards.storage.folder import Folder

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PROMISED = 8  # times the bytes that there are: more joints and wider numbers than the shards' do not make as many

Select = Callable[[Views], np.ndarray]  # one bool a view
Rows: TypeAlias = "Sequence[int] | np.ndarray | Tensor"
Kind = TypeVar("Kind", bound="Catalogue")


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Selected views, sorted by performance, and what is known of them. Unknown numbers are -1."""

    manifest: Manifest
    device: torch.device  # where batches go
    view_row: np.ndarray  # where the view stands in the index
    view_length: np.ndarray
    view_bodies: np.ndarray
    view_camera: np.ndarray
    view_copy: np.ndarray  # bool
    view_split: np.ndarray  # which of `split_sets`
    view_performance: np.ndarray  # 0..P-1, ascending
    view_origin: Strings
    performance_key: Strings
    performance_label: np.ndarray
    performance_subject: np.ndarray
    performance_setup: np.ndarray
    performance_replication: np.ndarray
    performance_shard: np.ndarray
    performance_first_view: np.ndarray  # (P + 1,): performance p owns views first[p]..first[p + 1] - 1
    split_sets: Strings  # see `shards.index.Splits`

    @property
    def layout(self) -> Layout:
        """Which joint is where."""
        return self.manifest.layout

    def __len__(self) -> int:
        """The number of views."""
        return len(self.view_row)

    @property
    def views(self) -> Views:
        """What a split sees."""
        owner = self.view_performance
        return Views(
            label=self.performance_label[owner],
            subject=self.performance_subject[owner],
            camera=self.view_camera,
            setup=self.performance_setup[owner],
            replication=self.performance_replication[owner],
            copy=self.view_copy,
            key=self.performance_key.take(owner),
            splits=Splits(self.view_split, self.split_sets),
        )

    def labels(self, views: Rows) -> Tensor:
        """The labels of these views, (B,) int64 on the device. Raises DataError where one is unknown."""
        labels = self.performance_label[self.view_performance[numpy(views)]]
        if (labels < 0).any():
            raise DataError(f"{self.manifest.name}: some of these recordings have no label; choose labelled shards")
        import torch

        from bonestrap.clips import to_device

        return to_device(torch.from_numpy(labels), self.device)

    def keep(self: Kind, select: Select) -> Kind:
        """The part that `select` accepts, sharing the frames. Performances without a view left are gone."""
        views = np.flatnonzero(select(self.views))
        if not len(views):
            raise DataError(f"{self.manifest.name}: no recording is left by the chosen selection; choose another one")
        return dataclasses.replace(self, **self._part(views))

    def _part(self, views: np.ndarray) -> dict[str, Any]:
        """The columns of these views, ascending, and of the performances that they belong to."""
        performances, renumbered = np.unique(self.view_performance[views], return_inverse=True)
        return {
            **_take(self, "view_", views),
            **_take(self, "performance_", performances),
            "view_performance": renumbered,
            "performance_first_view": first_views(renumbered),
        }


def read(folder: Folder, *, hashed: bool = True) -> tuple[Manifest, Table]:
    """A folder's manifest and index, which must tell the same story; DataError where they do not."""
    manifest = folder.manifest()
    for shard in manifest.shards:
        folder.look(shard)
    name = folder.path(manifest.index)
    with folder.open(manifest.index, hashed=hashed) as file:
        table = index.mapped(file, name)
    agree(manifest, table, name)
    return manifest, table


def agree(manifest: Manifest, table: Table, name: str) -> None:
    """DataError, naming the index, unless it tells the manifest's story: whoever wrote them, every number that is
    followed afterwards leads somewhere.
    """
    found = (len(table), len(table.camera))
    if found != (manifest.performances, manifest.views):
        raise DataError(
            f"{name} lists {found[0]} performances and {found[1]} views, the manifest {manifest.performances} and "
            f"{manifest.views}; pack again"
        )
    wrong = np.flatnonzero((table.label < -1) | (table.label >= len(manifest.classes)))
    if len(wrong):
        raise DataError(
            f"{name}: label {table.label[wrong[0]]} of {table.key[wrong[0]]} is out of range for the "
            f"{len(manifest.classes)} classes; correct the source and pack again"
        )
    for column in (table.subject, table.setup, table.replication, table.camera):
        if len(column) and column.min() < -1:
            raise DataError(f"{name}: a subject, camera, setup or replication below 0; pack again")
    _check_places(manifest, table, name)
    if table.frames.sum(dtype=np.int64) != manifest.frames:
        raise DataError(f"{name} lists other frames than the manifest; pack again")


def _check_places(manifest: Manifest, table: Table, name: str) -> None:
    """Every view lies in a shard, and shards follow one another."""
    shard, sizes = table.shard, np.array([shard.bytes for shard in manifest.shards])
    lost = np.flatnonzero((shard < 0) | (shard >= len(sizes)) | (np.diff(shard, prepend=0) < 0))
    if not len(lost):
        end = np.repeat(sizes[shard], np.diff(table.first_view))
        nowhere = (table.frames < 1) | (table.bodies < 1) | (table.offset < BLOCK) | (table.bytes < 1)
        lost = table.owner(np.flatnonzero(nowhere | (table.offset > end - table.bytes)))
    if len(lost):
        raise DataError(f"{name}: {table.key[lost[0]]} is outside these shards; pack again")
    begins, ends = Members(table, manifest).places(np.arange(len(table.camera)))
    if (ends - begins).sum() > PROMISED * sizes.sum():  # of another layout or type: a reader says which
        raise DataError(f"{name} promises more frames than its shards hold; do not use these shards, pack again")


def selected(table: Table, select: Select | None) -> dict[str, Any]:
    """The columns of a Catalogue of the views that `select` accepts; none where it accepts none."""
    owner = table.performance
    if select is None:
        return _columns(table, np.arange(len(owner)), None, owner, table.first_view)
    rows = np.flatnonzero(select(table.views))
    performances, renumbered = np.unique(owner[rows], return_inverse=True)
    return _columns(table, rows, performances, renumbered, first_views(renumbered))


def _columns(
    table: Table, rows: np.ndarray, performances: np.ndarray | None, owner: np.ndarray, first: np.ndarray
) -> dict[str, Any]:
    """The columns of these views, which belong to these performances; of None, which is all, without a copy."""
    views = slice(None) if performances is None else rows
    chosen = slice(None) if performances is None else performances
    return {
        "view_row": rows,
        "view_length": table.frames[views].astype(np.int64),
        "view_bodies": table.bodies[views].astype(np.int64),
        "view_camera": table.camera[views],
        "view_copy": table.copy_of[views] >= 0,
        "view_split": table.split[views],
        "view_performance": owner,
        "view_origin": table.origin if performances is None else table.origin.take(rows),
        "performance_key": table.key if performances is None else table.key.take(performances),
        "performance_label": table.label[chosen].astype(np.int64),
        "performance_subject": table.subject[chosen],
        "performance_setup": table.setup[chosen],
        "performance_replication": table.replication[chosen],
        "performance_shard": table.shard[chosen],
        "performance_first_view": first,
        "split_sets": table.split_sets,
    }


def numpy(views: Rows) -> np.ndarray:
    """Indices from any kind of sequence."""
    return np.asarray(views.cpu() if hasattr(views, "cpu") else views, dtype=np.int64)  # a tensor, maybe of a GPU


def densely(start: np.ndarray, length: np.ndarray, bodies: np.ndarray) -> np.ndarray:
    """(3, N): the first row, the length and the recording of every body.

    Given are the first row, length and number of bodies of each recording, (B,); bodies follow one another.
    """
    if bodies.max(initial=1) == 1:
        return np.stack((start, length, np.arange(len(bodies))))
    owner = np.repeat(np.arange(len(bodies)), bodies)
    body = np.arange(len(owner)) - np.repeat(np.cumsum(bodies) - bodies, bodies)
    return np.stack((start[owner] + body * length[owner], length[owner], owner))


def first_views(performance: np.ndarray) -> np.ndarray:
    """Where each performance's views begin, and the end, from the ascending performance of every view."""
    return np.concatenate(([0], np.cumsum(np.bincount(performance)))).astype(np.int64)


def _take(catalogue: Catalogue, prefix: str, rows: np.ndarray) -> dict[str, Any]:
    """Rows of all columns of this prefix but those that number views or performances."""
    skipped = ("view_performance", "performance_first_view")
    names = [f.name for f in dataclasses.fields(catalogue) if f.name.startswith(prefix) and f.name not in skipped]
    columns = {name: getattr(catalogue, name) for name in names}
    return {name: c.take(rows) if isinstance(c, Strings) else c[rows] for name, c in columns.items()}
