"""The run directory: whose it is, where it comes from, and that a start that fails leaves nothing behind."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bonestrap.files import read_object
from launch.cli import UserError

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def claimed(run: Path, result: dict[str, Any], info: dict[str, Any]) -> Iterator[None]:
    """Hold `run` as the directory of `result`.

    Where a mistake of the user's shows inside before the first checkpoint, a new directory is removed again: it would
    only be in the way of the next attempt.
    """
    new = claim(run, result, info)
    try:
        yield
    except ValueError:
        if new and not any((run / "checkpoints").glob("*")):
            shutil.rmtree(run)
        raise


def claim(run: Path, result: dict[str, Any], info: dict[str, Any]) -> bool:
    """Make `run` the directory of this result, or find that it already is.

    `result` is all that shapes the result; `info` is written beside it. Returns whether the directory is new. Raises
    UserError where it belongs to another result or holds something else.
    """
    file = run / "run.json"
    text = json.loads(json.dumps(result, default=str))
    if file.exists():
        try:
            there = read_object(file)["result"]
        except (ValueError, KeyError) as error:
            raise UserError(f"{file} is damaged ({error}); choose another --run") from None
        if there != text:
            what = ", ".join(sorted(_differences(there, text)))
            raise UserError(
                f"{run} holds a run with other settings ({what}); repeat its command or choose another --run"
            )
        return False
    if run.exists() and any(run.iterdir()):
        raise UserError(f"{run} is not empty and holds no run; choose another --run")
    run.mkdir(parents=True, exist_ok=True)
    aside = run / "run.json.partial"
    aside.write_text(json.dumps({"result": text, "info": info}, indent=2, default=str) + "\n")
    os.replace(aside, file)
    return True


def _differences(a: Any, b: Any, path: str = "") -> set[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        keys = set(a) | set(b)
        return set().union(*(_differences(a.get(k), b.get(k), f"{path}.{k}".lstrip(".")) for k in keys))
    return set() if a == b else {path}


def provenance() -> dict[str, Any]:
    """What a reader needs to get the result again: command, commit, versions and hardware."""
    git = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(
        ["git", "-C", str(ROOT), "status", "--porcelain", "-uno"], capture_output=True, check=False
    )
    return {
        "command": " ".join(["python", os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]]),
        "commit": git.stdout.strip() + ("+changes" if changed.stdout else "") if git.returncode == 0 else "unknown",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "hardware": hardware(),
    }


def hardware() -> str:
    """What trains here, in words."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{os.cpu_count()} CPU cores, {name}"
