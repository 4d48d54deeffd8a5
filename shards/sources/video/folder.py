"""A folder of videos: which files are tried, what is known of them, and the clips that they are cut into."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from shards.errors import DataError
from shards.sources.recorded import matched
from shards.sources.source import listed
from shards.sources.table import Table
from shards.sources.video.extraction import Found
from shards.sources.video.frames import ENDINGS, PICTURES

ROWS = ("labels", "subjects", "cameras", "setups", "replications", "splits")


def videos(root: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """The files below a folder that may be videos, and the others with the reason why they are not tried.

    Files and folders whose names begin with a dot are passed over. DataError where there is no video.
    """
    paths = [path for path in root.rglob("*") if not path.is_dir() or path.is_symlink()]
    plain = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(root).parts)]
    names, others = [], []
    for path in listed(plain):
        name, ending = path.relative_to(root).as_posix(), path.suffix.lower()
        if ending in ENDINGS:
            names.append(name)
        else:
            others.append((name, "a still image, not a video" if ending in PICTURES else f"no video: {ending or name}"))
    if not names:
        raise DataError(f"{root}: no videos below it ({', '.join(sorted(ENDINGS))}); give their folder as --input")
    return names, others


def clip_names(found: Found) -> dict[str, Path]:
    """The name and the file of each clip: a video that is one clip has its own, others are NAME/00000 and so on."""
    if len(found.clips) == 1:
        return {found.name: found.paths[0]}
    return {f"{found.name}/{number:05d}": path for number, path in enumerate(found.paths)}


def of_clips(table: Table, clips: Mapping[str, Sequence[str]]) -> Table:
    """A table of videos as one of the clips of each, so that all clips of a video are in one part of a split.

    Videos without clips were left out. DataError where the table names others than `clips` does.
    """
    pairs = zip(matched(table.files, list(clips)), range(len(table.files)), strict=True)
    rows = [(row, number, clip) for name, row in pairs for number, clip in enumerate(clips[name])]
    columns = {column: tuple(getattr(table, column)[row] for row, _, _ in rows) for column in ROWS}
    whole = {name for names in clips.values() if len(names) == 1 for name in names}
    return dataclasses.replace(
        table,
        files=tuple(clip for _, _, clip in rows),
        performances=tuple(
            table.performances[row] if clip in whole else f"{table.performances[row]}/{number:05d}"
            for row, number, clip in rows
        ),
        **columns,
    )
