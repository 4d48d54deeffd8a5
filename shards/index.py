"""The index beside the shards: what every performance is and where the bytes of its views lie.

`index.npz` holds one column a fact, one element a performance or a view, in the order of the shards. Stock readers do
not need it; ours reads any view of any performance through it without touching the others. A million performances are
a few dozen arrays, not a million objects.
"""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from shards import columns
from shards.columns import Strings
from shards.errors import DataError

FILE = "index.npz"


@dataclass(frozen=True)
class Splits:
    """The splits that a source declares: each view is in a set of parts, written "SPLIT/train", "/val" or "/test"."""

    code: np.ndarray  # one a view: which of `sets`
    sets: Strings  # the sets that occur, each the names of its parts with spaces between them

    @classmethod
    def of(cls, sets: Iterable[str]) -> Splits:
        """One set a view."""
        known: dict[str, int] = {}
        codes = [known.setdefault(names, len(known)) for names in sets]
        return cls(np.array(codes, dtype=np.int16), Strings.of(known))

    def __len__(self) -> int:
        return len(self.code)

    def __getitem__(self, row: int | np.integer) -> str:
        return self.sets[self.code[row]]

    @property
    def names(self) -> set[str]:
        """The splits of which any view is in any part."""
        return {part.partition("/")[0] for names in self.sets for part in names.split()}

    def contains(self, part: str) -> np.ndarray:
        """Which views are in this part, one bool a view."""
        return np.array([part in names.split() for names in self.sets], dtype=bool)[self.code]

    def take(self, rows: np.ndarray) -> Splits:
        """Those of some of the views."""
        return Splits(self.code[rows], self.sets)


class Views(NamedTuple):
    """What a split may ask of views: one element a view, -1 where a number is not known."""

    label: np.ndarray
    subject: np.ndarray
    camera: np.ndarray
    setup: np.ndarray
    replication: np.ndarray
    copy: np.ndarray  # bool: bit-identical to another view of its performance
    key: Strings
    splits: Splits

    @property
    def size(self) -> int:
        """The number of views."""
        return len(self.label)

    def take(self, rows: np.ndarray) -> Views:
        """Some of the views."""
        columns: list[Any] = [column.take(rows) for column in self]
        return Views(*columns)


@dataclass(frozen=True, kw_only=True)
class StoredView:
    """One `.npy` member: joints (frames, bodies, V, C)."""

    member: str  # the member's extension: c2.npy is the view of camera 2
    camera: int | None
    frames: int
    bodies: int
    copy_of: str | None  # the member of the same performance that it repeats bit for bit
    origin: str
    splits: tuple[str, ...] = ()  # the parts of declared splits that it is in; see `Splits`
    offset: int = -1  # of the member's data in the shard
    bytes: int = -1


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One performance."""

    key: str
    label: int | None
    subject: int | None
    setup: int | None
    replication: int | None
    views: tuple[StoredView, ...]
    shard: int = -1  # position in the manifest's list


@dataclass(frozen=True, kw_only=True)
class Table:
    """All performances and their views, as columns. Views are sorted by performance, performances by shard."""

    key: Strings
    label: np.ndarray  # -1: unknown, here and below
    subject: np.ndarray
    setup: np.ndarray
    replication: np.ndarray
    shard: np.ndarray
    first_view: np.ndarray  # (P + 1,): performance p owns views first[p]..first[p + 1] - 1
    camera: np.ndarray
    frames: np.ndarray
    bodies: np.ndarray
    copy_of: np.ndarray  # which of the performance's views it repeats, counted from 0; -1: none
    offset: np.ndarray
    bytes: np.ndarray
    member: np.ndarray  # which of `members`
    members: Strings  # the names of members that occur, without the key
    split: np.ndarray  # which of `split_sets`
    split_sets: Strings  # see `Splits`
    origin: Strings

    def __len__(self) -> int:
        """The number of performances."""
        return len(self.label)

    @property
    def performance(self) -> np.ndarray:
        """The performance of each view."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.first_view))

    def owner(self, rows: np.ndarray) -> np.ndarray:
        """The performances of some views."""
        return np.searchsorted(self.first_view, rows, side="right") - 1

    @property
    def views(self) -> Views:
        """What a split sees."""
        owner = self.performance
        return Views(
            label=self.label[owner],
            subject=self.subject[owner],
            camera=self.camera,
            setup=self.setup[owner],
            replication=self.replication[owner],
            copy=self.copy_of >= 0,
            key=self.key.take(owner),
            splits=Splits(self.split, self.split_sets),
        )

    def entry(self, performance: int) -> Entry:
        """One performance as an object."""
        first, end = self.first_view[performance], self.first_view[performance + 1]
        names = [self.members[self.member[view]] for view in range(first, end)]
        return Entry(
            key=self.key[performance],
            label=_known(self.label[performance]),
            subject=_known(self.subject[performance]),
            setup=_known(self.setup[performance]),
            replication=_known(self.replication[performance]),
            shard=int(self.shard[performance]),
            views=tuple(
                StoredView(
                    member=name,
                    camera=_known(self.camera[view]),
                    frames=int(self.frames[view]),
                    bodies=int(self.bodies[view]),
                    copy_of=names[self.copy_of[view]] if self.copy_of[view] >= 0 else None,
                    origin=self.origin[view],
                    splits=tuple(self.split_sets[self.split[view]].split()),
                    offset=int(self.offset[view]),
                    bytes=int(self.bytes[view]),
                )
                for view, name in enumerate(names, first)
            ),
        )

    def __iter__(self) -> Iterator[Entry]:
        return (self.entry(performance) for performance in range(len(self)))


