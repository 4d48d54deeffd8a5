"""Recordings that are read from their shards as training goes: for collections that do not fit memory.

Legend: B recordings, C numbers a joint, F frames of a batch, N bodies of a batch, T frames, M bodies, V joints.

A shard is a memory map, of the file itself or of its copy in the cache; a batch is gathered from the maps by the index,
each view in one copy, and that is all that is ever held of it. What is open at a time is a few whole shards a
normalisation group: those that mix, those that come next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from bonestrap.clips import Recordings
from shards import catalogue
from shards.cache import Cache
from shards.catalogue import Catalogue, Rows, Select, densely, numpy, selected
from shards.errors import DataError
from shards.folder import Location, open_folder
from shards.members import Members, gather
from shards.shelf import LIMIT, Shelf


@dataclass(frozen=True, kw_only=True)
class Stream(Catalogue):
    """Selected views in their shards, with the interface of resident ones."""

    shelf: Shelf
    members: Members
    ahead: int  # shards that are read before their turn, a group
    view_begin: np.ndarray  # where the joints lie in the shard, bytes
    view_size: np.ndarray  # bytes
    view_shard: np.ndarray

    @classmethod
    def open(
        cls,
        location: Location,
        *,
        select: Select | None = None,
        device: torch.device | str = "cpu",
        cache: Cache | None = None,
        ahead: int = 1,
        limit: int = LIMIT,
    ) -> Stream:
        """Open the index and nothing else; `location` is a path or an address, see `shards.folder`.

        Not more than `limit` bytes of shards are ever open (see `shards.shelf`), and they are all that is held beside
        the index and a batch. `ahead` shards are read before their turn, for each normalisation group of a step.
        Raises DataError naming the file where the folder is unfinished, altered or has lost a shard. A shard's content
        is verified when it is first opened.
        """
        folder = open_folder(location, cache)
        manifest, table = catalogue.read(folder)
        columns = selected(table, select)
        if not len(columns["view_row"]):
            raise DataError(
                f"{folder.name}: the chosen protocol leaves no recording; choose another one or other shards"
            )
        members = Members(table, manifest)
        rows = columns["view_row"]
        begin, end = members.places(rows)
        shard = columns["performance_shard"][columns["view_performance"]]
        border = np.searchsorted(shard, np.arange(len(manifest.shards) + 1))

        def check(number: int, content: np.ndarray) -> None:
            here = slice(border[number], border[number + 1])
            members.check(folder.path(manifest.shards[number]), content, rows[here], table.owner(rows[here]))

        shelf = Shelf(folder, manifest.shards, check, limit=limit)
        place = torch.device(device)
        return cls(
            manifest=manifest,
            device=place,
            shelf=shelf,
            ahead=ahead,
            members=members,
            view_begin=begin,
            view_size=end - begin,
            view_shard=shard,
            **columns,
        )

    def expect(self, group: int, shards: np.ndarray) -> None:
        """Say which shards a group of every step will be read from next; see `Shelf.announce`."""
        self.shelf.announce(group, shards)

    def recordings(self, views: Rows) -> Recordings:
        """These views in this order, their bodies packed densely, copied once from their shards."""
        chosen = numpy(views)
        sizes, bodies = self.view_size[chosen], self.view_bodies[chosen]
        starts, stride = np.cumsum(sizes) - sizes, self.members.stride
        pinned = self.device.type == "cuda"  # so that the copy to the device does not hold up the host
        shape = (int(sizes.sum()) // stride, *self.members.joint_shape)
        frames = torch.empty(shape, dtype=self._dtype, pin_memory=pinned)
        target = frames.numpy().reshape(-1).view(np.uint8)
        places: dict[int, list[tuple[int, int, int, int]]] = {}
        columns = (self.view_shard[chosen], starts, self.view_begin[chosen], sizes, bodies)
        for shard, *place in zip(*(column.tolist() for column in columns), strict=True):
            places.setdefault(shard, []).append(tuple(place))
        for shard, here in places.items():
            gather(target, self.shelf.get(shard), here, stride)
        table = densely(starts // stride, self.view_length[chosen], bodies)
        start, length, owner = torch.from_numpy(table).to(self.device)
        frames = frames.to(self.device, non_blocking=True)
        return Recordings(frames=frames, start=start, length=length, owner=owner, size=len(chosen))

    @property
    def _dtype(self) -> torch.dtype:
        return {2: torch.float16, 4: torch.float32}[self.members.dtype.itemsize]
