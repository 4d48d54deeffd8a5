"""The documented `ray job submit` on a machine where Ray was started before, and `ray job stop` at any step.

Ray's dashboard and MLflow then say the same of the run.
"""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from distributed.checkpoint import Checkpoints
from distributed.tracking import read, run_id
from tests.distributed.test_submit import BIN, ROOT, ports, processes, steps, waits_for

__all__ = ["processes"]  # the fixture
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody who has set nothing of Ray's, and whose home has a token of another program's."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text(secrets.token_hex(32))
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


class Cluster(NamedTuple):
    """One machine's, at ports of its own."""

    dashboard: str
    metrics: str  # what Prometheus reads
    environment: dict[str, str]  # of whoever submits

    def asked(self, path: str) -> Any:
        token = (Path(self.environment["HOME"]) / ".ray" / "auth_token").read_text()
        request = urllib.request.Request(self.dashboard + path, headers={"Authorization": f"Bearer {token}"})
        return json.load(urllib.request.urlopen(request, timeout=30))


def documented() -> list[list[str]]:
    """The commands of docs/operations.md for one machine, each as words."""
    text = (ROOT / "docs" / "operations.md").read_text()
    (block,) = re.findall(r"```sh\n(export RAY_AUTH_MODE.*?)```", text, re.DOTALL)
    return [shlex.split(line) for line in block.splitlines()]


@pytest.fixture(scope="module")
def head(
    user: dict[str, str], shards: Path, processes: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """The documented commands up to `ray start --head`."""
    pytest.importorskip("ray")
    gcs, dashboard, client, listen, grpc, metrics = map(str, ports(6))
    export, token, start, *_ = documented()
    exported = dict(word.split("=", 1) for word in export[1:])
    environment = {**user, **exported, "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}"}
    assert token[-2:] == [">", "/dev/null"] and start[:3] == ["env", "-u", "RAY_ADDRESS"]
    before = (Path(user["HOME"]) / ".ray" / "auth_token").read_text()
    subprocess.run([BIN / token[0], *token[1:-2]], env=environment, check=True, capture_output=True)
    assert (Path(user["HOME"]) / ".ray" / "auth_token").read_text() == before
    log = Path(user["HOME"]) / "head.log"
    processes(
        log, *start[:3], str(BIN / start[3]), *start[4:], "--block", "--port", gcs, "--dashboard-port", dashboard,
        "--ray-client-server-port", client, "--dashboard-agent-listen-port", listen, "--num-cpus", "2",
        "--dashboard-agent-grpc-port", grpc, "--metrics-export-port", metrics, "--node-ip-address", "127.0.0.1",
        "--object-store-memory", str(100 * 2**20), "--min-worker-port", "0", "--max-worker-port", "0",
        "--temp-dir", str(tmp_path_factory.mktemp("ray")),
        environment=environment,
    )  # fmt: skip
    waits_for(lambda: "Ray runtime started" in log.read_text())
    yield Cluster(environment["RAY_ADDRESS"], f"http://127.0.0.1:{metrics}", environment)


def form() -> list[str]:
    """What the README has in front of the command: `ray job submit ... --`."""
    (found,) = re.findall(
        r"`(ray job submit .*? --) python launch/pretrain.py \.\.\.`", (ROOT / "README.md").read_text()
    )
    return shlex.split(found)


def test_the_readme_and_the_documentation_submit_alike() -> None:
    (words,) = [command for command in documented() if command[:3] == ["ray", "job", "submit"]]
    assert [*words[:3], *words[5 : words.index("--") + 1]] == form()


def test_a_stopped_job_repeats_nothing_when_it_is_submitted_again(
    user: dict[str, str], shards: Path, head: Cluster
) -> None:
    environment = head.environment
    run = Path(user["HOME"]) / "run"
    command = [
        *("python", "launch/pretrain.py", "byol-small", "--data", str(shards), "--run", str(run), "--workers", "2"),
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
    assert state(user, run) == ("KILLED", "first")
    (stopped,) = head.asked("/api/train/v2/runs/v1")["train_runs"]
    assert stopped["name"].startswith("run-") and stopped["status"] == "ERRORED"
    assert f"has stopped after {reached} of " in json.dumps(stopped)

    again = submitted("again")
    waits_for(lambda: gauge(head, "ray_bonestrap_loss") or again.poll() is not None)
    said = again.communicate()[0]
    assert again.returncode == 0, said
    assert f"Resuming {run} after {reached} of " in said
    lines = [line for line in read(run) if "loss" in line]
    assert lines[: len(before)] == before  # to the time at which each was written: none was computed again
    assert [line["step"] for line in lines] == sorted({line["step"] for line in lines})
    assert state(user, run) == ("FINISHED", "again")
    assert sorted(each["status"] for each in head.asked("/api/train/v2/runs/v1")["train_runs"]) == [
        "ERRORED",
        "FINISHED",
    ]
    losses = [line["loss"] for line in lines]
    assert any(abs(value - loss) < 1e-6 for value in gauge(head, "ray_bonestrap_loss") or SHOWN for loss in losses)


SHOWN: list[float] = []  # what the metrics have had, as they forget a worker soon after its end


def gauge(head: Cluster, name: str) -> list[float]:
    """The values of a run's metric as Prometheus reads them."""
    text = urllib.request.urlopen(f"{head.metrics}/metrics", timeout=30).read().decode()
    found = [float(value) for value in re.findall(rf'^{name}{{[^}}]*run="run"[^}}]*}} (\S+)$', text, re.MULTILINE)]
    SHOWN.extend(found)
    return found


def state(user: dict[str, str], run: Path) -> tuple[str, str]:
    """What MLflow says of a run, and of which job it is."""
    import mlflow

    identifier = run_id(run)
    assert identifier is not None
    found = mlflow.MlflowClient(user["MLFLOW_TRACKING_URI"]).get_run(identifier)
    return found.info.status, found.data.tags["bonestrap.ray_job"]
