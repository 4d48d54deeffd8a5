"""Recordings that are read from their shards as training goes: for collections that do not fit memory.

Legend: B recordings, C numbers a joint, F frames of a batch, N bodies of a batch, T frames, M bodies, V joints.

A shard is a memory map, of the file itself or of its copy in the cache; a batch is gathered from the maps by the index,
each view in one copy, and that is all that is ever held of it. What is open at a time is a few whole shards a
normalisation group: those that mix, those that come next.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

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
    view_place: np.ndarray  # (views, 3): first byte of the joints in the shard, their end, number of bodies
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
            view_place=np.stack((begin, end, columns["view_bodies"]), axis=1),
            view_shard=shard,
            **columns,
        )

    def expect(self, group: int, shards: Iterable[int]) -> None:
        """Say which shards a group of every step will be read from next; see `Shelf.announce`."""
        self.shelf.announce(group, shards)

    def recordings(self, views: Rows) -> Recordings:
        """These views in this order, their bodies packed densely, copied once from their shards."""
        chosen = numpy(views)
        stored = np.argsort(chosen, kind="stable")  # shard after shard, and each from its beginning to its end
        rows, stride = chosen[stored], self.members.stride
        places, shards = self.view_place[rows], self.view_shard[rows]
        sizes = places[:, 1] - places[:, 0]
        done = np.concatenate(([0], np.cumsum(sizes)))
        frames, target = self._empty(int(done[-1]))
        border = np.flatnonzero(shards[1:] != shards[:-1]) + 1
        for first, end in itertools.pairwise((0, *border.tolist(), len(rows))):
            part = target[done[first] : done[end]]
            gather(part, self.shelf.get(int(shards[first])), places[first:end], stride)
        begin = np.empty_like(chosen)
        begin[stored] = done[:-1] // stride
        table = densely(begin, self.view_length[chosen], self.view_bodies[chosen])
        start, length, owner = torch.from_numpy(table).to(self.device).unbind()
        frames = frames.to(self.device, non_blocking=True)
        return Recordings(frames=frames, start=start, length=length, owner=owner, size=len(chosen))

    def _empty(self, size: int) -> tuple[Tensor, np.ndarray]:
        """Room for `size` bytes of frames, (F, V, C), and the same as bytes.

        NumPy's room comes in huge pages, which torch's does not: filling it costs half. For a GPU it is pinned, so that
        the copy does not hold up the host.
        """
        pinned = self.device.type == "cuda"
        room = (
            torch.empty(size, dtype=torch.uint8, pin_memory=True) if pinned else torch.from_numpy(np.empty(size, "u1"))
        )
        dtype = {2: torch.float16, 4: torch.float32}[self.members.dtype.itemsize]
        return room.view(dtype).view(-1, *self.members.joint_shape), room.numpy()
