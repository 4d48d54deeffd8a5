"""Workers through Ray Train itself. Starting them takes long, so each test here looks at much."""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from bonestrap.clips import Batch
from distributed import cluster, connection
from distributed.coordinator import asked, new_coordinator, pickled, unpickled
from distributed.loop import TrainingStopped, train
from distributed.strategy import Single, Strategy
from distributed.tracking import Tracking, read, run_id
from distributed.workers import WorkerConfig, Workers
from tests.distributed.toy import ToyLoader, ToyMethod, toy_job


def config(workers: int, **more: Any) -> WorkerConfig:
    return WorkerConfig(**{"workers": Workers(workers, workers), "device": "cpu", **more})


class DiesOnce(ToyLoader):
    """The process that first comes to step 7 of the last group is killed, once."""

    def __init__(self, mark: Path) -> None:
        super().__init__()
        self.mark = mark

    def group(self, step: int, group: int) -> Batch:
        import ray

        if step == 7 and group == self.groups - 1 and not self.mark.exists():
            rank = torch.distributed.get_rank()
            self.mark.write_text(f"{rank} (process {os.getpid()} on {ray.util.get_node_ip_address()})")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().group(step, group)


def train_here(folder: Path, strategy: Strategy) -> dict[str, object]:
    job = toy_job(folder / "run", loader=DiesOnce(folder / "died"), title="toy")
    train(job, strategy)
    return {
        "world": strategy.world,
        "threads": torch.get_num_threads(),
        "method": job.method.state_dict(),
        "pid": os.getpid(),
        "elsewhere": Path.cwd() != connection.ROOT,
    }


@pytest.fixture(scope="module")
def ray() -> object:
    """One connection for the tests here; `run` leaves a connection that it finds."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in connection.SHARED.items():  # as in a job that was submitted
            patch.setenv(name, value)
        with connection.connection(workers=2):
            yield ray


def states(name: str) -> list[tuple[str, str]]:
    """State and detail of the runs that Ray's dashboard would list under a name, the oldest first."""
    import ray
    from ray.train.v2._internal.state.state_actor import get_state_actor

    every = ray.get(get_state_actor().get_train_runs.remote()).values()
    mine = sorted((run.start_time_ns, run) for run in every if run.name.startswith(f"{name}-"))
    return [(run.status.value, run.status_detail or "") for _, run in mine]


