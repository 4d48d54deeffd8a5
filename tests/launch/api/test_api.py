"""The commands as functions: the command line's options, runs and figures as objects, one sentence for a mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import bonestrap
from bonestrap.options import UserError
from launch.api import Evaluation, Run
from launch.api.words import words
from shards.packing.pack import pack
from tests.launch.waving import Waving

ROOT = Path(__file__).resolve().parents[3]
TINY = {
    "encoder.width": 1 / 16,
    "clip.frames": 8,
    "schedule.epochs": 1,
    "schedule.warmup": 0,
    "schedule.batch": 8,
    "schedule.group": 4,
}
COMMON = {"device": "cpu", "threads": 1, "precision": "fp32"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run, Run, Evaluation]:
    """A pretraining, a teacher, a student and a test of it, each made by one call."""
    place = tmp_path_factory.mktemp("api")
    pack(Waving(), place / "shards")
    data = place / "shards"
    run = bonestrap.pretrain(
        "nw-ucla",
        data=data,
        run=place / "pretrained",
        track=False,
        options={**TINY, **COMMON, "split": "cross-subject"},
    )
    steps = {"steps": 2, "batch": 4, **COMMON}
    teacher = bonestrap.finetune(
        model=run, data=str(data), run=place / "teacher", labels=0.5, track=False, options=steps
    )
    student = bonestrap.distill(
        teacher=teacher,
        data=data,
        run=place / "student",
        seed=3,
        track=False,
        options={"epochs": 1, "batch": 8, "encoder.width": 1 / 32, **COMMON},
    )
    return run, teacher, student, bonestrap.evaluate("test", model=student, data=data, track=False)


def test_runs_are_objects(trained: tuple[Run, Run, Run, Evaluation]) -> None:
    for run, stage in zip(trained[:3], ("pretrained", "teacher", "student"), strict=True):
        assert run.directory.name == stage and run.model.description.stage == stage
        assert run.steps == run.model.description.lineage["steps"] > 0 and run.device_hours > 0
        journal = [json.loads(line) for line in (run.directory / "journal.jsonl").read_text().splitlines()]
        assert run.metrics["loss"] == [line["loss"] for line in journal if "loss" in line][-1]
    asked = trained[2].model.description
    assert asked.lineage["seed"] == 3 and vars(asked.encoder)["width"] == 1 / 32
    assert trained[1].model.description.lineage["labels"] == 0.5
    joints = torch.randn(9, 1, 20, 3)
    assert trained[2].model.predict(joints).shape == (2,)


def test_an_evaluation_has_the_figures_of_the_file(trained: tuple[Run, Run, Run, Evaluation]) -> None:
    student, found = trained[2], trained[3]
    kept = json.loads((student.directory / "evaluation.json").read_text())
    assert found.protocol == "test" and found.model == student.directory
    assert {name: kept[name] for name in found.results} == json.loads(json.dumps(found.results))
    assert 0 <= found.figures["accuracy"] <= 1


def test_options_are_words_of_a_command_line() -> None:
    given: dict[str, object] = {"data": ["a", Path("b")], "init_from": None, "seed": 3, "track": False}
    more: dict[str, object] = {"method.view1.shear.limit": -0.5, "cache": None, "encoder": "stgcn", "graph": True}
    with pytest.raises(UserError, match="options: encoder must be a text, a number or a path, or several, got"):
        words({}, {"encoder": {"width": 1}})
    assert words(given, more) == [
        "--data", "a", "b", "--seed=3", "--no-track", "--method.view1.shear.limit=-0.5", "--cache=none",
        "--encoder=stgcn", "--graph",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: bonestrap.pretrain("nwucla", data="d", run="r"), "unknown recipe nwucla; did you mean nw-ucla"),
        (
            lambda: bonestrap.pretrain("nw-ucla", data="d", run="r", options={"encoder.widht": 1}),
            "unknown option --encoder.widht; did you mean --encoder.width?",
        ),
        (lambda: bonestrap.finetune(model="m", data="d", run="r", labels=7), r"--labels must lie in \(0, 1\]"),
        (
            lambda: bonestrap.finetune(model="m", data="d", run="r", options={"labels": 1}),
            "labels is an argument of its",
        ),
        (lambda: bonestrap.distill(teacher="nowhere", data="d", run="r"), "nowhere/model.json does not exist"),
        (lambda: bonestrap.evaluate("liner", model="m", data="d"), "unknown protocol liner; did you mean linear"),
    ],
)
def test_a_mistake_is_a_value_error(call: object, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        call()  # type: ignore[operator]
    assert isinstance(raised.value, UserError)


def test_the_arguments_are_options_of_the_commands() -> None:
    """So that a renamed option is noticed here."""
    from inspect import signature

    from launch import distill, evaluate, finetune, pretrain

    for function, options in (
        (bonestrap.pretrain, pretrain.Options),
        (bonestrap.finetune, finetune.Options),
        (bonestrap.distill, distill.Options),
        (bonestrap.evaluate, evaluate.Options),
    ):
        own = {name for name in signature(function).parameters if name not in ("recipe", "protocol", "options")}
        assert own <= set(options.__dataclass_fields__)
        for name in ("labels", "scratch", "seed", "track", "on", "split", "init_from"):
            if name in own:
                assert signature(function).parameters[name].default == options.__dataclass_fields__[name].default


def test_without_a_checkout_one_sentence_says_so(tmp_path: Path) -> None:
    """The library alone, as it lies in a wheel."""
    (tmp_path / "bonestrap").symlink_to(ROOT / "bonestrap")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import bonestrap; bonestrap.pretrain"
    command = [sys.executable, "-I", "-S", "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "AttributeError: bonestrap.pretrain needs a checkout of Bonestrap, and what is installed is the library alone: "
        "start Python in that folder, or install the folder with pip install -e '.[train]'"
    )
