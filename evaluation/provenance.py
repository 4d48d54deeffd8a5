"""Where a result comes from: command, commit, versions and hardware."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from shards.storage import redaction

ROOT = Path(__file__).resolve().parents[1]


def provenance() -> dict[str, Any]:
    """What a reader needs to reproduce a result."""
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
    """This machine's GPUs, or else its CPU, in words."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{os.cpu_count()} CPU cores, {name}"
