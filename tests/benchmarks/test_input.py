"""The benchmarks of the input run, on little data, and say what they promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(name: str, *words: str) -> str:
    command = [sys.executable, "-m", f"benchmarks.{name}", *words]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


EVERY = sorted(
    path.stem for path in (ROOT / "benchmarks").glob("*.py") if "argparse.ArgumentParser(" in path.read_text()
)


@pytest.mark.parametrize("name", EVERY)
def test_every_benchmark_says_what_it_does(name: str) -> None:
    said = run(name, "--help")
    assert f"python -m benchmarks.{name}" in said or f"python benchmarks/{name}.py" in said


# A finder that knows none of what training on workers, packing and tracking need.
BARE = """
import runpy, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"aiohttp", "fsspec", "mlflow", "numba", "pyarrow", "ray", "webdataset"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
sys.argv = sys.argv[1:]
runpy.run_module("benchmarks.input", run_name="__main__", alter_sys=True)
"""


def test_waiting_is_measured_with_torch_and_numpy_alone() -> None:
    words = ("--width", "0.1", "0.2", "--frames", "8", "--length", "9", "--batch", "4", "--recordings", "40")
    command = [sys.executable, "-c", BARE, "input", *words, "--steps", "2"]
    out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    first, second = out.splitlines()[-2:]
    assert (first.split()[0], second.split()[0]) == ("0.1", "0.2")
    assert 0 < float(second.split()[1]) < float(second.split()[2])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "step",
            ("--width", "0.1", "--frames", "8", "--batch", "4", "--seconds", "0", "--threads", "1", "--no-growth"),
        ),
        ("inference", ("--width", "0.1", "--frames", "8", "16", "--seconds", "0")),
    ],
)
def test_rows_are_printed_as_they_are_known(name: str, words: tuple[str, ...]) -> None:
    """The first row can be read while the process still works on the second."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        row = next(line for line in process.stdout if line.startswith("0.1 "))
        assert process.poll() is None
        rest = process.stdout.read()
    assert process.returncode == 0
    assert any(any(mark.isdigit() for mark in cell) for cell in row.split()[1:]) and "0.1 " in rest


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
