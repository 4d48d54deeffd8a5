"""`benchmarks.gpu` at toy size: every row's code runs, with torch and numpy alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.whole_steps import KINDS
from bonestrap import kernels

ROOT = Path(__file__).resolve().parents[2]
# None in `sys.modules` makes an import fail, as if nothing were installed.
ABSENT = ["ray", "mlflow", "webdataset", "pyarrow", "pandas", "deepspeed", "numba", "safetensors", "scipy", "rich"]
WITHOUT = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT}))
from benchmarks import gpu
gpu.SECONDS = 1e9  # some run it on busy machines
gpu.main(sys.argv[1:])
"""


@pytest.mark.timeout(600)  # some run it on busy machines
def test_every_row_is_measured_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    command = [sys.executable, "-c", WITHOUT, "--device", "cpu", "--seconds", "0", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())
    assert [row for row in rows if "failed" in row] == []
    assert {row["name"] for row in rows if "left_out" in row} == set(kernels.PARITY)
    assert len(done.stdout.splitlines()) == len(rows)
    assert {row["part"] for row in rows} == {"card", "rate", "parity", "step", "ranks", "waiting", "cost"}
    steps = [row for row in rows if row["part"] == "step"]
    assert len(steps) == len(gpu.TOY) * len(KINDS)
    assert all(row["ms"] > 0 and row["kernels"] > 100 and 0 < row["of_the_limit"] < 1 for row in steps)
    differences = [row["largest_difference_of_losses"] for row in rows if "largest_difference_of_losses" in row]
    assert len(differences) == 4 and max(differences) < 1e-3


def test_without_a_gpu_one_sentence_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        gpu.main([])
    assert ended.value.code == 2
    assert "no GPU is usable here: give --device cpu" in capsys.readouterr().err


def test_what_fails_is_a_row_and_the_rest_is_measured(tmp_path: Path) -> None:
    report = gpu.Report(tmp_path / "rows.json", gpu.torch.device("cpu"))
    report.attempt("step", "broken", lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    report.attempt("step", "whole", lambda: {"ms": 2.0})
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert rows[0]["failed"].startswith("ZeroDivisionError") and rows[1]["ms"] == 2.0
