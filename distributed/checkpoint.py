"""The checkpoint store: written aside, hashed, committed, and found again by scanning.

A checkpoint is a directory `step-00001200` with the state and a manifest of its files' SHA-256. It is written under
another name, flushed to the disk, renamed, and then marked as committed with the manifest's own hash. So whatever kills
a run, and wherever, the directory that bears the mark is whole, and anything else is passed over for the one before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

STATE, MANIFEST, MARK = "state.pt", "manifest.json", "committed"


class State(NamedTuple):
    """All that a run needs to go on: every schedule and every random draw is a function of the step."""

    step: int  # optimizer steps done
    seconds: float  # device-seconds spent, probes not counted
    method: dict[str, Any]
    optimizer: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run. One process writes; any may read. `warn` is told of each damaged one by file."""

    def __init__(self, folder: Path, *, keep: int, warn: Callable[[str], None]) -> None:
        self.folder, self.keep, self.warn = folder, keep, warn

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """The steps that have a directory, whole or not, oldest first."""
        names = (path.name.removeprefix("step-") for path in self.folder.glob("step-*"))
        return sorted(int(name) for name in names if name.isdigit())

    def save(self, state: State) -> Path:
        """Write a checkpoint, then remove all but the newest `keep`.

        Newer ones than this belong to a course that the run has left (they were damaged) and are removed too. Raises
        OSError if the disk is full; the checkpoints already there stay.
        """
        target, aside = self.path(state.step), self.folder / f".writing-{state.step:08d}"
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            torch.save(state._asdict(), aside / STATE)
            manifest = json.dumps({"step": state.step, "files": {STATE: digest(aside / STATE)}}, indent=1)
            (aside / MANIFEST).write_text(manifest)
            for path in (aside / STATE, aside / MANIFEST, aside):
                flush(path)
            shutil.rmtree(target, ignore_errors=True)
            aside.rename(target)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        (target / MARK).write_text(digest(target / MANIFEST))
        for path in (target / MARK, target, self.folder):
            flush(path)
        steps = self.steps()
        for step in steps[: max(0, steps.index(state.step) + 1 - self.keep)] + steps[steps.index(state.step) + 1 :]:
            shutil.rmtree(self.path(step), ignore_errors=True)
        return target

    def newest(self) -> int | None:
        """The step of the newest whole checkpoint, or None."""
        for step in reversed(self.steps()):
            fault = self.fault(step)
            if fault is None:
                return step
            self.warn(f"Passing over a damaged checkpoint: {fault}.")
        return None

    def fault(self, step: int) -> str | None:
        """What is wrong with a checkpoint, naming the file, or None if every byte is as written."""
        folder = self.path(step)
        for name in (MARK, MANIFEST):
            if not (folder / name).is_file():
                return f"{folder / name} is missing"
        if digest(folder / MANIFEST).encode() != (folder / MARK).read_bytes():
            return f"{folder / MANIFEST} is not what was committed"
        for name, expected in json.loads((folder / MANIFEST).read_text())["files"].items():
            if not (folder / name).is_file():
                return f"{folder / name} is missing"
            if digest(folder / name) != expected:
                return f"{folder / name} is not what was committed"
        return None

    def load(self, step: int, device: torch.device) -> State:
        """Read a checkpoint that `newest` has found whole; tensors arrive on `device`."""
        return State(**torch.load(self.path(step) / STATE, map_location=device, weights_only=True))


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Make a file's bytes, or a folder's names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
