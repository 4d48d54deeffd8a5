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


def test_growth_is_told_for_every_size(tmp_path: Path) -> None:
    small, large = run("growth", "--performances", "200", "2000", "--folder", str(tmp_path)).splitlines()[-2:]
    assert (small.split()[0], large.split()[0]) == ("200", "2,000")
    assert float(large.split()[1]) > 5 * float(small.split()[1]), "the index grows with the performances"


def test_processes_pack_the_same(tmp_path: Path) -> None:
    one, two = run("pack", "--people", "1", "--folder", str(tmp_path)).splitlines()[-2:]
    assert (one.split()[0], two.split()[0]) == ("1", "2") and one.split()[-1] == two.split()[-1]
    assert float(one.split()[1]) > 0