@pytest.mark.timeout(400)  # two starts of Ray Train: half a minute on a quiet machine, minutes on a busy one
@pytest.mark.usefixtures("ray")
def test_a_worker_that_dies_is_replaced_and_the_result_is_that_of_one_process(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    one = toy_job(tmp_path / "one")
    train(one, Single())
    found = cluster.run(functools.partial(train_here, tmp_path), config(2, threads=1, name="dying"))
    assert [state for state, _ in states("dying")] == ["ERRORED", "FINISHED"]  # an attempt each
    assert (tmp_path / "died").exists()
    assert found["world"] == 2
    assert found["threads"] == 1
    assert found["pid"] != os.getpid()
    assert found["elsewhere"]
    torch.testing.assert_close(found["method"], one.method.state_dict(), rtol=0, atol=1e-4)
    losses = [[line["loss"] for line in read(run) if "loss" in line] for run in (tmp_path / "run", tmp_path / "one")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    out, error = capfd.readouterr()
    assert (
        f"Worker {(tmp_path / 'died').read_text()} died: starting again from the newest checkpoint (1 of 3)." in error
    )
    assert "raylet" not in out
    assert f"Resuming {tmp_path / 'run'} after 5 of 20 steps." in error
    assert "toy 20/20  loss" in error


def complain(strategy: Strategy) -> None:
    if strategy.rank == 1:
        raise FileNotFoundError("shards/train-000.tar is missing: pack the recordings again.")
    strategy.sum(torch.ones(1))  # waits for the other rank, for ever if nothing ended it


@pytest.mark.usefixtures("ray")
def test_an_exception_on_a_worker_is_raised_here_as_itself() -> None:
    with pytest.raises(FileNotFoundError) as it:
        cluster.run(complain, config(2))
    assert str(it.value) == "shards/train-000.tar is missing: pack the recordings again."
    assert "On worker 1:" in "".join(it.value.__notes__)


def diverge(folder: Path, strategy: Strategy) -> None:
    tracking = Tracking(experiment="toy", name="toy", uri=f"sqlite:///{folder}/mlflow.db")
    train(toy_job(folder / "run", method=ToyMethod(broken_at=2), tracking=tracking), strategy)


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("ray")
def test_the_first_rank_writes_how_a_run_ended_before_the_others_end_it(tmp_path: Path) -> None:
    """All ranks raise after the same step, and Ray ends all processes after the first that has."""
    mlflow = pytest.importorskip("mlflow")
    with pytest.raises(TrainingStopped, match="not finite at step 3"):
        cluster.run(functools.partial(diverge, tmp_path), config(2, threads=1, name="diverging"))
    ((state, detail),) = states("diverging")
    assert state == "ERRORED" and "not finite at step 3" in detail
    identifier = run_id(tmp_path / "run")
    assert identifier is not None
    assert mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(identifier).info.status == "FAILED"


TASK = """
from distributed.connection import connection
with connection(1):
    import ray
    print(ray.get(ray.remote(lambda: "done").remote()))
"""


def test_ray_on_this_machine_leaves_no_token_in_the_home_directory(tmp_path: Path) -> None:
    """With one there, the next `ray start` would ask for it, and `ray job submit` would not give it."""
    pytest.importorskip("ray")
    plain = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", TASK], env=plain | {"HOME": str(tmp_path)}, cwd=connection.ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "done\n", done.stderr
    assert not (tmp_path / ".ray").exists()


class Unpicklable(Exception):
    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


def test_a_board_that_is_gone_answers_nothing(ray: Any) -> None:
    coordinator = new_coordinator(1, 10)
    ray.get(coordinator.saved.remote(5))
    assert asked(coordinator.newest_saved.remote(), 0) == 5
    ray.kill(coordinator)
    end = time.monotonic() + 30
    while asked(coordinator.newest_saved.remote(), 0):  # it may answer once more
        assert time.monotonic() < end


def test_a_machine_that_does_not_answer_has_no_room(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray takes a machine for alive until some time after its end."""
    nodes = ray.nodes()
    there = connection.room("CPU")
    assert there == sum(node["Resources"].get("CPU", 0) for node in nodes)
    with socket.socket() as taken:  # and then free: nothing listens there
        taken.bind(("127.0.0.1", 0))
        gone = {**nodes[0], "NodeManagerAddress": "127.0.0.1", "NodeManagerPort": taken.getsockname()[1]}
    monkeypatch.setattr(ray, "nodes", lambda: [*nodes, gone])
    assert connection.room("CPU") == there


def test_an_exception_that_cannot_travel_keeps_its_message() -> None:
    pytest.importorskip("ray")
    error = unpickled(pickled(Unpicklable("a.tar", "torn"), rank=3))
    assert str(error) == "Unpicklable: a.tar: torn"


def test_no_workers_is_this_process() -> None:
    before = torch.get_num_threads()
    assert cluster.run(lambda strategy: (os.getpid(), strategy.world), config(0)) == (os.getpid(), 1)
    assert torch.get_num_threads() == before


def test_impossible_requests_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("-1", "4:2", "0:2", "many", "2:"):
        with pytest.raises(ValueError, match="workers must be"):
            Workers.parse(text)
    with pytest.raises(ValueError, match="--strategy zero1 divides state among workers: give --workers 2"):
        cluster.run(lambda strategy: None, config(0, strategy="zero1"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="No GPU is usable here"):
        cluster.run(lambda strategy: None, config(0, device="cuda"))


@pytest.mark.usefixtures("ray")
def test_more_workers_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0, "GPU": 1.0})
    with pytest.raises(ValueError, match="4 workers need a GPU each and the cluster has 1"):
        cluster.uses_gpus(4, "auto")
    assert cluster.uses_gpus(1, "auto")
    assert not cluster.uses_gpus(4, "cpu")


def test_workers_find_the_tree_unless_the_job_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    assert connection.import_path() == {"PYTHONPATH": f"{connection.ROOT}{os.pathsep}elsewhere"}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", '{"runtime_env": {"env_vars": {"PYTHONPATH": "there"}}}')
    assert connection.import_path() == {}
