"""The index beside the shards: what every performance is and where the bytes of its views lie.

`index.jsonl` holds one JSON line a performance, in the order of the shards. Stock readers do not need it; ours reads
any view of any performance through it without touching the others.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from shards.errors import DataError

FILE = "index.jsonl"


class ViewInfo(NamedTuple):
    """What a split may ask of a view. None is unknown; `copy`: bit-identical to another view of its performance."""

    key: str
    label: int | None
    subject: int | None
    camera: int | None
    setup: int | None
    replication: int | None
    copy: bool


@dataclass(frozen=True, kw_only=True)
class StoredView:
    """One `.npy` member: joints (frames, bodies, V, C)."""

    member: str  # the member's extension: c2.npy is the view of camera 2
    camera: int | None
    frames: int
    bodies: int
    copy_of: str | None  # the member of the same performance that it repeats bit for bit
    origin: str
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

    def info(self, view: StoredView) -> ViewInfo:
        """What a split sees of one of the performance's views."""
        copy = view.copy_of is not None
        return ViewInfo(self.key, self.label, self.subject, view.camera, self.setup, self.replication, copy)


def write(folder: Path, entries: list[Entry]) -> None:
    """Write `index.jsonl`."""
    with (folder / FILE).open("w", encoding="utf-8", newline="\n") as file:
        for entry in entries:
            file.write(json.dumps(asdict(entry), separators=(",", ":")) + "\n")


def read(folder: Path) -> list[Entry]:
    """Read `index.jsonl`. Raises DataError where it is not one."""
    path = Path(folder) / FILE
    entries = []
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                fields = json.loads(line)
                fields["views"] = tuple(StoredView(**view) for view in fields["views"])
                entries.append(Entry(**fields))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: line {len(entries) + 1} is unreadable ({error}); pack the recordings again") from None
    return entries
