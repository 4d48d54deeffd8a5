"""Recordings into shards: prepare every performance once and write it as one WebDataset sample.

The same input gives the same bytes, however many workers prepare it and however often the work is interrupted: workers
only turn performances into tar blocks, and one process writes the blocks in the order of the keys. A shard that is
whole on the disk is not made again. The folder gets its name when all of it is there, so whatever happens on the way,
nothing half-written is ever found under the final name.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import bonestrap
from shards import index
from shards.catalogue import agree
from shards.errors import DataError
from shards.index import Entry, Table
from shards.manifest import CLASSES, FILE, Manifest, Stored, sha256, verify
from shards.packing.draft import Draft, Record, refuse_used
from shards.packing.parallel import Processes, Spread
from shards.packing.preprocess import describe, steps
from shards.packing.samples import KEY, Broken, Prepare, Sample
from shards.packing.writer import Inputs, Writer
from shards.sources.source import Source

DROPPED = "dropped.csv"  # for people to read; written where anything was dropped
SHARD_BYTES = 64 * 2**20
TOGETHER = 16  # performances that a worker is given at once

Progress = Callable[[int, int], None]  # performances done, performances in all
Notice = Callable[[str], None]  # a sentence for the user


class Old(NamedTuple):
    """The folder that is appended to."""

    manifest: Manifest
    table: Table


def pack(
    source: Source,
    output: Path,
    *,
    dtype: str = "float16",
    shard_bytes: int = SHARD_BYTES,
    broken: Broken = "stop",
    append: bool = False,
    spread: Spread | None = None,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> Manifest:
    """Write the source's performances to the folder `output`, which must not exist or be empty.

    With `append` the folder holds shards of the same kind, which stay as they are, and the new ones are put beside
    them. A shard is closed once it holds `shard_bytes`. `broken`: whether a performance that cannot be read stops the
    work or is dropped; recordings without any body are always dropped; the manifest lists all of them. `spread` says
    where performances are prepared (None: in this process). The same call resumes an interrupted one, with
    what is still true of the recordings.

    Raises DataError for recordings that cannot be packed, for keys that come twice, for a full disk, and where another
    process is packing into the same folder.
    """
    output = Path(output)
    progress, notice = progress or _silent, notice or _silent
    draft = Draft(output)
    with draft.locked():
        old = _old(output, source, dtype) if append else None
        if old is None:
            refuse_used(output)
        check_keys(source, old)
        records = _kept(draft, _plan(source, dtype, shard_bytes, broken, old), source, notice)
        before = len(old.manifest.shards) if old else 0
        writer = Writer(source, draft, records, before=before, shard_bytes=shard_bytes)
        try:
            _write(writer, Prepare(source=source, dtype=dtype, broken=broken), spread or Processes(1), progress)
        except BaseException:
            if writer.records:
                notice(
                    f"{len(writer.records)} finished shards are kept in {draft.home}: the same command resumes there"
                )
            raise
        manifest = _finish(writer, old, source, dtype)
        if old is None:
            draft.publish()
        else:
            files = [*(shard.file for shard in manifest.shards[before:]), manifest.index.file]
            draft.publish_into([*files, *([DROPPED] if manifest.dropped else []), FILE])
            (output / old.manifest.index.file).unlink()
    return manifest


def check_keys(source: Source, old: Old | None) -> None:
    """Raise DataError for keys that cannot name a sample, and for performances that come twice."""
    if len(source.classes) > CLASSES:
        raise DataError(
            f"{source.name}: {len(source.classes)} different labels, and a data set has {CLASSES} classes at most; is "
            "the column of labels the right one?"
        )
    known: set[str] = set()
    for number in range(len(source)):
        key = source.key(number)
        if not KEY.fullmatch(key):
            raise DataError(
                f"{source.name}: key {key!r} may hold only letters, digits, - and _, 80 at most; rename its files"
            )
        if key in known:
            raise DataError(f"{source.name}: performance {key} comes twice; remove one of its files")
        known.add(key)
    again = [key for key in old.table.key if key in known] if old else []
    if again:
        more = f" and {len(again) - 1} others are" if len(again) > 1 else " is"
        raise DataError(
            f"{source.name}: performance {again[0]}{more} in these shards already; leave them out, or pack everything "
            "anew to another --output"
        )


def _old(output: Path, source: Source, dtype: str) -> Old:
    manifest = Manifest.read(output)
    verify(output, manifest.index)
    wanted = _kind(source, dtype)
    for name, value in wanted.items():
        if getattr(manifest, name) != value:
            raise DataError(
                f"{output}: the {name} of these shards is not that of the new recordings; pack them to another --output"
            )
    table = index.read(output, manifest.index.file)
    agree(manifest, table, str(output / manifest.index.file))
    return Old(manifest, table)


def _kind(source: Source, dtype: str) -> dict[str, Any]:
    """What all recordings of one folder share, as the manifest says it."""
    return {
        "layout": source.layout,
        "classes": source.classes,
        "dtype": dtype,
        "rate": source.rate,
        "licence": source.licence,
        "preprocessing": tuple(describe(step) for step in steps(source.cleaning, source.layout)),
    }


def _plan(source: Source, dtype: str, shard_bytes: int, broken: Broken, old: Old | None) -> dict[str, Any]:
    """What finished shards depend on besides the recordings themselves, in the words of a message."""
    return {
        **_kind(source, dtype),
        "layout": source.layout.to_json(),
        "data set": source.name,
        "shard size": shard_bytes,
        "treatment of broken files": broken,
        "program": program_digest(),
        "folder to append to": old.manifest.digest if old else "",
    }


def _kept(draft: Draft, plan: dict[str, Any], source: Source, notice: Notice) -> list[Record]:
    """The finished shards of an interrupted attempt whose recordings are what they were."""
    records, why = draft.begin(plan)
    true = list(
        itertools.takewhile(
            lambda record: (
                record.stop <= len(source) and record.inputs == Inputs.of(source, range(record.first, record.stop))
            ),
            records,
        )
    )
    if why:
        notice(f"an interrupted attempt cannot be used: {why}")
    if len(true) < len(records):
        number = true[-1].stop if true else 0
        name = source.key(number) if number < len(source) else "the last performance"
        notice(f"recordings changed since the interrupted attempt, at {name} or later: packing again from there")
        draft.forget(len(true))
    if true:
        notice(f"resuming after {true[-1].stop} of {len(source)} performances, in {len(true)} finished shards")
    return true


def _write(writer: Writer, prepare: Prepare, spread: Spread, progress: Progress) -> None:
    total = len(prepare.source)
    progress(writer.start, total)
    parts = (range(n, min(n + TOGETHER, total)) for n in range(writer.start, total, TOGETHER))
    with closing(_flat(spread(prepare, parts))) as samples, closing(writer.write(samples)) as written:
        for done in written:
            progress(done, total)


def _flat(parts: Generator[list[Sample], None, None]) -> Generator[Sample, None, None]:
    with closing(parts):
        for part in parts:
            yield from part


def _finish(writer: Writer, old: Old | None, source: Source, dtype: str) -> Manifest:
    """Write index and manifest into the draft."""
    records, folder = writer.records, writer.draft.shards
    if not records:
        raise DataError(f"{source.name}: no recording holds a body, so there is nothing to pack; check --input")
    shards = tuple(record.shard for record in records)
    entries: Iterator[Entry] = writer.draft.entries(len(records))
    name = index.FILE
    if old:
        shards = (*old.manifest.shards, *shards)
        entries = itertools.chain(old.table, entries)
        name = f"index-{len(shards):05d}.npz"  # the old manifest and its index stay valid until the new one is there
    index.write(folder, entries, name)
    where = folder / name
    dropped = [*source.dropped, *(drop for record in records for drop in record.dropped), *writer.rest]
    manifest = Manifest(
        name=old.manifest.name if old else source.name,
        **_kind(source, dtype),
        shards=shards,
        index=Stored(file=name, bytes=where.stat().st_size, sha256=sha256(where)),
        performances=sum(shard.performances for shard in shards),
        views=sum(shard.views for shard in shards),
        frames=sum(record.frames for record in records) + (old.manifest.frames if old else 0),
        dropped=tuple(sorted([*(old.manifest.dropped if old else ()), *dropped])),
        created_by=_program(),
        coordinates=source.layout.coordinates,
        confidence=source.layout.confidence,
        unit="metre" if source.layout.coordinates == 3 else "torso",
    )
    if manifest.dropped:
        with (folder / DROPPED).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("file", "reason"), *manifest.dropped])
    manifest.write(folder)
    return manifest


def program_digest() -> str:
    """A digest of the code and the libraries that decide what packed bytes look like."""
    digest = hashlib.sha256()
    for package in (Path(__file__).parent, Path(bonestrap.__file__).parent):
        for path in sorted(package.rglob("*.py")):
            digest.update(f"{path.relative_to(package.parent)}\n".encode() + path.read_bytes())
    for library in ("numpy", "torch", "webdataset"):
        with suppress(metadata.PackageNotFoundError):
            digest.update(metadata.version(library).encode())
    return digest.hexdigest()


def _program() -> str:
    try:
        return f"bonestrap {metadata.version('bonestrap')}"
    except metadata.PackageNotFoundError:
        return "bonestrap, not installed"


def _silent(*_: object) -> None:
    return
