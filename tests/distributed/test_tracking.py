"""The journal, and MLflow filled from it: a real SQLite store, outages, resumes."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bonestrap.clips import Batch
from distributed import mlflow_sync
from distributed.lease import Job, Lease
from distributed.loop import TrainingStopped, train
from distributed.strategy import Single
from distributed.tracking import (
    Dataset,
    Journal,
    Tracking,
    about,
    add,
    default_uri,
    describe,
    main,
    read,
    replay,
    run_id,
)
from tests.distributed.toy import Listener, ToyLoader, ToyMethod, toy_job

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An MLflow client of one SQLite database for all tests here: making its tables takes seconds."""
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db")
    client.search_experiments()
    return client


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses of a day-long run, for a run of a second."""
    monkeypatch.setattr(mlflow_sync, "SEND_SECONDS", 0.05)
    monkeypatch.setattr(mlflow_sync, "RETRY_SECONDS", (0.05, 0.1))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def tracked(client: Any, **more: Any) -> Tracking:
    fields: dict[str, Any] = {"experiment": "toys", "name": "toy", "uri": client.tracking_uri}
    return Tracking(**{**fields, **more})


# ---------------------------------------------------------------------- the journal


def test_resuming_drops_what_will_be_done_again_and_torn_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path, done=0)
    for step in (5, 10, 15):
        journal.write(step, {"loss": 1 / step})
    journal.write(15, {"status": "failed"})
    journal.close()
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"step": 20, "lo')
    resumed = Journal(tmp_path, done=10)
    resumed.write(15, {"loss": 9.0})
    resumed.close()
    assert [(line["step"], line["loss"]) for line in read(tmp_path)] == [(5, 0.2), (10, 0.1), (15, 9.0)]


def test_a_run_without_a_checkpoint_starts_an_empty_journal(tmp_path: Path) -> None:
    first = Journal(tmp_path, done=0)
    first.write(0, {"knn": 0.1})
    first.close()
    Journal(tmp_path, done=0).close()
    assert list(read(tmp_path)) == []


# ---------------------------------------------------------------------- MLflow


def test_mlflow_holds_every_line_with_its_own_time(tmp_path: Path, client: Any) -> None:
    told = tracked(
        client,
        params={"width": 0.25, "steps": 20},
        tags={"bonestrap.stage": "pretrained", "bonestrap.parent": "abc"},
        dataset=Dataset("toys", "0123456789abcdef", "/shards/toys"),
    )
    train(toy_job(tmp_path, tracking=told, probe=lambda: {"knn": 0.75}, probe_every=10), Single())
    found = client.get_run(run_id(tmp_path))
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "toy"
    assert found.data.params == {"width": "0.25", "steps": "20"}
    assert found.data.tags["bonestrap.parent"] == "abc"
    assert found.data.tags["bonestrap.run_dir"] == str(tmp_path)
    assert found.inputs.dataset_inputs[0].dataset.digest == "0123456789abcdef"
    for name in ("loss", "knn", "device_hours", "learning_rate"):
        expected = [(line["step"], line[name], round(line["time"] * 1000)) for line in read(tmp_path) if name in line]
        points = client.get_metric_history(found.info.run_id, name)
        assert sorted((point.step, point.value, point.timestamp) for point in points) == expected


def test_one_mlflow_run_a_directory_over_resumes(tmp_path: Path, client: Any) -> None:
    told = tracked(client, experiment="resumed", params={"seed": 1})
    train(toy_job(tmp_path, steps=5, tracking=told), Single())
    first = run_id(tmp_path)
    changed = tracked(client, experiment="resumed", params={"seed": 1, "log_every": 2})
    with pytest.raises(TrainingStopped):
        train(toy_job(tmp_path, steps=20, tracking=changed, method=ToyMethod(broken_at=12)), Single())
    assert client.get_run(first).info.status == "FAILED"
    train(toy_job(tmp_path, steps=20, tracking=tracked(client, experiment="resumed", params={"seed": 2})), Single())
    assert run_id(tmp_path) == first
    found = client.get_run(first)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"seed": "1", "log_every": "2"}
    assert found.data.tags["resumed.seed"] == "2"
    assert len(client.search_runs([found.info.experiment_id])) == 1
    assert {point.step for point in client.get_metric_history(first, "loss")} == set(range(1, 21))


def test_what_is_measured_later_joins_the_run(tmp_path: Path, client: Any) -> None:
    train(toy_job(tmp_path, steps=2, tracking=tracked(client)), Single())
    add(tmp_path, {"test/accuracy": 0.5})
    assert replay(tmp_path) == run_id(tmp_path)
    found = client.get_run(run_id(tmp_path))
    assert found.data.metrics["test/accuracy"] == 0.5
    assert found.info.status == "FINISHED"
    assert len(client.get_metric_history(found.info.run_id, "loss")) == 2  # sent twice, stored once


def test_long_journals_go_in_several_calls(tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_sync, "BATCH", 20)
    train(toy_job(tmp_path, tracking=tracked(client)), Single())
    assert len(client.get_metric_history(run_id(tmp_path), "loss")) == 20


# ---------------------------------------------------------------------- outages


class Repairing(ToyLoader):
    """Calls `repair` at step 10 and then gives the thread that delivers time to notice."""

    def __init__(self, repair: Callable[[], object]) -> None:
        super().__init__()
        self.repair = repair

    def group(self, step: int, group: int) -> Batch:
        if (step, group) == (10, 0):
            time.sleep(1.0)
            self.repair()
            time.sleep(1.0)
        return super().group(step, group)


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in read(run) if "loss" in line]


@pytest.mark.usefixtures("quick")
def test_an_outage_changes_nothing_and_its_points_arrive_when_it_is_over(tmp_path: Path, client: Any) -> None:
    train(toy_job(tmp_path / "plain"), Single())
    listener = Listener()
    place = tmp_path / "server"
    place.write_text("a file where the database's folder should be: SQLite cannot open it")
    uri = f"sqlite:///{place}/mlflow.db"

    def repair() -> None:
        place.unlink()
        place.mkdir()

    job = toy_job(tmp_path / "run", tracking=tracked(client, uri=uri), loader=Repairing(repair))
    train(job, Single(screen=listener))
    assert losses(tmp_path / "run") == losses(tmp_path / "plain")
    assert "does not answer; the run goes on" in listener.messages[0]
    assert "is back" in listener.messages[1]
    assert len(listener.messages) == 2
    mlflow = type(client)(uri)
    found = mlflow.get_run(run_id(tmp_path / "run"))
    assert found.info.status == "FINISHED"
    points = sorted(mlflow.get_metric_history(found.info.run_id, "loss"), key=lambda point: point.step)
    assert [point.value for point in points] == losses(tmp_path / "run")


@pytest.mark.usefixtures("quick")
def test_a_server_that_never_answers_delays_nothing_and_loses_nothing(tmp_path: Path, client: Any) -> None:
    listener = Listener()
    began = time.monotonic()
    job = toy_job(tmp_path / "run", tracking=tracked(client, uri="http://127.0.0.1:9"))
    summary = train(job, Single(screen=listener))
    assert time.monotonic() - began < 20
    assert summary.steps == 20
    assert "nothing is lost: `python -m distributed.tracking" in listener.messages[-1]
    # The server is up again, here at another address: all points, and how it ended, come from the directory.
    told = about(tmp_path / "run")
    (tmp_path / "run/tracking.json").write_text(json.dumps({**told, "uri": client.tracking_uri}))
    found = client.get_run(replay(tmp_path / "run"))
    assert found.info.status == "FINISHED"
    assert found.info.start_time == round(told["created"] * 1000)
    assert len(client.get_metric_history(found.info.run_id, "loss")) == 20


class Refusing(http.server.BaseHTTPRequestHandler):
    """A server that understands and will not."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        body = json.dumps({"error_code": "PERMISSION_DENIED", "message": "This name is not yours."}).encode()
        self.send_response(403)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *arguments: object) -> None:
        return


