"""The README's `ray job submit` on a machine where ours has started Ray before, and `ray job stop` at any step."""

from __future__ import annotations

import os
import random
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from distributed.checkpoint import Checkpoints
from distributed.tracking import read, run_id
from tests.distributed.test_submit import BIN, ROOT, ports, processes, steps, waits_for

__all__ = ["processes"]  # the fixture
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody who has a home directory with nothing in it, and has set nothing of Ray's."""
    home = tmp_path_factory.mktemp("home")
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_"))}
    return {
        **plain, "HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
        "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db",
    }  # fmt: skip


@pytest.fixture(scope="module")
def shards(user: dict[str, str]) -> Path:
    """Packed on a Ray cluster that the command starts on this machine, as `--workers` does."""
    folder = Path(user["HOME"]) / "shards"
    people = ("--subjects", "8", "--setups", "1", "--repetitions", "1", "--workers", "2", "--ray")
    done = subprocess.run(
        [sys.executable, "launch/pack.py", "synthetic", "--output", str(folder), *people],
        cwd=ROOT, env=user, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "token" not in done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def head(
    user: dict[str, str], shards: Path, processes: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """`ray start --head` of the same user, at ports of its own; the dashboard's address."""
    pytest.importorskip("ray")
    gcs, dashboard, client, listen, grpc, metrics = map(str, ports(6))
    log = Path(user["HOME"]) / "head.log"
    processes(
        log, str(BIN / "ray"), "start", "--head", "--block", "--port", gcs, "--dashboard-port", dashboard,
        "--ray-client-server-port", client, "--dashboard-agent-listen-port", listen, "--num-cpus", "2",
        "--dashboard-agent-grpc-port", grpc, "--metrics-export-port", metrics, "--node-ip-address", "127.0.0.1",
        "--object-store-memory", str(100 * 2**20), "--min-worker-port", "0", "--max-worker-port", "0",
        "--temp-dir", str(tmp_path_factory.mktemp("ray")),
        environment=user,
    )  # fmt: skip
    waits_for(lambda: "Ray runtime started" in log.read_text())
    yield f"http://127.0.0.1:{dashboard}"


def form() -> list[str]:
    """What the README has in front of the command: `ray job submit ... --`."""
    (found,) = re.findall(
        r"`(ray job submit .*? --) python launch/pretrain.py \.\.\.`", (ROOT / "README.md").read_text()
    )
    return shlex.split(found)


def test_a_stopped_job_repeats_nothing_when_it_is_submitted_again(
    user: dict[str, str], shards: Path, head: str
) -> None:
    assert not (Path(user["HOME"]) / ".ray").exists()
    environment = {**user, "RAY_ADDRESS": head}
    run = Path(user["HOME"]) / "run"
    command = [
        *("python", "launch/pretrain.py", "demo", "--data", str(shards), "--run", str(run), "--workers", "2"),
        *("--schedule.epochs", "150", "--schedule.warmup", "1", "--encoder.width", "0.125", "--threads", "1"),
        *("--log-every", "7", "--checkpoint-every", "1000", "--probe-every", "1000"),
    ]

    def submitted(name: str) -> subprocess.Popen[str]:
        submit = form()
        submit[3:3] = ["--submission-id", name]
        return subprocess.Popen(
            [*submit, *command], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    where = random.randrange(1, 40)
    first = submitted("first")
    waits_for(lambda: steps(run) >= where or first.poll() is not None)
    subprocess.run(["ray", "job", "stop", "first"], env=environment, check=True, capture_output=True)
    said = first.communicate()[0]
    before = [line for line in read(run) if "loss" in line]
    assert before, said
    reached = before[-1]["step"]
    assert f"{run} has stopped after {reached} of " in said, said
    assert Checkpoints(run / "checkpoints", keep=1, warn=lambda text: None).newest() == reached
    assert state(user, run) == "KILLED"

    again = submitted("again")
    said = again.communicate()[0]
    assert again.returncode == 0, said
    assert f"Resuming {run} after {reached} of " in said
    lines = [line for line in read(run) if "loss" in line]
    assert lines[: len(before)] == before  # to the time at which each was written: none was computed again
    assert [line["step"] for line in lines] == sorted({line["step"] for line in lines})
    assert state(user, run) == "FINISHED"


def state(user: dict[str, str], run: Path) -> str:
    """What MLflow says of a run."""
    import mlflow

    identifier = run_id(run)
    assert identifier is not None
    return mlflow.MlflowClient(user["MLFLOW_TRACKING_URI"]).get_run(identifier).info.status
