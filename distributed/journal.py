"""What a run measured, on disk: the truth that everything else is filled from."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bonestrap.files import opened, parse_json

JOURNAL = "journal.jsonl"


class Journal:
    """`RUN/journal.jsonl`: one JSON object a line, {"step": steps done, "time": Unix seconds, metric: value, ...}.

    Opening it drops what a resumed run will do again: lines of more than `done` steps (all lines if `done` is 0), and
    a last line that a kill has torn.
    """

    def __init__(self, run: Path, *, done: int) -> None:
        self.path = run / JOURNAL
        run.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read(run) if done and line.get("step", 0) <= done and "status" not in line]
        aside = self.path.with_suffix(".writing")
        aside.write_text("".join(json.dumps(line) + "\n" for line in kept))
        aside.replace(self.path)
        self.file = self.path.open("a")
        self.step = done  # of the newest line

    def write(self, step: int, values: Mapping[str, float | str]) -> None:
        """Append a line; it survives a kill at once and a power cut after `flush`. NaN and infinity are left out."""
        self.step = step
        finite = {key: value for key, value in values.items() if isinstance(value, str) or math.isfinite(value)}
        self.file.write(json.dumps({"step": step, "time": time.time(), **finite}) + "\n")
        self.file.flush()

    def flush(self) -> None:
        os.fsync(self.file.fileno())

    def close(self) -> None:
        self.flush()
        self.file.close()


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
