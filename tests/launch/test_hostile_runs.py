"""Run directories that anybody may have written: what reads them says one sentence, or takes what can be taken."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from torch import nn

from bonestrap.augment import ClipConfig
from bonestrap.encoders import STGCNConfig
from bonestrap.layouts import NTU25
from bonestrap.model import Description, Model
from bonestrap.options import UserError
from bonestrap.serialization import save
from distributed import journal
from distributed.mlflow_sync import missing
from evaluation import run_record
from shards.errors import DataError
from shards.manifest import Manifest
from tests.launch.commands import MAINS
from tests.mutations import NESTED, changed, changed_json, damaged

TRIES = 25
SCORES = {"accuracy": 0.5, "low": 0.4, "high": 0.6, "balanced": 0.5, "recordings": 20}


def ending(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence that a command ends in, with exit code 2."""
    capsys.readouterr()
    name, *rest = words.split()
    with pytest.raises(SystemExit) as stopped:
        MAINS[name](rest)
    lines = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and len(lines) == 1, lines
    return lines[0]


@pytest.fixture(scope="module")
def whole(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a student of random weights, as training and evaluation leave it."""
    run = tmp_path_factory.mktemp("runs") / "student"
    manifest = Manifest.read(shards)
    made = {
        "data": manifest.name, "digest": manifest.digest, "split": "cross-subject", "seed": 0, "steps": 9,
        "device_hours": 0.1, "run": "teacher", "labels": 0.5,
    }  # fmt: skip
    teacher = {"stage": "teacher", "run": "teacher", "lineage": {**made, "labelled": 60}}
    config = STGCNConfig(width=1 / 16, dropout=0.0)
    clip = ClipConfig(frames=8, fit=True)
    encoder = config.build(NTU25, clip)
    description = Description(
        stage="student", encoder=config, layout=NTU25, clip=clip,
        classes=manifest.classes, lineage={**made, "run": "student", "parents": [teacher]},
    )  # fmt: skip
    run.mkdir()
    save(run / "model", Model(description, encoder, nn.Linear(encoder.features, len(manifest.classes))))
    (run / "run.json").write_text(json.dumps({"result": {"seed": 0, "window": None}, "info": {"command": "python x"}}))
    (run / "evaluation.json").write_text(json.dumps({"test": {"student": SCORES, "raw joints": SCORES}}))
    lines = [{"step": step, "time": 1.7e9 + step, "loss": 1.0, "latency_ms": 5.0} for step in range(9)]
    (run / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def told(run: Path) -> str:
    """The sentence that a record ends in; "" where all of it can be had."""
    try:
        found = run_record.read(run)
        assert found.shown and found.journal and found.costs and found.hours >= 0
        assert len(found.curve("loss")[0]) <= len(found.journal)
        f"{found.latency_ms or 0:.1f} {found.machine} {found.parameters}"
        journal.latest(run), journal.spent(run)
    except UserError as error:
        said = str(error)
        assert "\n" not in said and len(said) < 1000
        return said
    return ""


@pytest.mark.parametrize("damage", [damaged, changed_json])
@pytest.mark.parametrize("name", ["run.json", "evaluation.json", "model/model.json", "journal.jsonl"])
def test_damaged_runs(name: str, damage: Callable[[bytes, random.Random], bytes], whole: Path, tmp_path: Path) -> None:
    dice = random.Random(name)
    assert told(whole) == ""
    content = (whole / name).read_bytes()
    for number in range(TRIES):
        run = tmp_path / str(number)
        shutil.copytree(whole, run)
        if name == "journal.jsonl" and damage is changed_json:
            lines = [changed(json.loads(line), dice) for line in content.splitlines()]
            wrong = "\n".join(map(json.dumps, lines)).encode()
        else:
            wrong = damage(content, dice)
        (run / name).write_bytes(wrong)
        try:
            told(run)
        except BaseException as error:
            error.add_note(repr(wrong[:2000]))
            raise


@pytest.mark.parametrize("content", [b"[]", b"5", b"null", NESTED, b"\xff\xfe\0", b"", b'{"result": 5}'])
def test_a_run_json_that_holds_no_run(
    content: bytes, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written into such a directory, and nothing of it is removed."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_bytes(content)
    words = f"pretrain byol-small --data {shards} --run {run} --no-track"
    assert str(run) in ending(words, capsys)
    assert [file.name for file in run.iterdir()] == ["run.json"] and (run / "run.json").read_bytes() == content
    with pytest.raises(UserError):
        run_record.read(run)


@pytest.mark.parametrize(
    "line", [b"5", b"[]", b"null", NESTED, b"\x80\x04\x95\xff", b'{"step": "x", "time": 1}', b"{}"]
)
def test_a_line_that_is_none_is_passed_over(line: bytes, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    file = tmp_path / "run" / "journal.jsonl"
    before = list(journal.read(tmp_path / "run"))
    file.write_bytes(line + b"\n" + file.read_bytes())
    assert list(journal.read(tmp_path / "run")) == before and len(before) == 9
    opened = journal.Journal(tmp_path / "run", done=4)
    opened.close()
    assert [kept["step"] for kept in journal.read(tmp_path / "run")] == [0, 1, 2, 3, 4]


def test_a_damaged_record_of_tracking_is_named(whole: Path, tmp_path: Path) -> None:
    from distributed.tracking import run_id

    for content in (b"[]", NESTED, b"\xff", b"5"):
        (tmp_path / "tracking.json").write_bytes(content)
        with pytest.raises(DataError, match=r"tracking\.json is damaged"):
            run_id(tmp_path)


@pytest.mark.parametrize("lineage", [None, [], {}, {"data": "x"}, "teacher", {"parents": 5}])
def test_a_lineage_that_cannot_be_followed(
    lineage: Any, whole: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(whole, broken)
    file = broken / "model" / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "lineage": lineage}))
    for command in (
        f"evaluate test --model {broken} --data {shards}",
        f"finetune --model {broken} --data {shards} --run {tmp_path}/run --no-track",
        f"distill --teacher {broken} --data {shards} --run {tmp_path}/run --no-track",
        f"export --model {broken}",
    ):
        assert "lineage" in ending(command, capsys)
    assert not (tmp_path / "run").exists()


def test_weights_that_are_no_numbers(
    whole: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole, tmp_path / "broken")
    file = tmp_path / "broken" / "model" / "model.safetensors"
    weights = load_file(file)
    weights["head.weight"][:] = float("nan")
    save_file(weights, file)
    said = ending(f"evaluate test --model {tmp_path}/broken --data {shards}", capsys)
    assert "head.weight holds NaN or infinite weights" in said
    said = ending(f"distill --teacher {tmp_path}/broken --data {shards} --run {tmp_path}/run --no-track", capsys)
    assert "head.weight holds NaN" in said and not (tmp_path / "run").exists()


def test_more_neighbours_than_recordings(whole: Path, shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = ending(f"evaluate knn --model {whole} --data {shards} --k 99999999", capsys)
    assert "--k 99999999: there are" in said and "training recordings" in said


def test_names_that_no_file_system_holds(
    whole: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long, loop = "x" * 300, tmp_path / "loop"
    os.symlink("loop", loop)
    for name in (long, loop):
        for command in (
            f"pretrain byol-small --data {tmp_path / name} --run {tmp_path}/run --no-track",
            f"pretrain byol-small --data {shards} --run {tmp_path / name} --no-track",
            f"evaluate test --model {tmp_path / name} --data {shards}",
            f"finetune --model {tmp_path / name} --data {shards} --run {tmp_path}/run --no-track",
        ):
            ending(command, capsys)
            assert [file.name for file in tmp_path.iterdir()] == ["loop"]


def test_the_package_that_is_missing_is_named() -> None:
    """MLflow is installed here, and the driver of this database is not."""
    mlflow = pytest.importorskip("mlflow")
    with pytest.raises(ImportError) as failed:
        mlflow.MlflowClient(tracking_uri="postgresql+pg8000://localhost/none").search_experiments()
    assert missing(failed.value).startswith("MLflow needs pg8000, which is not installed")
    assert missing(ModuleNotFoundError("No module named 'mlflow'", name="mlflow")) == "MLflow is not installed"
