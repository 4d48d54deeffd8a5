"""The comparison: from MLflow's runs to rows and to the table."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bonestrap.options import UserError
from distributed.tracking import Dataset, Journal, Tracking, describe, replay
from experiments.comparison import compare, table
from experiments.mlflow_runs import Run, read
from launch.compare import Options, main

ROOT = Path(__file__).resolve().parents[2]


def run(
    name: str,
    stage: str,
    parent: str = "",
    *,
    data: str = "d1" * 18,
    metrics: dict[str, float] | None = None,
    **params: str,
) -> Run:
    tags = {"bonestrap.stage": stage, "bonestrap.parent": parent}
    params = {"encoder": "ST-GCN 1x", "split": "cross-subject", "seed": "1", **params}
    return Run(id=f"id-{name}", name=name, params=params, metrics=metrics or {}, tags=tags, data=data)


PRETRAINED = run("pretrained", "pretrained", metrics={"parameters": 3_099_000, "device_hours": 1.5}, labels="0")
TEACHER = run(
    "teacher",
    "finetune",
    "id-pretrained",
    labels="0.05",
    metrics={"test/accuracy": 0.914, "device_hours": 0.25},
)
STUDENT = run(
    "student", "distill", "id-teacher", encoder="ST-GCN 0.25x", labels="0",
    metrics={"test/accuracy": 0.9, "latency_ms": 4.25, "parameters": 201_345, "device_hours": 0.02},
)  # fmt: skip
SCRATCH = run("scratch", "finetune", "id-forgotten", labels="0.05", metrics={"test/accuracy": 0.61})
ELSEWHERE = run("other", "finetune", data="a0" * 18, metrics={"test/accuracy": 0.1})


def test_rows_are_sorted_and_know_where_they_come_from() -> None:
    rows = compare([STUDENT, SCRATCH, PRETRAINED, ELSEWHERE, TEACHER])
    assert [row.model for row in rows] == ["other", "teacher", "student", "scratch", "pretrained"]
    by_name = {row.model: row for row in rows}
    student = by_name["student"]
    assert student.lineage == ("teacher", "pretrained")
    assert (student.labels, student.parameters, student.latency_ms) == (0.05, 201_345, 4.25)
    assert (student.encoder, student.split) == ("ST-GCN 0.25x", "cross-subject")
    assert by_name["pretrained"].labels == 0 and by_name["pretrained"].accuracy is None
    assert by_name["scratch"].lineage == () and by_name["scratch"].latency_ms is None
    assert by_name["other"].labels is None


def test_a_cost_is_a_run_s_own_or_that_of_all_that_it_came_from() -> None:
    def costs(*runs: Run) -> dict[str, tuple[float | None, float | None]]:
        return {row.model: (row.own_device_hours, row.total_device_hours) for row in compare(runs)}

    found = costs(STUDENT, TEACHER, PRETRAINED, SCRATCH)
    assert found["pretrained"] == (1.5, 1.5) and found["scratch"] == (None, None)
    assert found["teacher"] == (0.25, 1.75) and found["student"] == (0.02, pytest.approx(1.77))
    assert costs(STUDENT, TEACHER)["student"] == (0.02, None)  # MLflow does not have the pretraining
    told = replace(
        TEACHER, params={**TEACHER.params, "ancestors_device_hours": "1.5"}
    )  # but the teacher's lineage does
    assert costs(STUDENT, told)["student"] == (0.02, pytest.approx(1.77))


def test_runs_of_older_versions_have_an_encoder_and_a_split() -> None:
    """They logged kind, width and protocol; an encoder that nobody here knows keeps what was logged."""
    params = {"encoder": "stgcn", "width": "0.25", "protocol": "cross-view"}
    (old,) = compare([Run(id="1", name="old", params=params)])
    assert (old.encoder, old.split) == ("ST-GCN 0.25x", "cross-view")
    for odd in ({"encoder": "mine"}, {"encoder": "mine", "width": "2"}, {"encoder": "stgcn", "width": "-3"}, {}):
        (row,) = compare([Run(id="1", name="odd", params=odd)])
        assert row.encoder == odd.get("encoder", "")


def test_a_circle_of_parents_ends() -> None:
    rows = compare([run("a", "distill", "id-b"), run("b", "distill", "id-a")])
    assert {row.model: row.lineage for row in rows} == {"a": ("b",), "b": ("a",)}


def test_the_table_reads_well() -> None:
    lines = table(compare([STUDENT, SCRATCH, PRETRAINED, ELSEWHERE, TEACHER])).splitlines()
    assert lines[0].split()[:4] == ["model", "stage", "encoder", "parameters"]
    assert "own cost    total cost" in lines[0]
    assert lines[1].split() == ["%", "%", "ms", "a", "clip", "device-hours", "device-hours"]
    headings = [line for line in lines if line.startswith("data")]
    assert headings == ["data a0a0a0a0, split cross-subject", "data d1d1d1d1, split cross-subject"]
    student = next(line for line in lines if line.startswith("student"))
    assert student.split()[1:11] == ["distill", "ST-GCN", "0.25x", "201,345", "5", "90.0", "4.2", "0.020", "1.770", "1"]
    assert student.endswith("  teacher <- pretrained")
    end = lines[0].index("accuracy") + len("accuracy")
    models = [line for line in lines if " ST-GCN " in line]
    assert [line[:end].rpartition(" ")[2] for line in models] == ["10.0", "91.4", "90.0", "61.0", "–"]
    assert all(line[end : end + 2] == "  " for line in models)


def test_a_run_that_goes_on_or_failed_says_so() -> None:
    (row,) = compare([Run(id="1", name="long", status="RUNNING", tags={"bonestrap.stage": "pretrain"})])
    assert "long (running)" in table([row])


def test_nothing_to_compare_is_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "launch" / "compare.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "mlflow.db does not exist" in done.stderr and "train first" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def store(mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A real MLflow store: a teacher and its student, tracked as training tracks them, and somebody else's run."""
    mlflow = pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("mlflow")
    shutil.copy(mlflow_template, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    ids: dict[str, str] = {}
    for made in (TEACHER, STUDENT):
        tags = dict(made.tags) | {"bonestrap.parent": ids.get(made.tags["bonestrap.parent"], "")}
        data = Dataset("made up", made.data, str(folder))
        run = folder / made.name
        describe(run, Tracking(experiment="demo", name=made.name, params=made.params, tags=tags, dataset=data, uri=uri))
        journal = Journal(run, done=0)
        journal.write(1, made.metrics)
        journal.write(1, {"status": "finished"})
        journal.close()
        ids[made.id] = replay(run)
    client = mlflow.MlflowClient(uri)
    client.create_run(client.get_experiment_by_name("demo").experiment_id, run_name="not ours")
    return uri


def test_mlflow_is_read(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(Options(tracking_uri=store, json=True))
    teacher, student = json.loads(capsys.readouterr().out)
    assert (teacher["model"], teacher["accuracy"], teacher["status"]) == ("teacher", 0.914, "finished")
    assert teacher["data"] == TEACHER.data and Path(teacher["run_dir"]).name == "teacher"
    assert (student["lineage"], student["labels"], student["parameters"]) == (["teacher"], 0.05, 201_345)
    main(Options(tracking_uri=store, experiment="demo"))
    assert "student" in capsys.readouterr().out
    assert read(store, "nobody's") == []
    with pytest.raises(UserError, match=r"experiment nobody's of sqlite:.* holds no Bonestrap run yet"):
        main(Options(tracking_uri=store, experiment="nobody's"))
