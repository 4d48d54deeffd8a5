"""The cluster's path without Kubernetes: two Ray nodes, token authentication, MLflow, S3 and submitted jobs.

`make cluster`; minutes long, so it is left out of the ordinary suite. The environment of the nodes is that of the pods.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from distributed.checkpoint import Checkpoints
from distributed.tracking import read, run_id

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
LITTLE = ["--encoder.width", "0.125", "--threads", "1", "--log-every", "2", "--checkpoint-every", "4"]


@dataclass(frozen=True)
class Lab:
    """What the tests share: addresses, a folder that all nodes see, and the environment of a user who may submit."""

    folder: Path
    dashboard: str
    mlflow: str
    environment: dict[str, str]

    def submit(self, *words: str, form: tuple[str, ...] = ("--working-dir", ".", "--")) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(BIN / "ray"), "job", "submit", "--address", self.dashboard, *form, *words],
            cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def done(self, *words: str, form: tuple[str, ...] = ("--working-dir", ".", "--"), code: int = 0) -> str:
        """Submit, follow the log, and give back what was shown."""
        job = self.submit(*words, form=form)
        said = job.communicate()[0]
        assert job.returncode == code, said
        return said

    def command(self, *words: str) -> str:
        """A command of the user's own machine."""
        done = subprocess.run(
            [sys.executable, *words], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def waits_for(what: Callable[[], Any], seconds: float = 900) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.2)
    raise AssertionError(f"nothing after {seconds} s")


