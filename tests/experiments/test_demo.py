"""The demo's summary has the figures of the runs' files, and names everything that is below a floor."""

from __future__ import annotations

import json
import re
from pathlib import Path

from experiments.demo import TESTED, curves, summary


def write(runs: Path, name: str, evaluation: str, own: float, random: float, raw: float) -> None:
    found = {name: {"accuracy": own}, "random encoder": {"accuracy": random}, "raw joints": {"accuracy": raw}}
    (runs / name).mkdir()
    (runs / name / "evaluation.json").write_text(json.dumps({"knn": {}, evaluation: found}))


def test_the_summary_has_the_linear_probe_and_says_what_is_below(tmp_path: Path) -> None:
    for name, own in zip(TESTED, (0.477, 0.471, 0.352, 0.492), strict=True):
        write(tmp_path, name, "test", own, 0.15, 0.423)
    write(tmp_path, "pretrained", "linear", 0.547, 0.297, 0.708)
    lines = summary(tmp_path).splitlines()
    found = [line.strip() for line in lines if line[:2] == "  " and "%" in line]
    assert [re.sub(" +", " ", line) for line in found] == [
        "teacher, pretrained 47.7% 35.2%",
        "student, distilled 47.1% 49.2%",
        "random encoder 15.0%",
        "raw joints 42.3%",
        "pretrained encoder 54.7%",
        "random encoder 29.7%",
        "raw joints 70.8%",
    ]
    heads = [line.split() for line in lines if line.lstrip().startswith("accuracy")]
    assert heads == [["accuracy", "from", "scratch"], ["accuracy"]]
    assert lines[-3:] == [
        "scratch-wide is below raw joints: 35.2% against 42.3%",
        "the pretrained encoder with all labels is below raw joints: 54.7% against 70.8%",
        "the student is below its network from scratch: 47.1% against 49.2%",
    ]


def test_nothing_below_is_said_as_well(tmp_path: Path) -> None:
    for name in TESTED:
        write(tmp_path, name, "test", 0.5, 0.1, 0.2)
    write(tmp_path, "pretrained", "linear", 0.6, 0.1, 0.2)
    assert summary(tmp_path).splitlines()[-1] == "nothing is below a random encoder or raw joints"


def test_curves_are_where_the_runs_went() -> None:
    assert curves("sqlite:////home/mlflow.db") == "mlflow ui --backend-store-uri sqlite:////home/mlflow.db"
    assert curves("http://me:secret@tracker:5000") == "MLflow at http://tracker:5000"