@pytest.mark.usefixtures("quick")
def test_a_refusal_is_told_as_one_and_not_asked_again(tmp_path: Path, client: Any) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        listener = Listener()
        uri = f"http://127.0.0.1:{server.server_port}"
        job = toy_job(tmp_path / "run", tracking=tracked(client, uri=uri), loader=Repairing(lambda: None))
        assert train(job, Single(screen=listener)).steps == 20
    finally:
        server.shutdown()
        server.server_close()
    (said,) = listener.messages
    assert f"MLflow at {uri} refuses the run (" in said
    assert "This name is not yours." in said
    assert "python -m distributed.tracking" in said
    assert Refusing.asked == 1


def test_a_run_that_was_killed_is_reconciled(tmp_path: Path, client: Any) -> None:
    train(toy_job(tmp_path, steps=5, tracking=tracked(client)), Single())
    file = tmp_path / "journal.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    assert "status" in lines[-1]
    file.write_text("".join(lines[:-1]))  # as a kill leaves it
    client.update_run(run_id(tmp_path), status="RUNNING")
    lease = Lease(tmp_path / "checkpoints", Job("alive"), print)
    lease.take()
    replay(tmp_path)
    assert client.get_run(run_id(tmp_path)).info.status == "RUNNING"  # a job holds it
    lease.release()
    replay(tmp_path)
    assert client.get_run(run_id(tmp_path)).info.status == "KILLED"


