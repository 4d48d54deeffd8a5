"""Recordings in files of any format, and a table of what is known of them: the source behind `arrays` and most others.

Legend: C numbers a joint, T frames, V joints, M bodies.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from bonestrap.layout import Layout
from shards.errors import DataError
from shards.packing.preprocess import Step
from shards.sources.source import Performance, Source, View
from shards.sources.table import Table, bare

FOREIGN = re.compile(r"[^A-Za-z0-9_-]+")
ENDINGS = (".npy", ".npz", ".json", ".bvh", ".trc", ".c3d", ".csv", ".mat")
LONGEST = 70  # characters of a key, before what tells two alike apart


class Clips(ABC):
    """A folder of recordings, each with a name: its file, relative to the folder, or a part of it."""

    names: Sequence[str]
    rate: float | None = None  # frames a second, where all of them state the same
    notices: Sequence[str] = ()  # what is doubtful about them as a whole, in sentences, known without reading

    @abstractmethod
    def read(self, name: str) -> np.ndarray:
        """Joints (T, M, V, C) float32; absent bodies and missing joints are NaN. DataError naming a broken file."""

    @abstractmethod
    def stamp(self, name: str) -> str:
        """What changes when the file changes; see `file_stamp`."""


class Recorded(Source):
    """The performances of a folder of recordings.

    Without a table each recording is a performance of which nothing is known. Recordings that the table does not name
    are left out and reported; raises DataError where the table names others than there are, or contradicts itself.
    """

    def __init__(
        self, clips: Clips, *, name: str, layout: Layout, table: Table | None, cleaning: tuple[Step, ...]
    ) -> None:
        self.name = name
        self.layout = layout
        self.cleaning = cleaning
        self.clips = clips
        self.table = table or bare(clips.names)
        self.classes = self.table.classes
        self.notices = (*layout.doubts, *self.table.notices, *clips.notices)
        self._names = matched(self.table.files, clips.names)
        listed = set(self._names)
        self.dropped = [(name, "not in the table") for name in clips.names if name not in listed]
        rows: dict[str, list[int]] = {}
        for row, performance in enumerate(self.table.performances):
            rows.setdefault(performance, []).append(row)
        for performance, members in rows.items():
            self._check(performance, members)
        self._rows = sorted(zip(keys(list(rows)), rows.values(), strict=True))

    def __len__(self) -> int:
        return len(self._rows)

    def key(self, number: int) -> str:
        return self._rows[number][0]

    def stamp(self, number: int) -> str:
        parts = [f"{self._known(row)} {self.clips.stamp(self._names[row])}" for row in self._rows[number][1]]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def __getitem__(self, number: int) -> Performance:
        key, rows = self._rows[number]
        table, first = self.table, rows[0]
        joints = {row: self.clips.read(self._names[row]) for row in rows}
        return Performance(
            key=key,
            label=table.labels[first],
            subject=table.subjects[first],
            setup=table.setups[first],
            replication=table.replications[first],
            views=tuple(
                View(
                    camera=table.cameras[row],
                    joints=joints[row],
                    origin=self._names[row],
                    splits=table.splits[row],
                )
                for row in rows
                if joints[row].size
            ),
            dropped=tuple((self._names[row], "no body in any frame") for row in rows if not joints[row].size),
        )

    def _known(self, row: int) -> tuple[object, ...]:
        table = self.table
        columns = (table.labels, table.subjects, table.cameras, table.setups, table.replications, table.splits)
        return tuple(column[row] for column in columns)

    def _check(self, performance: str, rows: list[int]) -> None:
        """Views of one performance show the same action by the same person, each from a camera of its own."""
        table = self.table
        for what, column in (
            ("label", table.labels),
            ("subject", table.subjects),
            ("setup", table.setups),
            ("replication", table.replications),
        ):
            if len({column[row] for row in rows}) > 1:
                raise DataError(f"performance {performance}: its recordings differ in {what}; correct the table")
        cameras = [table.cameras[row] for row in rows if table.cameras[row] is not None]
        if len(set(cameras)) < len(cameras):
            raise DataError(f"performance {performance}: two recordings by one camera; correct the table")


def matched(files: Sequence[str], names: Sequence[str]) -> list[str]:
    """The recording that each row of a table means: by its name, which may lack its ending.

    Backslashes of Windows separate folders, and letters with marks are the same however they are composed.
    """
    known = {_plain(name): name for name in names}
    for name in names:
        known.setdefault(PurePosixPath(_plain(name)).with_suffix("").as_posix(), name)
    places = [known.get(_plain(file), "") for file in files]
    if "" in places:
        lost = [file for file, place in zip(files, places, strict=True) if not place]
        more = f" and {len(lost) - 1} others" if len(lost) > 1 else ""
        raise DataError(f"{lost[0]}{more}: in the table but not in the folder; correct --input or the table")
    if len(set(places)) < len(places):
        name = next(name for name in places if places.count(name) > 1)
        raise DataError(f"{name}: two rows of the table mean this recording; a recording has one row")
    return places


def _plain(name: str) -> str:
    return PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/")).as_posix()


def keys(performances: Sequence[str]) -> list[str]:
    """A key that a sample may carry for each performance, much like its name."""
    plain = [FOREIGN.sub("-", _stem(name)).strip("-")[:LONGEST] or "recording" for name in performances]
    count: dict[str, int] = {}
    for key in plain:
        count[key] = count.get(key, 0) + 1
    return [
        key if count[key] == 1 else f"{key}-{zlib.crc32(name.encode()):08x}"
        for key, name in zip(plain, performances, strict=True)
    ]


def _stem(name: str) -> str:
    """A file's name without its ending; the name of anything else, dots and all."""
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in ENDINGS else name