def table(entries: Iterable[Entry]) -> Table:
    """Entries as columns. They may be a generator: only the columns are held, a hundred bytes a performance."""
    performances = {name: array("i") for name in ("label", "subject", "setup", "replication", "shard")}
    views = {name: array("q" if name == "offset" else "i") for name in ("frames", "offset", "bytes")}
    small = {name: array("h") for name in ("camera", "bodies", "copy_of", "member", "split")}
    first, members, sets = array("q", [0]), dict[str, int](), dict[str, int]()
    keys, origins = _Texts(), _Texts()
    for entry in entries:
        keys.add(entry.key)
        for name, column in performances.items():
            column.append(_number(getattr(entry, name)))
        names = [view.member for view in entry.views]
        for view in entry.views:
            origins.add(view.origin)
            for name, column in views.items():
                column.append(getattr(view, name))
            small["camera"].append(_number(view.camera))
            small["bodies"].append(view.bodies)
            small["copy_of"].append(-1 if view.copy_of is None else names.index(view.copy_of))
            small["member"].append(members.setdefault(view.member, len(members)))
            small["split"].append(sets.setdefault(" ".join(view.splits), len(sets)))
        first.append(len(small["camera"]))
    numbers = {name: np.array(column) for name, column in {**performances, **views, **small}.items()}
    return Table(
        key=keys.strings(),
        origin=origins.strings(),
        members=Strings.of(members),
        split_sets=Strings.of(sets),
        first_view=np.array(first),
        **numbers,
    )


def write(folder: Path, entries: Iterable[Entry] | Table, file: str = FILE) -> None:
    """Write `index.npz`, or `file` in its place: a folder that grows keeps the old index until the new one is whole."""
    content = entries if isinstance(entries, Table) else table(entries)
    arrays: dict[str, np.ndarray] = {}
    for field in dataclasses.fields(content):
        column = getattr(content, field.name)
        if isinstance(column, Strings):
            arrays[f"{field.name}.text"], arrays[f"{field.name}.offsets"] = column.blob, column.offsets
        else:
            arrays[field.name] = column
    columns.write(folder / file, arrays)


def read(folder: Path, file: str = FILE) -> Table:
    """Map `index.npz`, or the `file` that the manifest names. Raises DataError where it is not one."""
    path = Path(folder) / file
    with path.open("rb") as stream:
        return mapped(stream, str(path))


def mapped(file: BinaryIO, path: str) -> Table:
    """The table of an open index, which may be closed afterwards; see `read`."""
    arrays = columns.mapped(file, path)
    names = {name.removesuffix(".text") for name in arrays if name.endswith(".text")}
    try:
        texts = {name: Strings(arrays.pop(f"{name}.text"), arrays.pop(f"{name}.offsets")) for name in names}
        fields: dict[str, Any] = {**texts, **arrays}
        found = Table(**fields)
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: not an index of shards ({error}); pack the recordings again") from None
    _check(found, path)
    return found


def _check(found: Table, path: str) -> None:
    """Columns fit one another, and every reference leads into another column."""
    for field in dataclasses.fields(found):
        column = getattr(found, field.name)
        if isinstance(column, Strings) != (field.type == "Strings"):
            raise DataError(f"{path}: column {field.name} is of another kind; pack the recordings again")
        kinds = (
            [column.offsets.dtype.kind, column.blob.dtype.str] if isinstance(column, Strings) else [column.dtype.kind]
        )
        if kinds not in (["i"], ["i", "|u1"]) or (isinstance(column, Strings) and not len(column.offsets)):
            raise DataError(f"{path}: column {field.name} holds no whole numbers; pack the recordings again")
    performances, views = len(found), len(found.camera)
    lengths = {
        **dict.fromkeys(("key", "label", "subject", "setup", "replication", "shard"), performances),
        **dict.fromkeys(
            ("camera", "frames", "bodies", "copy_of", "offset", "bytes", "member", "split", "origin"), views
        ),
        "first_view": performances + 1,
    }
    for name, length in lengths.items():
        if len(getattr(found, name)) != length:
            raise DataError(f"{path}: column {name} has another length than its neighbours; pack the recordings again")
    first = found.first_view
    whole = first[0] == 0 and first[-1] == views and (np.diff(first) > 0).all()
    codes = ((found.member, found.members), (found.split, found.split_sets))
    copied = found.copy_of
    if not whole or (
        views
        and not (
            all(code.min() >= 0 and code.max() < len(texts) for code, texts in codes)
            and ((copied >= -1) & (copied < np.repeat(np.diff(first), np.diff(first)))).all()
        )
    ):
        raise DataError(f"{path}: views and performances do not belong together; pack the recordings again")
    for texts in (found.key, found.origin, found.members, found.split_sets):
        ends = texts.offsets
        if ends[0] != 0 or ends[-1] != len(texts.blob) or (np.diff(ends) < 0).any():
            raise DataError(f"{path}: a text lies outside its column; pack the recordings again")


class _Texts:
    """Texts as they come, kept as bytes."""

    def __init__(self) -> None:
        self.blob, self.offsets = bytearray(), array("q", [0])

    def add(self, text: str) -> None:
        self.blob += text.encode()
        self.offsets.append(len(self.blob))

    def strings(self) -> Strings:
        return Strings(np.frombuffer(self.blob, dtype=np.uint8), np.array(self.offsets))


def _number(value: int | None) -> int:
    return -1 if value is None else value


def _known(value: np.integer) -> int | None:
    return None if value < 0 else int(value)