@pytest.mark.parametrize("where", ["path", "address", "address with keys"])
def test_a_live_run_whose_checkpoints_are_elsewhere_is_not_called_killed(
    tmp_path: Path, client: Any, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run, folder = tmp_path / "run", tmp_path / "elsewhere"
    address = "" if where == "path" else f"file://{folder}"
    given = (f"{address}?key=secret" if "keys" in where else address) or folder
    if address:
        pytest.importorskip("pyarrow")
    train(toy_job(run, steps=5, tracking=tracked(client), checkpoints=address or folder), Single())
    if "keys" in where:  # pyarrow's own file system takes none
        describe(run, tracked(client), given)
    file = run / "journal.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))  # as a kill leaves it
    client.update_run(run_id(run), status="RUNNING")
    lease = Lease(folder, Job("alive"), print)
    lease.take()
    assert main([str(run)]) == 0
    assert client.get_run(run_id(run)).info.status == "RUNNING"
    assert "secret" not in (run / "tracking.json").read_text()
    assert ("give it with --checkpoints" in capsys.readouterr().out) == ("keys" in where)
    lease.release()
    assert main([str(run), *(["--checkpoints", str(folder)] if "keys" in where else [])]) == 0
    assert client.get_run(run_id(run)).info.status == "KILLED"


def test_what_cannot_be_sent_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert "tracking.json is missing, so the run was never tracked; name a run that was" in shown.err
    assert shown.err.count("\n") == 1


def test_without_mlflow_there_is_the_journal_and_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    listener = Listener()
    train(toy_job(tmp_path, steps=3, tracking=Tracking(experiment="e", name="n")), Single(screen=listener))
    assert [message for message in listener.messages if "MLflow is not installed" in message] == listener.messages
    assert len(listener.messages) == 1
    assert len(losses(tmp_path)) == 3


WITHOUT_PLATFORM = """
import sys
for name in ("ray", "mlflow", "webdataset", "tqdm", "scipy", "sklearn", "matplotlib", "pandas"):
    sys.modules[name] = None
from pathlib import Path
from distributed.cluster import WorkerConfig, run
from distributed.loop import train
from tests.distributed.toy import toy_job
print(run(lambda strategy: train(toy_job(Path(sys.argv[1]), steps=3), strategy).steps, WorkerConfig(threads=1)))
"""


def test_no_workers_needs_torch_and_numpy_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_PLATFORM, str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout == "3\n"


def test_a_relative_database_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert default_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other/runs.db")
    assert default_uri() == f"sqlite:///{tmp_path}/other/runs.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert default_uri() == "http://mlflow:5000"
