"""Recordings that are read from their shards as training goes: for collections that do not fit memory.

Legend: B recordings, C numbers a joint, F frames of a batch, N bodies of a batch, T frames, M bodies, V joints.

A shard is a memory map, of the file itself or of its copy in the cache; a batch is gathered from the maps by the index,
each view in one copy, and that is all that is ever held of it. What is open at a time is a few whole shards a
normalisation group: those that mix, those that come next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bonestrap.clips import Recordings
from shards import catalogue
from shards.catalogue import Catalogue, Rows, Select, densely, numpy, selected
from shards.members import Members, gather
from shards.shelf import LIMIT, Shelf
from shards.splits import nothing_left
from shards.storage.cache import Cache
from shards.storage.folder import Location, open_folder


@dataclass(frozen=True, kw_only=True)
class Stream(Catalogue):
    """Selected views in their shards, with the interface of resident ones."""

    shelf: Shelf
    members: Members
    ahead: int  # shards that are read before their turn, a group
    view_place: np.ndarray  # (views, 5): first byte of the joints in their shard, their end, bodies, frames, shard

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
        """Open the index and nothing else; `location` is a path or an address, see `shards.storage.folder`.

        Not more than `limit` bytes of shards are ever open (see `shards.shelf`), and they are all that is held beside
        the index and a batch. `ahead` shards are read before their turn, for each normalisation group of a step.
        Raises DataError naming the file where the folder is unfinished, altered or has lost a shard. A shard's content
        is verified when it is first opened.
        """
        folder = open_folder(location, cache)
        manifest, table = catalogue.read(folder)
        columns = selected(table, select)
        if not len(columns["view_row"]):
            raise nothing_left(folder.name, select)
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
            view_place=np.stack((begin, end, columns["view_bodies"], columns["view_length"], shard), axis=1),
            **columns,
        )

    def expect(self, group: int, shards: Iterable[int]) -> None:
        """Say which shards a group of every step will be read from next; see `Shelf.announce`."""
        self.shelf.announce(group, shards)

    def recordings(self, views: Rows) -> Recordings:
        """These views in this order, their bodies packed densely, copied once from their shards."""
        chosen, stride = numpy(views), self.members.stride
        stored = np.argsort(chosen, kind="stable")  # shard after shard, and each from its beginning to its end
        wanted = self.view_place[chosen]
        places = wanted[stored]
        ends, shards = np.cumsum(places[:, 1] - places[:, 0]), places[:, 4]
        frames, target = self._empty(int(ends[-1]))
        border = [*np.flatnonzero(np.diff(shards)).tolist(), len(places) - 1]
        copies, first, done = places[:, :3].tolist(), 0, 0
        for shard, last, end in zip(shards[border].tolist(), border, ends[border].tolist(), strict=True):
            gather(target[done:end], self.shelf.get(shard), copies[first : last + 1], stride)
            first, done = last + 1, end
        begin = np.zeros(len(chosen), dtype=np.int64)
        begin[stored[1:]] = ends[:-1] // stride
        start, length, owner = torch.from_numpy(densely(begin, wanted[:, 3], wanted[:, 2])).unbind()
        frames = frames.to(self.device, non_blocking=True)
        return Recordings(frames=frames, start=start, length=length, owner=owner, size=len(chosen))

    def _empty(self, size: int) -> tuple[Tensor, np.ndarray]:
        """Room for `size` bytes of frames, (F, V, C), and the same as bytes.

        NumPy's room comes in huge pages, which torch's does not: filling it costs half. For a GPU it is pinned, so that
        the copy does not hold up the host.
        """
        pinned = self.device.type != "cpu"
        room = (
            torch.empty(size, dtype=torch.uint8, pin_memory=True) if pinned else torch.from_numpy(np.empty(size, "u1"))
        )
        dtype = {2: torch.float16, 4: torch.float32}[self.members.dtype.itemsize]
        return room.view(dtype).view(-1, *self.members.joint_shape), room.numpy()
