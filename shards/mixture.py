"""Batches of several folders of recordings: which folder, which of its items: a function of (seed, step, group).

Every folder keeps its own endless sequence, in which each of its items comes once an epoch of its own (see
`shards.order`); a row of slots, one a clip or one a normalisation group, says which folder is next. So, as with one
folder, any rank can build any group, and a run stops anywhere and resumes with more or fewer workers.

Legend: S slots.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bonestrap.clips import Batch, Recordings, concatenated
from bonestrap.retarget import Retarget
from shards.loader import Loader, batch_seed
from shards.order import STREAMS, Plan, mix, uniform
from shards.reader import Resident

CYCLE = 1000  # slots after which every folder has had its part; fractions are multiples of its inverse


class Interleaving:
    """An endless row of slots, each filled from one of several folders, in given fractions.

    In every cycle of slots each folder has a fixed number, spread evenly with jitter: its k-th of q slots has a random
    time between k / q and (k + 1) / q, and slots follow in the order of their times.
    """

    def __init__(self, fractions: Sequence[float], seed: int) -> None:
        """`fractions` are positive and sum to one."""
        self.seed = seed
        self.quotas = apportioned(fractions, CYCLE)
        self._row = functools.lru_cache(maxsize=4)(self._cycle)

    def at(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The folder of each slot, (S,), and how many earlier slots were that folder's, (S,)."""
        cycles, places = np.divmod(slots, CYCLE)
        folder, rank = np.empty((2, len(slots)), dtype=np.int64)
        for cycle in np.unique(cycles):
            here = cycles == cycle
            owner, before = self._row(int(cycle))
            folder[here] = owner[places[here]]
            rank[here] = before[places[here]] + cycle * self.quotas[folder[here]]
        return folder, rank

    def _cycle(self, cycle: int) -> tuple[np.ndarray, np.ndarray]:
        """Of each slot of a cycle the folder, and how many of its slots come before in the cycle."""
        owner = np.repeat(np.arange(len(self.quotas)), self.quotas)
        before = np.concatenate([np.arange(quota) for quota in self.quotas])
        jitter = uniform(self.seed, cycle * CYCLE + np.arange(CYCLE), STREAMS - 1)
        order = np.argsort((before + jitter) / self.quotas[owner], kind="stable")
        return owner[order], before[order]


def apportioned(fractions: Sequence[float], slots: int) -> np.ndarray:
    """Whole numbers, one a fraction and at least one, that sum to `slots`, by largest remainders."""
    exact = np.array(fractions) * slots
    quotas = np.maximum(np.floor(exact).astype(np.int64), 1)
    while quotas.sum() != slots:
        less = quotas.sum() < slots
        behind = exact - quotas if less else np.where(quotas > 1, quotas - exact, -np.inf)
        quotas[np.argmax(behind)] += 1 if less else -1
    return quotas


@dataclass(frozen=True, kw_only=True)
class Part:
    """One folder of a mixture."""

    loader: Loader  # of its items alone, with a plan of its own: see `part_plan`
    retarget: Retarget | None  # what its recordings go through; None: they are in the skeleton already


class Mixture:
    """Random access to batches of several folders' recordings, with the interface of a `Loader`.

    `single`: a normalisation group is of one folder; otherwise slots are clips, and a group has several. An epoch is as
    many clips as there are items in all folders.
    """

    def __init__(self, parts: Sequence[Part], fractions: Sequence[float], plan: Plan, *, single: bool) -> None:
        self.parts, self.plan, self.single = parts, plan, single
        self.order = Interleaving(fractions, plan.seed)
        self.groups = plan.groups
        sizes = [part.loader.count for part in parts]
        self.first_item = np.cumsum(sizes) - sizes  # of each folder, among all

    @property
    def epoch_length(self) -> float:
        """Steps an epoch."""
        return sum(len(part.loader.items) for part in self.parts) / self.plan.batch

    @property
    def fractions(self) -> list[float]:
        """What fraction of the clips each folder gives."""
        return [int(quota) / CYCLE for quota in self.order.quotas]

    def keys(self, step: int, group: int) -> list[str]:
        """The performances of a group, for messages about it."""
        drawn = self._drawn(step, group)
        return [key for folder, positions in drawn for key in self.parts[folder].loader.named(positions)]

    def group(self, step: int, group: int) -> Batch:
        """Normalisation group `group`, 0..groups-1, of step `step`: folder by folder."""
        drawn = self._drawn(step, group)
        views = [self._views(folder, positions) for folder, positions in drawn]
        items = [self.first_item[folder] + self.parts[folder].loader.chosen(positions) for folder, positions in drawn]
        return Batch(
            views=tuple(concatenated(each) for each in zip(*views, strict=True)),
            labels=None,
            seed=batch_seed(self.plan.seed, step, group),
            items=torch.from_numpy(np.concatenate(items)),
            group=group,
        )

    def _views(self, folder: int, positions: np.ndarray) -> list[Recordings]:
        part = self.parts[folder]
        views = part.loader.clips(positions)
        return [each if part.retarget is None else part.retarget(each) for each in views]

    def _drawn(self, step: int, group: int) -> list[tuple[int, np.ndarray]]:
        """The folders of a group, and the places of its clips in their sequences."""
        size = self.plan.group
        if self.single:
            (folder,), (rank,) = self.order.at(np.array([step * self.groups + group]))
            return [(int(folder), rank * size + np.arange(size))]
        first = step * self.plan.batch + group * size
        owner, rank = self.order.at(np.arange(first, first + size))
        return [(int(folder), rank[owner == folder]) for folder in np.unique(owner)]


def part_plan(plan: Plan, number: int) -> Plan:
    """The plan of folder `number`, whose order and draws are its own."""
    seed = int(mix(plan.seed, np.array([number]), STREAMS - 2)[0] >> np.uint64(33))
    return Plan(batch=plan.batch, group=plan.group, seed=seed, window=plan.window)


def retargeted(data: Resident, retarget: Retarget, portion: int = 256) -> Resident:
    """The same recordings through `retarget`, once and for all. Everything else that is known of them stays."""
    frames, lengths = [], []
    for first in range(0, len(data), portion):
        found = retarget(data.recordings(range(first, min(first + portion, len(data)))))
        frames.append(found.frames)
        lengths.append(found.length.numpy())
    length = np.concatenate(lengths)[np.cumsum(data.view_bodies) - data.view_bodies]
    count = length * data.view_bodies
    return dataclasses.replace(data, frames=torch.cat(frames), view_start=np.cumsum(count) - count, view_length=length)
