"""Unfinished shards, beside the folder that they will become: what an interrupted pack leaves and the next one uses.

Beside `NAME` stands `.NAME.partial/` while a pack is at work::

    lock       held by the one process that works here
    plan.json  what the finished shards depend on besides the recordings
    records/   one file a finished shard, written when the shard is on the disk: a line about it, a line a performance
    shards/    the shards; renamed to `NAME` as a whole once everything in it is on the disk
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bonestrap.files import flush, parse_json, read_json, write_atomically
from shards.errors import DataError
from shards.index import Entry, StoredView
from shards.manifest import Shard, verify

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One finished shard: it holds the source's performances from `first` up to and without `stop`."""

    first: int
    stop: int
    inputs: str  # a digest of their keys and stamps
    shard: Shard
    frames: int
    dropped: tuple[tuple[str, str], ...]


class Draft:
    """The folder `.NAME.partial` beside `NAME`. Only the process inside `locked` may use it."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.home = output.parent / f".{output.name}.partial"
        self.shards = self.home / "shards"
        self.records = self.home / "records"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the draft. Raises DataError if another process does, or if the disk is full.

        What was finished stays for the next attempt; a draft without anything finished is removed.
        """
        self.output.parent.mkdir(parents=True, exist_ok=True)
        lock = self._lock()
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise DataError(
                f"{self.output}: the disk is full ({error.strerror}); make room and start the same command again, "
                "which resumes after the last finished shard"
            ) from None
        finally:
            self._tidy()
            os.close(lock)

    def begin(self, plan: dict[str, Any]) -> tuple[list[Record], str]:
        """The finished shards that an earlier attempt left and this plan can use, and what became of the others.

        Every kept shard was hashed. Everything else in the draft is removed.
        """
        plan = json.loads(json.dumps(plan))
        was = self._plan()
        changed = sorted(name for name in plan.keys() | was.keys() if plan.get(name) != was.get(name))
        records = [] if changed else self._intact()
        why = f"its {', '.join(changed)} changed" if changed and was else ""
        self.shards.mkdir(exist_ok=True)
        self.records.mkdir(exist_ok=True)
        self.forget(len(records))
        if changed:
            write_atomically(self.home / "plan.json", json.dumps(plan) + "\n")
        return records, why

    def forget(self, count: int) -> None:
        """Remove everything but the first `count` finished shards."""
        kept = {self._record(number).name for number in range(count)}
        tars = {self._read(number).shard.file for number in range(count)}
        for path in [*self.records.iterdir(), *self.shards.iterdir()]:
            if path.name not in (kept if path.parent == self.records else tars):
                path.unlink()

    def finish(self, number: int, record: Record, entries: Iterable[Entry]) -> None:
        """Note that shard `number` of this draft is on the disk: from here on it survives."""
        lines = (json.dumps(line, default=vars, separators=(",", ":")) for line in (record, *entries))
        write_atomically(self._record(number), "\n".join(lines) + "\n")

    def entries(self, count: int) -> Iterator[Entry]:
        """The performances of the first `count` finished shards, one at a time."""
        for number in range(count):
            with self._record(number).open(encoding="utf-8") as file:
                next(file)
                for line in file:
                    try:
                        fields = parse_json(line)
                        fields["views"] = tuple(StoredView(**view) for view in fields["views"])
                        entry = Entry(**fields)
                    except (ValueError, KeyError, TypeError) as error:
                        raise DataError(
                            f"{file.name}: damaged ({error!s:.300}); remove {self.home} and start the command again"
                        ) from None
                    yield entry

    def publish(self) -> None:
        """Give the whole folder its name: in one step."""
        flush_all(self.shards)
        refuse_used(self.output)
        self.shards.rename(self.output)  # replaces an empty folder, and no other
        flush(self.output.parent)
        shutil.rmtree(self.records)

    def publish_into(self, order: Iterable[str]) -> None:
        """Move files into the folder that is already there, in this order; the last one makes the others count."""
        flush_all(self.shards)
        for name in order:
            os.replace(self.shards / name, self.output / name)
        flush(self.output)
        shutil.rmtree(self.records)

    def _lock(self) -> int:
        while True:
            self.home.mkdir(exist_ok=True)
            try:
                handle = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:  # the draft was finished and removed between the two lines
                continue
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                owner = os.read(handle, 200).decode(errors="replace")
                os.close(handle)
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise DataError(
                        f"{self.home}: this file system has no locks ({error.strerror}); pack to another one and copy"
                    ) from None
                raise DataError(
                    f"{self.output}: {owner or 'another process'} is packing into this folder; wait for it or choose "
                    "another --output"
                ) from None
            with suppress(FileNotFoundError):
                if os.fstat(handle).st_ino == (self.home / "lock").stat().st_ino:
                    os.ftruncate(handle, 0)
                    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
                    return handle
            os.close(handle)  # the lock of a draft that is no more

    def _tidy(self) -> None:
        """Remove the draft unless it holds finished shards."""
        if not self.records.is_dir() or not any(self.records.glob("*.jsonl")):
            for path in (self.shards, self.records):
                shutil.rmtree(path, ignore_errors=True)
            for name in ("plan.json", "lock"):  # the lock last: whoever waits for it finds that it is gone
                (self.home / name).unlink(missing_ok=True)
            with suppress(OSError):
                self.home.rmdir()

    def _plan(self) -> dict[str, Any]:
        try:
            plan = read_json(self.home / "plan.json")
            return plan if isinstance(plan, dict) else {}
        except (OSError, ValueError):
            return {}

    def _intact(self) -> list[Record]:
        """The finished shards up to the first that is missing or damaged."""
        records: list[Record] = []
        with suppress(DataError, OSError, ValueError, KeyError, TypeError):
            while True:
                record = self._read(len(records))
                verify(self.shards, record.shard)
                records.append(record)
        return records

    def _read(self, number: int) -> Record:
        with self._record(number).open(encoding="utf-8") as file:
            fields = parse_json(file.readline())
        fields["shard"] = Shard(**fields["shard"])
        fields["dropped"] = tuple((file, reason) for file, reason in fields["dropped"])
        return Record(**fields)

    def _record(self, number: int) -> Path:
        return self.records / f"{number:05d}.jsonl"


def refuse_used(output: Path) -> None:
    """Raise DataError where `output` holds anything."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{output} is already there and not empty; choose another --output or remove it first")


def flush_all(folder: Path) -> None:
    """Bring every file and the folder itself to the disk."""
    for path in folder.iterdir():
        flush(path)
    flush(folder)
