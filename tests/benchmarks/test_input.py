"""The benchmarks of the input run, on little data, and say what they promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(name: str, *words: str) -> str:
    command = [sys.executable, "-m", f"benchmarks.{name}", *words]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_readers_are_compared(tmp_path: Path) -> None:
    words = ("--performances", "300", "--batch", "50", "--seconds", "0", "--folder", str(tmp_path))
    out = run("stream", *words)
    readers = ("memory map", "ours, streaming", "ours, resident", "webdataset", "mosaicml-streaming", "litdata")
    for reader in readers:
        (line,) = (line for line in out.splitlines() if line.startswith(reader))
        assert line.endswith("not installed") or float(line.split()[-1]) > 0
    assert not list(tmp_path.iterdir()), "nothing is left behind"
