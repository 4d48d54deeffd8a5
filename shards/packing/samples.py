"""One performance as one WebDataset sample: prepared joints, the bytes of its tar members, its line in the index.

A sample is `<key>.json` and one `<key>.c<camera>.npy` a view (`<key>.v<n>.npy` where the camera is unknown), (T, M, V,
C) in the stored type, each at its own length.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass
from typing import Literal

import numpy as np

from shards.errors import DataError
from shards.index import Entry, StoredView
from shards.packing.losses import Loss
from shards.packing.preprocess import prepare, store
from shards.sources.source import Performance, Source

KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")  # a dot in a key would merge samples; tar holds names up to 100 characters

INT16, INT32 = 2**15 - 1, 2**31 - 1  # the largest numbers of an index's columns
VIEWS = 1000  # of a performance

Broken = Literal["stop", "drop"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A performance ready to be written. `tar` are whole tar blocks; places in the entry count from its first byte."""

    number: int  # of the performance in the source
    stamp: str
    entry: Entry | None  # None where nothing of the performance could be packed
    tar: bytes
    dropped: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Reads performances of a source and makes samples of them, in whatever process it is called."""

    source: Source
    dtype: str
    broken: Broken  # whether a performance that cannot be read stops the work, or is dropped and reported

    def __call__(self, numbers: range) -> list[Sample]:
        """Raises DataError naming what cannot be packed, unless `broken` is "drop"."""
        return [self._sample(number) for number in numbers]

    def _sample(self, number: int) -> Sample:
        stamp = self.source.stamp(number)  # before the files are read: a change in between is then found later
        try:
            performance = self.source[number]
            check(performance, self.source)
            entry, members, dropped = self._members(performance)
        except DataError as error:
            if self.broken == "stop":
                raise
            entry, members, dropped = None, {}, ((self.source.key(number), f"broken: {error}"),)
        if entry is None:
            return Sample(number=number, stamp=stamp, entry=None, tar=b"", dropped=dropped)
        data = tar(entry.key, {"json": description(entry), **members})
        return Sample(number=number, stamp=stamp, entry=located(entry, data), tar=data, dropped=dropped)

    def _members(self, performance: Performance) -> tuple[Entry | None, dict[str, bytes], tuple[tuple[str, str], ...]]:
        dropped = list(performance.dropped)
        views: list[StoredView] = []
        members: dict[str, bytes] = {}
        names: dict[bytes, str] = {}
        for number, view in enumerate(performance.views):
            losses: list[Loss] = []
            joints = prepare(view.joints, self.source.cleaning, self.source.layout, view.origin, losses)
            if not len(joints):
                dropped.append((view.origin, "no body in any frame"))
                continue
            dropped += [(view.origin, str(loss)) for loss in losses]
            name = f"c{view.camera}.npy" if view.camera is not None else f"v{number}.npy"
            if name in members:
                raise DataError(f"{view.origin}: a second recording of {performance.key} by camera {view.camera}")
            if joints.shape[1] > INT16:
                raise DataError(f"{view.origin}: {joints.shape[1]} bodies; {INT16} are the most; repair the file")
            raw = hashlib.sha256(repr(view.joints.shape).encode() + view.joints.tobytes()).digest()
            copy_of = names.setdefault(raw, name)
            members[name] = npy(store(joints, self.dtype, view.origin))
            views.append(
                StoredView(
                    member=name,
                    camera=view.camera,
                    frames=joints.shape[0],
                    bodies=joints.shape[1],
                    copy_of=None if copy_of == name else copy_of,
                    origin=view.origin,
                    splits=view.splits,
                )
            )
        if not views:
            return None, {}, tuple(dropped)
        entry = Entry(
            key=performance.key,
            label=performance.label,
            subject=performance.subject,
            setup=performance.setup,
            replication=performance.replication,
            views=tuple(views),
        )
        return entry, members, tuple(dropped)


def check(performance: Performance, source: Source) -> None:
    """Raise DataError where the key cannot name a sample, the label is none of the source's classes, or a number is
    larger than an index holds.
    """
    origin = performance.views[0].origin if performance.views else performance.key
    if not KEY.fullmatch(performance.key):
        raise DataError(f"{origin}: key {performance.key!r} may hold only letters, digits, - and _; rename the file")
    if performance.label is not None and not 0 <= performance.label < len(source.classes):
        raise DataError(
            f"{origin}: label {performance.label} is out of range for the {len(source.classes)} classes of "
            f"{source.name}; correct or remove the file"
        )
    numbers = [(name, getattr(performance, name), INT32) for name in ("subject", "setup", "replication")]
    for name, number, most in [*numbers, *(("camera", view.camera, INT16) for view in performance.views)]:
        if number is not None and not 0 <= number <= most:
            raise DataError(f"{origin}: {name} {number!s:.20} is not 0 to {most}; number them from 1, or name them")
    if len(performance.views) > VIEWS:
        raise DataError(f"{origin}: {len(performance.views)} views of one performance; {VIEWS} are the most")


def tar(key: str, members: dict[str, bytes]) -> bytes:
    """The members of one sample as webdataset's writer writes them, without the blocks that end an archive."""
    try:
        from webdataset import TarWriter  # packing needs it, training does not
    except ModuleNotFoundError:
        raise DataError(
            "packing needs the webdataset package, which is not installed; pip install webdataset"
        ) from None
    buffer = io.BytesIO()
    with TarWriter(buffer, encoder=False, mtime=0) as writer:
        writer.write({"__key__": key, **members})
        end = writer.tarstream.offset
    return buffer.getvalue()[:end]


def located(entry: Entry, data: bytes) -> Entry:
    """The entry with the places of its members in `data`, found by reading the tar."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        places = {member.name: (member.offset_data, member.size) for member in archive}
    views = []
    for view in entry.views:
        offset, size = places[f"{entry.key}.{view.member}"]
        views.append(dataclasses.replace(view, offset=offset, bytes=size))
    return dataclasses.replace(entry, views=tuple(views))


def description(entry: Entry) -> bytes:
    """What other clients read: the entry without the places, as JSON.

    Types are the same in all samples, because Hugging Face's reader takes them from the first few: unknown is -1 or "".
    """
    fields = {**vars(entry), "views": [dict(vars(view)) for view in entry.views]}
    del fields["shard"]
    for view in fields["views"]:
        del view["offset"], view["bytes"]
        view["copy_of"] = view["copy_of"] or ""
        view["splits"] = " ".join(view["splits"])
    for part in (fields, *fields["views"]):
        part.update({name: -1 for name, value in part.items() if value is None})
    return json.dumps(fields, separators=(",", ":")).encode()


def npy(joints: np.ndarray) -> bytes:
    """The bytes of a version 1.0 `.npy` file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, joints, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()
