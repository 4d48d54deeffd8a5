"""What a demo leaves in MLflow, read through its client: models, cards, figures, links and the columns of a table."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bonestrap.augment import fused
from distributed.telemetry import view
from distributed.tracking import about, add, replay
from launch import report
from launch.cli.parser import start
from tests.launch.commands import command

RUNS = ("pretrained", "teacher", "student", "scratch-wide", "scratch-compact")
TESTED = RUNS[1:]


@pytest.fixture(scope="module")
def home(shards: Path, mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the runs of a demo of toy size, and MLflow's database."""
    home = tmp_path_factory.mktemp("demo")
    shutil.copy(mlflow_template, home / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        common = f"--data {shards} --experiment demo --device cpu --precision fp32 --log-every 1"
        small = "--encoder.width 0.05 --clip.frames 8 --method.hidden 16 --method.projection 8 --split cross-subject"
        short = "--schedule.batch 8 --schedule.group 8 --schedule.epochs 1 --schedule.warmup 0"
        command(f"pretrain byol-small {common} {small} {short} --system-metrics --run {home}/pretrained")
        few = f"--model {home}/pretrained {common} --batch 4 --labels 0.1 --steps 3"
        command(f"finetune {few} --run {home}/teacher")
        command(f"finetune {few} --scratch --run {home}/scratch-wide")
        command(f"finetune {few} --scratch --encoder.width 0.025 --run {home}/scratch-compact")
        command(f"distill --teacher {home}/teacher {common} --batch 4 --epochs 0.5 --run {home}/student")
        command(f"evaluate linear --model {home}/pretrained --data {shards}")
        command(f"evaluate test {' '.join(f'--model {home}/{name}' for name in TESTED)} --data {shards}")
        yield home


@pytest.fixture(scope="module")
def client(home: Path) -> Any:
    import mlflow

    return mlflow.MlflowClient(f"sqlite:///{home}/mlflow.db")


@pytest.fixture(scope="module")
def runs(client: Any) -> dict[str, Any]:
    experiment = client.get_experiment_by_name("demo")
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def test_every_finished_model_is_registered_with_its_card(home: Path, client: Any, runs: dict[str, Any]) -> None:
    assert {model.name for model in client.search_registered_models()} == {"demo", *(f"demo-{name}" for name in RUNS)}
    for name in RUNS:
        (version,) = client.search_model_versions(f"name = 'demo-{name}'")
        card = (home / name / "model" / "README.md").read_text()
        assert len(card) < 5000 and version.description == card and "Not evaluated yet" not in card
        assert version.run_id == runs[name].info.run_id
        assert version.tags["bonestrap.stage"] == runs[name].data.tags["bonestrap.stage"]
        assert "best" in client.get_registered_model(f"demo-{name}").aliases


def test_the_best_is_chosen_on_held_out_recordings_whatever_the_test_says(client: Any, runs: dict[str, Any]) -> None:
    figures = {name: runs[name].data.metrics["held_out/accuracy"] for name in TESTED}
    versions = {version.run_id: version for version in client.search_model_versions("name = 'demo'")}
    assert len(versions) == len(TESTED)  # an encoder does not compete with classifiers
    for name, figure in figures.items():
        assert float(versions[runs[name].info.run_id].tags["bonestrap.held_out"]) == pytest.approx(figure, abs=1e-6)
    best = client.get_model_version_by_alias("demo", "best")
    assert figures[client.get_run(best.run_id).info.run_name] == max(figures.values())


def test_held_out_figures_are_of_recordings_whose_labels_nobody_read(
    home: Path, shards: Path, runs: dict[str, Any]
) -> None:
    """Counted again, one recording after the other."""
    import bonestrap
    from evaluation import trained
    from shards import splits
    from shards.manifest import Manifest
    from shards.reader import Resident

    split = splits.find(Manifest.read(shards).name, "cross-subject")
    data = Resident.load(shards, select=split.held_out)
    labels = data.labels(range(len(data))).tolist()
    labelled = trained.read(home / "teacher", trained.LABELLED)
    assert labelled is not None
    read = set(labelled.tolist())
    marks, owners = trained.fingerprints(data).tolist(), data.view_performance.tolist()
    taught = {owner for mark, owner in zip(marks, owners, strict=True) if mark in read}
    rows = [row for row, owner in enumerate(owners) if owner not in taught]
    assert taught and 20 <= len(rows) < len(data)
    model = bonestrap.load(home / "student")  # which learned from the teacher, and has read no label itself
    assert model.head is not None
    right = 0
    for row in rows:
        one = data.recordings([row])
        right += int(model.head(model.encoder(model.pipeline(one))).argmax() == labels[row])
    assert runs["student"].data.metrics["held_out/accuracy"] == pytest.approx(right / len(rows), abs=1e-9)


def test_no_column_of_the_view_is_blank(client: Any, runs: dict[str, Any]) -> None:
    import mlflow

    experiment = client.get_experiment_by_name("demo")
    table = mlflow.search_runs([experiment.experiment_id])  # of the server that the environment names
    assert len(table) == len(RUNS)
    for column in view.ALL:
        assert table[column].notna().all(), column
    tested = table[table["tags.mlflow.runName"] != "pretrained"]
    for column in view.TESTED:
        assert tested[column].notna().all(), column
    shown = json.loads(experiment.tags[view.SHARED])["selectedColumns"]
    assert shown[len(view.OWN) :] == [
        f"{kind}.`{name}`" for kind, _, name in (each.partition(".") for each in (*view.ALL, *view.TESTED))
    ]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def test_figures_have_intervals_and_settings_their_defaults(home: Path, runs: dict[str, Any]) -> None:
    teacher, scratch = runs["teacher"], runs["scratch-compact"]
    found = json.loads((home / "teacher" / "evaluation.json").read_text())["test"]["teacher"]
    metrics = teacher.data.metrics
    assert (metrics["test/accuracy_low"], metrics["test/accuracy_high"]) == (found["low"], found["high"])
    assert (metrics["test/balanced_accuracy"], metrics["test/top5_accuracy"]) == (found["balanced"], found["top5"])
    hours = [runs[name].data.metrics["device_hours"] for name in ("pretrained", "teacher", "student")]
    assert runs["student"].data.metrics["total_device_hours"] == pytest.approx(sum(hours), abs=1e-4)
    assert scratch.data.params["encoder.width"] == "0.025" and scratch.data.params["optimizer.momentum"] == "0.9"
    assert (
        scratch.data.params["optimizer.weight_decay"] == "0.0003" and teacher.data.params["method.smoothing"] == "0.0"
    )
    assert teacher.data.tags["mlflow.source.name"] and teacher.data.tags["mlflow.user"]


def test_losses_of_one_method_share_a_name_and_those_of_two_do_not(runs: dict[str, Any]) -> None:
    losses = {name: {key for key in run.data.metrics if "loss" in key} for name, run in runs.items()}
    assert losses["teacher"] == losses["scratch-wide"] == {"loss/supervised"}
    assert losses["pretrained"] == {"loss/byol"} and losses["student"] == {"loss/distill"}
    assert "system/cpu_utilization_percentage" in runs["pretrained"].data.metrics
    assert not [key for key in runs["teacher"].data.metrics if key.startswith("system/")]


def test_a_run_links_to_what_it_came_from_and_to_its_model(runs: dict[str, Any]) -> None:
    said = runs["student"].data.tags[view.NOTE]
    experiment = runs["student"].info.experiment_id
    teacher, pretrained = (runs[name].info.run_id for name in ("teacher", "pretrained"))
    first, second = (f"(#/experiments/{experiment}/runs/{each})" for each in (teacher, pretrained))
    assert 0 < said.index(f"[teacher]{first}") < said.index(f"[pretrained]{second}")
    assert "[demo-student version 1](#/models/demo-student/versions/1)" in said


def unfused() -> None:
    raise AssertionError("a stored copy of the code has no compiled kernel: the first request would wait for it")


def test_a_model_is_stored_once_and_answers_what_it_answered(
    home: Path, client: Any, runs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    import bonestrap

    kept = list((home / "mlartifacts").rglob("model.safetensors"))
    assert len(kept) == len(RUNS)
    version = client.get_model_version_by_alias("demo-teacher", "best")
    served = mlflow.pyfunc.load_model("models:/demo-teacher@best")
    example = served.input_example
    assert served.metadata.signature.inputs.inputs[0].shape == (-1, -1, -1, 25, 3) and example.shape[0] == 2
    expected = bonestrap.load(home / "teacher").predict(list(example)).numpy()
    monkeypatch.setattr(fused, "kernel", unfused)
    np.testing.assert_allclose(served.predict(example), expected, atol=1e-5)
    assert client.get_run(version.run_id).info.end_time == runs["teacher"].info.end_time


def test_a_confusion_matrix_is_kept_as_a_table_and_a_picture(home: Path, client: Any, runs: dict[str, Any]) -> None:
    identifier = runs["teacher"].info.run_id
    names = {file.path for file in client.list_artifacts(identifier, "confusion")}
    assert names == {"confusion/test.csv", "confusion/test.png"}
    (file,) = (home / "mlartifacts").glob(f"{identifier}/**/confusion/test.csv")
    head, *rows = csv.reader(file.open())
    counts = np.array([[int(cell) for cell in row[1:]] for row in rows])
    found = json.loads((home / "teacher" / "evaluation.json").read_text())["test"]["teacher"]
    assert head[1:] == [row[0] for row in rows] == [each["class"] for each in found["classes"]]
    assert counts.sum() == found["recordings"] and counts.trace() / counts.sum() == pytest.approx(found["accuracy"])


def test_the_page_about_several_models_is_stored_once(
    home: Path, shards: Path, client: Any, runs: dict[str, Any]
) -> None:
    models = [word for name in TESTED for word in ("--model", str(home / name))]
    start(report.main, report.Options, [*models, "--data", str(shards), "--output", str(home / "report.html")])
    (kept,) = (home / "mlartifacts").rglob("report.html")
    for name in TESTED:
        assert client.get_run(runs[name].info.run_id).data.tags["bonestrap.report"] == f"file://{kept}"


def test_a_killed_run_is_told_by_the_next_command(home: Path, shards: Path, client: Any, runs: dict[str, Any]) -> None:
    identifier = runs["scratch-wide"].info.run_id
    journal = home / "scratch-wide" / "journal.jsonl"
    whole = journal.read_text()
    journal.write_text("".join(line for line in whole.splitlines(keepends=True) if '"status"' not in line))
    client.update_run(identifier, status="RUNNING")
    words = f"--data {shards} --experiment demo --device cpu --precision fp32 --log-every 1 --batch 4 --labels 0.1"
    command(f"finetune --model {home}/pretrained {words} --steps 3 --run {home}/teacher")  # it has finished before
    assert client.get_run(identifier).info.status == "KILLED"
    journal.write_text(whole)
    add(home / "scratch-wide", {"later": 1.0})
    replay(home / "scratch-wide")
    assert client.get_run(identifier).info.status == "FINISHED"
    assert about(home / "scratch-wide")["runs"]
    assert len(client.search_model_versions("name = 'demo-teacher'")) == 1  # the same weights are stored once
