"""Samples into tar files, one after the other, each noted as finished once it is whole on the disk."""

from __future__ import annotations

import dataclasses
import hashlib
import tarfile
from collections.abc import Generator, Iterator
from pathlib import Path

from bonestrap.files import Unfinished
from shards.index import Entry
from shards.manifest import Shard
from shards.packing.draft import Draft, Record
from shards.packing.samples import Sample
from shards.sources.source import Source

Dropped = tuple[tuple[str, str], ...]


class Inputs:
    """A digest of what the source says about consecutive performances without reading them."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, key: str, stamp: str) -> None:
        self._hash.update(f"{key} {stamp}\n".encode())

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    @staticmethod
    def of(source: Source, numbers: range) -> str:
        """The digest as it is now."""
        inputs = Inputs()
        for number in numbers:
            inputs.add(source.key(number), source.stamp(number))
        return inputs.digest


class Growing:
    """One shard while it is written, beside its name."""

    def __init__(self, path: Path, position: int, first: int) -> None:
        self.path = path
        self.position = position  # in the manifest's list
        self.first = self.stop = first
        self.file = Unfinished(path)
        self.size = 0
        self.hash = hashlib.sha256()
        self.inputs = Inputs()
        self.entries: list[Entry] = []
        self.dropped: list[tuple[str, str]] = []

    def add(self, sample: Sample, key: str) -> None:
        """Put a sample behind the others; one that holds nothing is only noted."""
        self.inputs.add(key, sample.stamp)
        self.dropped += sample.dropped
        self.stop = sample.number + 1
        if sample.entry is not None:
            views = tuple(dataclasses.replace(v, offset=v.offset + self.size) for v in sample.entry.views)
            self.entries.append(dataclasses.replace(sample.entry, views=views, shard=self.position))
            self._write(sample.tar)

    def close(self) -> Record:
        """End the archive as tarfile does, bring it to the disk and give it its name."""
        end = self.size + 2 * tarfile.BLOCKSIZE
        self._write(bytes(2 * tarfile.BLOCKSIZE + -end % tarfile.RECORDSIZE))
        self.file.commit()
        views = [view for entry in self.entries for view in entry.views]
        return Record(
            first=self.first,
            stop=self.stop,
            inputs=self.inputs.digest,
            shard=Shard(
                file=self.path.name,
                bytes=self.size,
                sha256=self.hash.hexdigest(),
                performances=len(self.entries),
                views=len(views),
            ),
            frames=sum(view.frames for view in views),
            dropped=tuple(self.dropped),
        )

    def discard(self) -> None:
        """Leave nothing of an unfinished shard."""
        self.file.discard()

    def _write(self, data: bytes) -> None:
        self.file.file.write(data)
        self.hash.update(data)
        self.size += len(data)


class Writer:
    """Writes the samples of a source into the shards of a draft, behind those that are finished."""

    def __init__(self, source: Source, draft: Draft, records: list[Record], *, before: int, shard_bytes: int) -> None:
        self.source, self.draft = source, draft
        self.records = list(records)  # of finished shards, the new ones included
        self.before = before  # shards that the folder holds already
        self.shard_bytes = shard_bytes
        self.rest: Dropped = ()  # what was dropped behind the last shard

    @property
    def start(self) -> int:
        """The first performance that is not in a finished shard."""
        return self.records[-1].stop if self.records else 0

    def write(self, samples: Iterator[Sample]) -> Generator[int, None, None]:
        """Write the samples of the performances from `start` on; yield how many performances are done.

        A shard is closed by the first sample that finds it full, so what holds nothing counts to the shard before.
        """
        growing = self._next()
        try:
            for sample in samples:
                if sample.entry is not None and growing.size >= self.shard_bytes:
                    self._finish(growing)
                    growing = self._next()
                growing.add(sample, self.source.key(sample.number))
                yield sample.number + 1
            if growing.entries:
                self._finish(growing)
            else:
                self.rest = tuple(growing.dropped)
        finally:
            growing.discard()

    def _next(self) -> Growing:
        position = self.before + len(self.records)
        return Growing(self.draft.shards / f"shard-{position:05d}.tar", position, self.start)

    def _finish(self, growing: Growing) -> None:
        record = growing.close()
        self.draft.finish(len(self.records), record, growing.entries)
        self.records.append(record)
