"""Shards into one tensor: every selected view, once, at its own length, on the training device.

Legend: B recordings, C numbers a joint, F frames of all bodies, M bodies, N bodies of all recordings, T frames,
V joints.

A batch is then an index: no copy, no decoding, no worker. A view's bodies follow one another in `frames`, each with all
of its frames.
"""

from __future__ import annotations

import itertools
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bonestrap.clips import Recordings
from shards import catalogue
from shards.catalogue import Catalogue, Rows, Select, densely, numpy, selected
from shards.members import Members, gather
from shards.shelf import THREADS, Shelf
from shards.splits import nothing_left
from shards.storage.cache import Cache
from shards.storage.folder import Folder, Location, open_folder


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
        location: Location,
        *,
        select: Select | None = None,
        device: torch.device | str = "cpu",
        verify: bool = True,
        cache: Cache | None = None,
    ) -> Resident:
        """Read the views that `select` accepts; the frames of the others are never decoded nor kept.

        `location` is a path or an address, see `shards.storage.folder`. `verify` hashes every shard that is read (about
        a second a gigabyte); without it only sizes are checked. Raises DataError naming the file where the folder is
        unfinished, damaged, altered, or holds what shards must not hold.
        """
        folder = open_folder(location, cache)
        manifest, table = catalogue.read(folder, hashed=verify)
        columns = selected(table, select)
        if not len(columns["view_row"]):
            raise nothing_left(folder.name, select)
        counts = columns["view_length"] * columns["view_bodies"]
        starts = np.cumsum(counts) - counts
        frames = _read(folder, Members(table, manifest), columns["view_row"], hashed=verify).to(device)
        return cls(manifest=manifest, device=frames.device, frames=frames, view_start=starts, **columns)

    def recordings(self, views: Rows) -> Recordings:
        """These views in this order, their bodies packed densely; the frames are shared, not copied."""
        chosen = numpy(views)
        table = densely(self.view_start[chosen], self.view_length[chosen], self.view_bodies[chosen])
        start, length, owner = torch.from_numpy(table).unbind()
        return Recordings(frames=self.frames, start=start, length=length, owner=owner, size=len(chosen))


def _read(folder: Folder, members: Members, rows: np.ndarray, *, hashed: bool) -> Tensor:
    """The frames of the views in these rows, (F, V, C); every shard is opened once and only their members are read."""
    table, manifest = members.table, members.manifest
    begins, ends = members.places(rows)
    sizes, owner = ends - begins, table.owner(rows)
    done = np.concatenate(([0], np.cumsum(sizes)))
    frames = np.empty((done[-1] // members.stride, *members.joint_shape), dtype=members.dtype)
    target = frames.reshape(-1).view(np.uint8)
    places = np.stack((begins, ends, table.bodies[rows]), axis=1)
    shards, first = np.unique(table.shard[owner], return_index=True)
    border = dict(zip(shards.tolist(), itertools.pairwise([*first.tolist(), len(rows)]), strict=True))

    def check(shard: int, content: np.ndarray) -> None:
        here = slice(*border[shard])
        members.check(folder.path(manifest.shards[shard]), content, rows[here], owner[here])

    with closing(Shelf(folder, manifest.shards, check, hashed=hashed)) as shelf:
        for place, (shard, here) in enumerate(border.items()):
            shelf.announce(0, shards[place : place + THREADS].tolist())
            gather(target[slice(*done[list(here)])], shelf.get(shard), places[slice(*here)].tolist(), members.stride)
    return torch.from_numpy(frames)