def ports(count: int) -> list[int]:
    """Free ports, all different."""
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [each.getsockname()[1] for each in listening]
    for each in listening:
        each.close()
    return found


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def processes() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts servers; they and all that they started end with the tests."""
    started: list[subprocess.Popen[bytes]] = []

    def start(log: Path, *words: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with log.open("wb") as file:
            process = subprocess.Popen(
                words, cwd=log.parent, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        started.append(process)
        return process

    yield start
    for process in reversed(started):
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, processes: Any) -> Iterator[Lab]:
    pytest.importorskip("ray")
    pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("lab")
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_", "AWS_"))}
    gcs, dashboard, client, mlflow_port, *agents = ports(4 + 6)

    store = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    host, port = store.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    import boto3

    boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", aws_access_key_id="someone",
                 aws_secret_access_key="secret").create_bucket(Bucket="mlflow")  # fmt: skip
    uri = f"http://127.0.0.1:{mlflow_port}"
    processes(
        folder / "mlflow.log", sys.executable, "-m", "mlflow", "server", "--port", str(mlflow_port), "--workers", "1",
        environment=plain | keys | {
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db",
            "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow",
            "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{mlflow_port}",
            "MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
    )  # fmt: skip

    guarded = {
        **plain, "PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
        "MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0",
    }  # fmt: skip
    for name, words in (
        ("head", ["--head", "--port", gcs, "--dashboard-port", dashboard, "--ray-client-server-port", client,
                  "--temp-dir", str(tmp_path_factory.mktemp("ray"))]),
        ("second", ["--address", f"127.0.0.1:{gcs}"]),
    ):  # fmt: skip
        listen, grpc, metrics = (agents.pop() for _ in range(3))
        processes(
            folder / f"{name}.log", str(BIN / "ray"), "start", "--block", *map(str, words),
            "--node-ip-address", "127.0.0.1", "--num-cpus", "1", "--object-store-memory", str(100 * 2**20),
            "--dashboard-agent-listen-port", str(listen), "--dashboard-agent-grpc-port", str(grpc),
            "--metrics-export-port", str(metrics), "--min-worker-port", "0", "--max-worker-port", "0",
            environment=guarded,
        )  # fmt: skip
        if name == "head":
            waits_for(lambda: "Ray runtime started" in (folder / "head.log").read_text())
    waits_for(lambda: "Ray runtime started" in (folder / "second.log").read_text())
    waits_for(lambda: answers(f"{uri}/health"))
    made = Lab(folder, f"http://127.0.0.1:{dashboard}", uri, guarded)
    made.command(
        "launch/pack.py", "synthetic", "--output", str(folder / "shards"), "--subjects", "8", "--setups", "1",
        "--repetitions", "1", "--workers", "1",
    )  # fmt: skip
    yield made
    store.stop()


@pytest.fixture(scope="module")
def pretrain(lab: Lab) -> list[str]:
    return [
        *("launch/pretrain.py", "byol-small", "--data", f"{lab.folder}/shards", "--run", f"{lab.folder}/pretrained"),
        *("--workers", "2", "--storage", str(lab.folder / "ray"), "--schedule.epochs", "90", *LITTLE),
    ]


@pytest.fixture(scope="module")
def teacher(lab: Lab) -> list[str]:
    return [
        *("launch/finetune.py", "--model", str(lab.folder / "pretrained"), "--data", str(lab.folder / "shards")),
        *("--run", str(lab.folder / "teacher"), "--labels", "0.5", "--steps", "6", "--batch", "16", "--group", "8"),
        *("--workers", "2", "--storage", str(lab.folder / "ray"), *LITTLE[2:]),
    ]


def steps(run: Path) -> int:
    return max((line["step"] for line in read(run) if "loss" in line), default=0)


def test_who_has_no_token_submits_nothing(lab: Lab) -> None:
    bare = {key: value for key, value in lab.environment.items() if not key.startswith("RAY_AUTH")}
    refused = subprocess.run(
        [str(BIN / "ray"), "job", "list", "--address", lab.dashboard],
        env=bare | {"HOME": str(lab.folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode != 0
    assert "token authentication is enabled" in refused.stderr


def test_a_stopped_job_goes_on_when_it_is_submitted_again(lab: Lab, pretrain: list[str]) -> None:
    run = lab.folder / "pretrained"
    name = "to-be-stopped"
    job = lab.submit("python", *pretrain, form=("--submission-id", name, "--working-dir", ".", "--"))
    waits_for(lambda: steps(run) >= 4)
    subprocess.run([str(BIN / "ray"), "job", "stop", "--address", lab.dashboard, name], env=lab.environment, check=True)
    shown = job.communicate()[0]
    assert job.returncode == 0 and "succeeded" not in shown  # Ray's: 1 is for failures alone, so the status is asked
    assert "STOPPED" in subprocess.run(
        [str(BIN / "ray"), "job", "status", "--address", lab.dashboard, name],
        env=lab.environment, capture_output=True, text=True, check=True,
    ).stdout.upper()  # fmt: skip
    newest = Checkpoints(run / "checkpoints", keep=1, warn=lambda text: None).newest()
    assert newest and not (run / "model").exists(), shown

    again = lab.done("python", *pretrain)
    resumed = re.search(r"Resuming .* after (\d+) of (\d+) steps", again)
    assert resumed and int(resumed[1]) >= newest and steps(run) == int(resumed[2]), again
    assert "Starting 2 workers on CPUs" in again  # the log was followed
    assert "pretrained model" in again and "succeeded" in again
    assert (run / "model" / "model.json").is_file()


def test_mlflow_has_every_line(lab: Lab) -> None:
    import mlflow

    points = mlflow.MlflowClient(lab.mlflow).get_metric_history(run_id(lab.folder / "pretrained"), "loss/byol")
    assert sorted(point.step for point in points) == [
        line["step"] for line in read(lab.folder / "pretrained") if "loss" in line
    ]


def test_the_script_itself_is_submitted_where_all_nodes_see_the_tree(lab: Lab, teacher: list[str]) -> None:
    script, *words = teacher
    said = lab.done("--", *words, form=(str(ROOT / script),))
    assert "Starting 2 workers on CPUs" in said and "teacher model" in said


def test_a_mistake_is_the_jobs_failure(lab: Lab, pretrain: list[str]) -> None:
    said = lab.done("python", *pretrain, "--schedule.epoks", "2", code=1)
    assert "unknown option --schedule.epoks; did you mean --schedule.epochs?" in said


def test_two_jobs_are_compared_and_a_student_is_served(lab: Lab, processes: Any) -> None:
    shards, student = str(lab.folder / "shards"), str(lab.folder / "student")
    lab.done(
        *("python", "launch/distill.py", "--teacher", str(lab.folder / "teacher"), "--data", shards, "--run", student),
        *("--encoder.width", "0.125", "--epochs", "2", "--batch", "16", *LITTLE[2:]),
    )
    lab.command("launch/evaluate.py", "test", "--model", student, "--data", shards)
    lab.command("launch/evaluate.py", "test", "--model", str(lab.folder / "teacher"), "--data", shards)
    rows = {row["model"]: row for row in json.loads(lab.command("launch/compare.py", "--json"))}
    assert set(rows) == {"pretrained", "teacher", "student"}
    assert rows["student"]["lineage"] == ["teacher", "pretrained"]
    assert rows["student"]["labels"] == rows["teacher"]["labels"] == 0.5
    assert all(row["status"] == "finished" and row["data"] for row in rows.values())
    assert rows["student"]["accuracy"] is not None and rows["teacher"]["accuracy"] is not None

    for name, alias in (("teacher", "challenger"), ("student", "champion"), ("student", "champion")):
        lab.command("launch/register.py", "--run", str(lab.folder / name), "--alias", alias)
    import mlflow

    client = mlflow.MlflowClient(lab.mlflow)
    champion = client.get_model_version_by_alias("bonestrap", "champion")
    assert champion.run_id == rows["student"]["run_id"]
    assert champion.tags["bonestrap.made_from"] == "teacher <- pretrained"
    assert len(client.search_model_versions("name = 'bonestrap'")) == 2  # the same weights are stored once
    compared = client.search_logged_models(list({client.get_run(champion.run_id).info.experiment_id}))
    tested = [model for model in compared if "test/accuracy" in {metric.key for metric in model.metrics}]
    assert len(tested) == 2 and len(compared) == 3  # the encoder has no test accuracy
    mlflow.set_tracking_uri(lab.mlflow)
    signature = mlflow.models.get_model_info("models:/bonestrap@champion").signature
    assert signature.inputs.inputs[0].shape == (-1, -1, -1, 25, 3)
    assert signature.outputs.inputs[0].shape == (-1, 16)
    serves(lab, processes, Path(student))


def serves(lab: Lab, processes: Any, student: Path) -> None:
    """`mlflow models serve` gives what the model gives, and refuses what does not fit."""
    import numpy as np
    import torch

    import bonestrap

    (port,) = ports(1)
    processes(
        lab.folder / "serve.log", sys.executable, "-m", "mlflow", "models", "serve", "-m",
        "models:/bonestrap@champion", "--env-manager", "local", "--port", str(port), "--workers", "1",
        environment=lab.environment,
    )  # fmt: skip
    waits_for(lambda: answers(f"http://127.0.0.1:{port}/ping"))
    joints = np.random.default_rng(0).normal(size=(2, 12, 2, 25, 3)).astype(np.float32)
    joints[1, 8:] = np.nan  # shorter
    joints[:, :, 1] = np.nan  # nobody else is there

    def ask(value: Any) -> Any:
        body = json.dumps({"inputs": value}).replace("NaN", "null").encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", data=body, headers={"Content-Type": "application/json"}
        )
        return json.load(urllib.request.urlopen(request, timeout=60))["predictions"]

    model = bonestrap.load(student)
    expected = torch.stack([model.predict(joints[0]), model.predict(joints[1])])
    torch.testing.assert_close(torch.tensor(ask(joints.tolist())), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(urllib.error.HTTPError, match="400"):
        ask(joints[:, :, :, :20].tolist())
