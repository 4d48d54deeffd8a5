"""Run records of the first format, as its commands wrote them, are those of the same runs today."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bonestrap.config import to_json
from bonestrap.files import read_object
from bonestrap.methods import SupervisedConfig
from distributed.record import FILE, Record
from launch.recipes import RECIPES
from tests.launch.commands import command

VIEW = {"resample": [0.7, 1.3], "crop": True, "smooth": 0.5, "shear": 1.0, "shift": True, "drop": 0.5}
FEW = {"batch": 4, "group": None, "learning_rate": 0.01}
# What each command of the version before wrote into run.json for the options of the `chain`; ... comes from the run.
FIRST: dict[str, dict[str, Any]] = {
    "pretrained": {
        "recipe": "demo",
        "protocol": "cross-subject",
        "clip": {"frames": 8, "fit": True, "own_pose": True},
        "encoder": {"width": 0.05, "dropout": 0.0},
        "method": {
            "hidden": 16, "projection": 8, "norm": True, "momentum": 0.99, "alpha": 0.9, "statistics": "target",
        },
        "view1": VIEW,
        "view2": {**VIEW, "smooth": 0.0, "shear": 0.0, "shift": False, "drop": 0.0},
        "multiview": True,
        "schedule": {
            "epochs": 1.0, "batch": 8, "group": 8, "learning_rate": 0.001, "warmup": 0.0, "predictor_rate": 10.0,
            "weight_decay": 0.0001,
        },
    },
    "teacher": {
        "model": ..., "labels": 0.5, "protocol": None, "scratch": False, "encoder": {"width": None}, "steps": 3, **FEW,
        "encoder_rate": 0.01, "frozen": 0.1, "weight_decay": None, "method": {"smoothing": 0.0, "alpha": 0.9},
    },
    "student": {
        "teacher": ..., "protocol": None, "encoder": {"width": None}, "epochs": 0.5, **FEW, "weight_decay": 0.0001,
        "method": {"temperature": 1.0, "alpha": 0.9},
    },
}  # fmt: skip
EVERY = {"window": ..., "hold_out": ..., "seed": ..., "precision": ..., "digest": ...}


def first_format(run: Path, name: str) -> dict[str, Any]:
    """The record of the first format for a run of today."""
    result = read_object(run / FILE)["result"]
    return {key: result[key] if value is ... else value for key, value in (FIRST[name] | EVERY).items()}


def write(run: Path, result: dict[str, Any], info: dict[str, Any] | None = None) -> None:
    (run / FILE).write_text(json.dumps({"result": result, "info": info or {}}))


@pytest.mark.parametrize("name", list(FIRST))
def test_the_record_of_the_same_run_is_recognised(name: str, chain: Path, tmp_path: Path) -> None:
    today = read_object(chain / name / FILE)
    assert today["format"] == 2
    write(tmp_path, first_format(chain / name, name))
    Record.of(today["result"], {}).check(tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "named"),
    [
        ("pretrained", {"schedule": {"learning_rate": 0.002}}, "optimizer.learning_rate"),
        ("pretrained", {"schedule": {"weight_decay": 0.0}}, "optimizer.weight_decay"),
        ("pretrained", {"schedule": {"predictor_rate": 1.0}}, "method.predictor_rate"),
        ("pretrained", {"schedule": {"epochs": 2.0}}, "schedule.epochs"),
        ("pretrained", {"view1": {"shear": 0.5}}, "method.view1"),
        ("pretrained", {"view2": {"shift": True}}, "method.view2"),
        ("pretrained", {"multiview": False}, "method.multiview"),
        ("pretrained", {"protocol": "cross-view"}, "split"),
        ("pretrained", {"encoder": {"width": 0.1}}, "encoder.width"),
        ("pretrained", {"recipe": "nw-ucla"}, "recipe"),
        ("pretrained", {"seed": 1}, "seed"),
        ("teacher", {"labels": 0.25}, "labels"),
        ("teacher", {"encoder_rate": 0.5}, "encoder_rate, method.encoder_rate"),
        ("teacher", {"method": {"smoothing": 0.1}}, "method.smoothing"),
        ("student", {"method": {"temperature": 2.0}}, "method.temperature"),
        ("student", {"encoder": {"width": 0.25}}, "encoder.width"),
        ("student", {"epochs": 1.0}, "epochs"),
    ],
    ids=str,
)
def test_the_record_of_another_run_is_refused_by_todays_name(
    name: str, change: dict[str, Any], named: str, chain: Path, tmp_path: Path
) -> None:
    result = copy.deepcopy(first_format(chain / name, name))
    for key, value in change.items():
        result[key] = result[key] | value if isinstance(value, dict) else value
    write(tmp_path, result)
    with pytest.raises(ValueError) as refused:
        Record.of(read_object(chain / name / FILE)["result"], {}).check(tmp_path)
    assert f"holds a run with other settings ({named}); repeat its command" in str(refused.value)


def test_the_same_command_goes_on_with_a_run_of_the_first_format(
    shards: Path, chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "student"
    shutil.copytree(chain / "student", run)
    write(run, first_format(run, "student"), read_object(run / FILE)["info"])
    before = (run / FILE).read_bytes()
    words = f"distill --teacher {chain / 'teacher'} --data {shards} --run {run} --no-track --device cpu --batch 4"
    command(f"{words} --precision fp32 --learning-rate 0.01 --epochs 0.5")
    assert "student model" in capsys.readouterr().out and (run / FILE).read_bytes() == before
    with pytest.raises(SystemExit, match="2"):
        command(f"{words} --precision fp32 --learning-rate 0.02 --epochs 0.5")
    assert "other settings (learning_rate)" in capsys.readouterr().err


def test_settings_that_came_later_have_the_values_of_before(tmp_path: Path) -> None:
    before, today = (to_json(RECIPES["nw-ucla"]()) for _ in range(2))
    for part, name in (("clip", "motion"), ("clip", "normalise"), ("encoder", "partitions"), ("method", "variance")):
        del before[part][name]
    write(tmp_path, before)
    Record.of(today, {}).check(tmp_path)
    for part, name, value in (("clip", "motion", True), ("encoder", "partitions", "one-hop")):
        other = {**today, part: {**today[part], name: value}}
        with pytest.raises(ValueError, match=rf"other settings \({part}.{name}\)"):
            Record.of(other, {}).check(tmp_path)


@pytest.mark.parametrize(("pretrained", "statistics"), [(True, "kept"), (False, "batch")])
def test_pretrained_encoders_kept_their_statistics(pretrained: bool, statistics: str, tmp_path: Path) -> None:
    today = to_json(SupervisedConfig(statistics=statistics))  # type: ignore[arg-type]
    before = {name: value for name, value in today.items() if name != "statistics"}
    write(tmp_path, {"method": {**before, "pretrained": pretrained}})
    Record.of({"method": today}, {}).check(tmp_path)
