"""What a run measured, on disk: the truth that everything else is filled from."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bonestrap.files import opened, parse_json, write_atomically
from shards.errors import reason

JOURNAL = "journal.jsonl"


class Journal:
    """`RUN/journal.jsonl`: one JSON object a line, {"step": steps done, "time": Unix seconds, metric: value, ...}.

    Opening it drops what a resumed run will do again: lines of more than `done` steps (all lines if `done` is 0), and
    a last line that a kill has torn.

    Lines that a full disk does not take wait in memory, in order, and are tried again with the next: `say` is told once
    of each outage. `beside` gives what each line of figures has as well. Raises JournalGone where the file has been
    removed or replaced: it would be written for nobody.
    """

    def __init__(
        self,
        run: Path,
        *,
        done: int,
        say: Callable[[str], object] = lambda text: None,
        beside: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self.path, self.say, self.beside = run / JOURNAL, say, beside
        run.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read(run) if done and line.get("step", 0) <= done and "status" not in line]
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        self.file = self.path.open("ab", buffering=0)
        self.waiting = b""  # what the disk has not taken yet
        self.unsaved = ""  # what to say of it
        self.step = done  # of the newest line

    def write(self, step: int, values: Mapping[str, float | str]) -> None:
        """Append a line; it survives a kill at once and a power cut after `flush`. NaN and infinity are left out."""
        self.step = step
        if "status" not in values:
            values = {**self.beside(), **values}
        finite = {key: value for key, value in values.items() if isinstance(value, str) or math.isfinite(value)}
        self.waiting += json.dumps({"step": step, "time": time.time(), **finite}).encode() + b"\n"
        self.check()
        self.attempt(self.drain)

    def drain(self) -> None:
        while self.waiting:  # a disk that becomes full takes a part: the rest follows it, so no line is torn
            self.waiting = self.waiting[self.file.write(self.waiting) :]

    def check(self) -> None:
        """Raises JournalGone unless the file that is open here is the run's journal."""
        try:
            there = self.path.stat()
        except FileNotFoundError:
            raise JournalGone(f"{self.path} has been removed while its run was training: this job stops.") from None
        except OSError:  # whether it is there cannot be said now
            return
        if not os.path.samestat(there, os.fstat(self.file.fileno())):
            raise JournalGone(f"{self.path} has been replaced, as by another job of the run: this job stops.")

    def attempt(self, act: Callable[[], object]) -> None:
        """Do what a disk may refuse, and tell of the beginning and the end of its refusing."""
        try:
            act()
        except OSError as error:
            if not self.unsaved:
                self.say(
                    f"{self.path} cannot be written ({reason(error)}); training continues, and its lines wait in "
                    "memory."
                )
            self.unsaved = f"{self.path} could not be written to its end ({reason(error)})"
        else:
            if self.unsaved:
                self.say(f"{self.path} is written again: nothing is missing.")
            self.unsaved = ""

    def flush(self) -> None:
        self.attempt(self.sync)

    def sync(self) -> None:
        self.drain()
        os.fsync(self.file.fileno())

    def close(self, status: str = "") -> None:
        """Write how the run has ended, if the journal is still there."""
        with suppress(JournalGone):
            if status:
                self.write(self.step, {"status": status})
        self.flush()
        with suppress(OSError):
            self.file.close()


class JournalGone(OSError):
    """The journal has been removed or replaced while its run was training: the run ends here."""


def read(run: Path) -> Iterator[dict[str, Any]]:
    """The journal's lines, oldest first; a line that is torn, or not of a journal, is passed over."""
    path = run / JOURNAL
    if not path.exists():
        return
    with opened(path) as file:
        yield from filter(None, map(parse, file))


def parse(line: bytes) -> dict[str, Any] | None:
    """A line of a journal; None where it is torn, or none that a journal writes."""
    try:
        found = parse_json(line)
    except ValueError:
        return None
    if not isinstance(found, dict) or type(found.get("step")) is not int or type(found.get("time")) not in (int, float):
        return None
    return {key: value for key, value in found.items() if isinstance(value, str | int | float)}


def latest(run: Path) -> dict[str, float]:
    """The newest value of every metric in a run's journal."""
    values: dict[str, float] = {}
    for line in read(run):
        values.update(metrics(line))
    return values


def metrics(line: Mapping[str, Any]) -> dict[str, float]:
    """The measured values of a journal line."""
    return {key: value for key, value in line.items() if key not in ("step", "time") and not isinstance(value, str)}


def spent(run: Path) -> float:
    """The device-seconds that a run's journal has seen, those of steps that a kill has undone included."""
    return 3600 * max((line.get("device_hours", 0.0) for line in read(run)), default=0.0)


def add(run: Path, values: Mapping[str, float | str]) -> None:
    """Append what was measured after training, such as a test accuracy, to a run's journal; `replay` sends it."""
    lines = list(read(run))
    with (run / JOURNAL).open("a") as file:
        step = lines[-1]["step"] if lines else 0
        file.write(json.dumps({"step": step, "time": time.time(), **values}) + "\n")
