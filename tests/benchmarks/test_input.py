"""The benchmarks of the input run, on little data, and say what they promise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import made_shards
from shards.packing import samples

OPTIONAL = ("webdataset", "ray", "mlflow", "pyarrow", "fsspec", "numba", "scipy", "sklearn", "onnx")
ROOT = Path(__file__).resolve().parents[2]


def run(name: str, *words: str) -> str:
    command = [sys.executable, "-m", f"benchmarks.{name}", *words]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("input", ("--width", "0.125", "0.25", "--recordings", "64", "--batch", "4", "--steps", "1", "--frames", "16")),
        ("inference", ("--width", "0.125", "0.25", "--frames", "16", "--seconds", "0")),
        ("step", ("--width", "0.125", "0.25", "--frames", "16", "--batch", "2", "--seconds", "0", "--no-growth")),
    ],
)
def test_rows_are_printed_as_they_are_known(name: str, words: tuple[str, ...]) -> None:
    """With torch, numpy and safetensors alone."""
    start = (
        f"import sys, runpy; sys.modules.update(dict.fromkeys({OPTIONAL!r})); runpy.run_module('benchmarks.{name}', "
        "run_name='__main__', alter_sys=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", start, *words], cwd=ROOT, stdout=subprocess.PIPE)
    said = b""
    try:
        assert process.stdout is not None
        while b"\n0.125 " not in said and (more := os.read(process.stdout.fileno(), 2**16)):
            said += more
    finally:
        process.kill()
        process.wait()
    assert b"\n0.125 " in said and b"\n0.25 " not in said, said.decode()


def test_a_sample_is_made_as_packing_writes_it() -> None:
    pytest.importorskip("webdataset")
    members = {"json": b"{}", "c1.npy": bytes(700), "c2.npy": bytes(512)}
    assert made_shards.archive("p0000001", members) == samples.tar("p0000001", members)


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
