"""Recordings into shards: prepare every performance once and write it as one WebDataset sample.

A sample is `<key>.json` and one `<key>.c<camera>.npy` a view, (T, M, V, C) in the stored type, each at its own length.
The same input gives the same bytes. The folder is built beside its final name and renamed when whole, so whatever
happens on the way, nothing half-written is ever found under the final name.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np

from shards import index
from shards.errors import DataError
from shards.index import Entry, StoredView
from shards.manifest import Manifest, Shard, Stored, sha256
from shards.preprocess import describe, prepare, steps, store
from shards.sources.source import Performance, Source

KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")  # a dot in a key would merge samples; tar holds names up to 100 characters
SHARD_BYTES = 64 * 2**20

Progress = Callable[[int, int], None]  # performances done, performances in all


def pack(
    source: Source,
    output: Path,
    *,
    dtype: str = "float16",
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> Manifest:
    """Write the source's performances to the folder `output`, which must not exist or be empty.

    A shard is closed once it holds `shard_bytes`. Raises DataError for recordings that cannot be packed; recordings
    without any body are dropped and listed in the manifest.
    """
    output = Path(output)
    refuse_used(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{output.name}.partial-", dir=output.parent))
    try:
        manifest = _write(source, draft, dtype, shard_bytes, progress)
        manifest.write(draft)
        _settle(draft)
        draft.rename(output)  # replaces an empty folder
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return manifest


def refuse_used(output: Path) -> None:
    """Raise DataError where `output` holds anything."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{output} is already there and not empty; choose another --output or remove it first")


def _write(source: Source, folder: Path, dtype: str, shard_bytes: int, progress: Progress | None) -> Manifest:
    dropped: list[tuple[str, str]] = []
    packed = _samples(source, dtype, dropped, progress)
    shards: list[Shard] = []
    entries: list[Entry] = []
    for number, shard_entries in enumerate(_shards(packed, folder, shard_bytes)):
        path = folder / _shard_name(number)
        entries += _located(path, number, shard_entries)
        shards.append(
            Shard(
                file=path.name,
                bytes=path.stat().st_size,
                sha256=sha256(path),
                performances=len(shard_entries),
                views=sum(len(entry.views) for entry in shard_entries),
            )
        )
    if not entries:
        raise DataError(f"{source.name}: no recording holds a body, so there is nothing to pack; check --input")
    index.write(folder, entries)
    where = folder / index.FILE
    return Manifest(
        name=source.name,
        layout=source.layout,
        classes=source.classes,
        dtype=dtype,
        preprocessing=tuple(describe(step) for step in steps(source.cleaning, source.layout)),
        shards=tuple(shards),
        index=Stored(file=where.name, bytes=where.stat().st_size, sha256=sha256(where)),
        performances=len(entries),
        views=sum(len(entry.views) for entry in entries),
        frames=sum(view.frames for entry in entries for view in entry.views),
        dropped=tuple(sorted([*source.dropped, *dropped])),
        created_by=_program(),
    )


def _samples(
    source: Source, dtype: str, dropped: list[tuple[str, str]], progress: Progress | None
) -> Iterator[tuple[Entry, dict[str, bytes]]]:
    """Each performance as its index entry, without places yet, and its members' bytes by extension."""
    keys: set[str] = set()
    for done, performance in enumerate(source, 1):
        _check(performance, source, keys)
        dropped += performance.dropped
        views: list[StoredView] = []
        members: dict[str, bytes] = {}
        names: dict[bytes, str] = {}
        for number, view in enumerate(performance.views):
            joints = prepare(view.joints, source.cleaning, source.layout, view.origin)
            if not len(joints):
                dropped.append((view.origin, "no body in any frame"))
                continue
            name = f"c{view.camera}.npy" if view.camera is not None else f"v{number}.npy"
            if name in members:
                raise DataError(f"{view.origin}: a second recording of {performance.key} by camera {view.camera}")
            raw = repr(view.joints.shape).encode() + view.joints.tobytes()
            copy_of = names.setdefault(raw, name)
            members[name] = _npy(store(joints, dtype, view.origin))
            views.append(
                StoredView(
                    member=name,
                    camera=view.camera,
                    frames=joints.shape[0],
                    bodies=joints.shape[1],
                    copy_of=None if copy_of == name else copy_of,
                    origin=view.origin,
                )
            )
        if views:
            entry = Entry(
                key=performance.key,
                label=performance.label,
                subject=performance.subject,
                setup=performance.setup,
                replication=performance.replication,
                views=tuple(views),
            )
            yield entry, {"json": _json(entry), **members}
        if progress and done < len(source):
            progress(done, len(source))
    if progress:
        progress(len(source), len(source))


