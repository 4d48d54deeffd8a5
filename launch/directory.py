"""The run directory: whose it is, where it comes from, and that a start that fails leaves no empty folders behind."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from distributed.record import Record
from launch.cli import UserError
from shards import redaction
from shards.remote import is_address

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def prepared(run: Path, record: Record, checkpoints: str | None) -> Iterator[None]:
    """`run` as a folder in which `record` may be written, by whoever holds its lease.

    Nothing is written here. Folders that this start has made and that are still empty at its end are removed: files
    never are, so there is nothing to lose where a start fails, whoever else works there by then. UserError where the
    directory is another run's or cannot be written to.
    """
    try:
        record.check(run)
    except ValueError as error:
        raise UserError(str(error)) from None
    used = [run / "checkpoints", *([] if checkpoints is None or is_address(checkpoints) else [Path(checkpoints)])]
    absent = {folder for each in used for folder in (each, *each.parents) if not folder.exists()}
    try:
        run.mkdir(parents=True, exist_ok=True)
        if not os.access(run, os.W_OK | os.X_OK):
            raise UserError(f"{run} cannot be written to; choose another --run, or change its permissions")
        yield
    finally:
        for folder in sorted(absent, key=lambda each: len(each.parts), reverse=True):
            with suppress(OSError):
                folder.rmdir()


def claim(run: Path, record: Record) -> None:
    """Make `run` the directory of this record, or find that it already is. UserError where it is another's."""
    try:
        record.check(run)
        record.write(run)
    except ValueError as error:
        raise UserError(str(error)) from None


def provenance() -> dict[str, Any]:
    """What a reader needs to get the result again: command, commit, versions and hardware."""
    import torch

    git = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(
        ["git", "-C", str(ROOT), "status", "--porcelain", "-uno"], capture_output=True, check=False
    )
    return {
        "command": redaction.command(["python", os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]]),
        "commit": git.stdout.strip() + ("+changes" if changed.stdout else "") if git.returncode == 0 else "unknown",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "hardware": hardware(),
    }


def hardware() -> str:
    """What trains here, in words."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{os.cpu_count()} CPU cores, {name}"
