"""What is known of the recordings that a predicate selects, without their frames: the part that every reader shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from bonestrap.layout import Layout
from shards.columns import Strings
from shards.errors import DataError
from shards.index import Table, Views
from shards.manifest import Manifest

Select = Callable[[Views], np.ndarray]  # one bool a view
Rows = Sequence[int] | np.ndarray | Tensor
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
    view_performance: np.ndarray  # 0..P-1, ascending
    view_origin: Strings
    performance_key: Strings
    performance_label: np.ndarray
    performance_subject: np.ndarray
    performance_setup: np.ndarray
    performance_replication: np.ndarray
    performance_shard: np.ndarray
    performance_first_view: np.ndarray  # (P + 1,): performance p owns views first[p]..first[p + 1] - 1

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
        )

    def labels(self, views: Rows) -> Tensor:
        """The labels of these views, (B,) int64 on the device. Raises DataError where one is unknown."""
        labels = self.performance_label[self.view_performance[numpy(views)]]
        if (labels < 0).any():
            raise DataError(f"{self.manifest.name}: some of these recordings have no label; choose labelled shards")
        return torch.from_numpy(labels).to(self.device)

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


def selected(table: Table, select: Select | None) -> dict[str, Any]:
    """The columns of a Catalogue of the views that `select` accepts; none where it accepts none."""
    owner = table.performance
    rows = np.arange(len(owner)) if select is None else np.flatnonzero(select(table.views))
    performances, renumbered = np.unique(owner[rows], return_inverse=True)
    return {
        "view_row": rows,
        "view_length": table.frames[rows],
        "view_bodies": table.bodies[rows],
        "view_camera": table.camera[rows],
        "view_copy": table.copy_of[rows] >= 0,
        "view_performance": renumbered,
        "view_origin": table.origin.take(rows),
        "performance_key": table.key.take(performances),
        "performance_label": table.label[performances].astype(np.int64),
        "performance_subject": table.subject[performances],
        "performance_setup": table.setup[performances],
        "performance_replication": table.replication[performances],
        "performance_shard": table.shard[performances],
        "performance_first_view": first_views(renumbered),
    }


def numpy(views: Rows) -> np.ndarray:
    """Indices from any kind of sequence."""
    return np.asarray(views.cpu() if isinstance(views, Tensor) else views, dtype=np.int64)


def first_views(performance: np.ndarray) -> np.ndarray:
    """Where each performance's views begin, and the end, from the ascending performance of every view."""
    return np.concatenate(([0], np.cumsum(np.bincount(performance)))).astype(np.int64)


def _take(catalogue: Catalogue, prefix: str, rows: np.ndarray) -> dict[str, Any]:
    """Rows of all columns of this prefix but those that number views or performances."""
    skipped = ("view_performance", "performance_first_view")
    names = [f.name for f in dataclasses.fields(catalogue) if f.name.startswith(prefix) and f.name not in skipped]
    columns = {name: getattr(catalogue, name) for name in names}
    return {name: c.take(rows) if isinstance(c, Strings) else c[rows] for name, c in columns.items()}