def _check(performance: Performance, source: Source, keys: set[str]) -> None:
    origin = performance.views[0].origin if performance.views else performance.key
    if not KEY.fullmatch(performance.key):
        raise DataError(f"{origin}: key {performance.key!r} may hold only letters, digits, - and _; rename the file")
    if performance.key in keys:
        raise DataError(f"{origin}: performance {performance.key} comes twice; remove one of its files")
    keys.add(performance.key)
    if performance.label is not None and not 0 <= performance.label < len(source.classes):
        raise DataError(
            f"{origin}: label {performance.label} is out of range for the {len(source.classes)} classes of "
            f"{source.name}; correct or remove the file"
        )


def _shards(samples: Iterator[tuple[Entry, dict[str, bytes]]], folder: Path, shard_bytes: int) -> Iterator[list[Entry]]:
    """Write tar after tar and yield each one's entries once it is closed."""
    try:
        from webdataset import TarWriter  # packing needs it, training does not
    except ModuleNotFoundError:
        raise DataError(
            "packing needs the webdataset package, which is not installed; pip install webdataset"
        ) from None

    for number, (entry, members) in enumerate(samples):
        with (folder / _shard_name(number)).open("wb") as file, TarWriter(file, encoder=False, mtime=0) as writer:
            entries = [entry]
            written = writer.write({"__key__": entry.key, **members})
            while written < shard_bytes and (sample := next(samples, None)) is not None:
                entries.append(sample[0])
                written += writer.write({"__key__": sample[0].key, **sample[1]})
        yield entries


def _located(path: Path, number: int, entries: list[Entry]) -> Iterator[Entry]:
    """The entries with the places of their members, found by reading the finished tar."""
    with tarfile.open(path) as tar:
        places = {member.name: (member.offset_data, member.size) for member in tar}
    for entry in entries:
        views = []
        for view in entry.views:
            offset, size = places[f"{entry.key}.{view.member}"]
            views.append(dataclasses.replace(view, offset=offset, bytes=size))
        yield dataclasses.replace(entry, views=tuple(views), shard=number)


def _json(entry: Entry) -> bytes:
    """What other clients read: the entry without the places.

    Types are the same in all samples, because Hugging Face's reader takes them from the first few: unknown is -1 or "".
    """
    fields = dataclasses.asdict(entry)
    del fields["shard"]
    for view in fields["views"]:
        del view["offset"], view["bytes"]
        view["copy_of"] = view["copy_of"] or ""
    for part in (fields, *fields["views"]):
        part.update({name: -1 for name, value in part.items() if value is None})
    return json.dumps(fields, separators=(",", ":")).encode()


def _npy(joints: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, joints, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _shard_name(number: int) -> str:
    return f"shard-{number:05d}.tar"


def _settle(folder: Path) -> None:
    """Bring every file and the folder itself to the disk, readable for everyone, before the name is given."""
    folder.chmod(0o755)
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _program() -> str:
    try:
        return f"bonestrap {metadata.version('bonestrap')}"
    except metadata.PackageNotFoundError:
        return "bonestrap, not installed"
