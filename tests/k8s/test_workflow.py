"""The workflow, against an API server of ours: one stage after the other, once each, and on from where it stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAGES = ["pack", "pretrain", "finetune"]


class Api(ThreadingHTTPServer):
    """RayJobs that take three looks to end once they are let go."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.jobs: dict[str, dict[str, Any]] = {
            name: {"metadata": {"labels": {}}, "spec": {"suspend": True}, "status": {}} for name in STAGES
        }
        self.looks = dict.fromkeys(STAGES, 0)
        self.fails: dict[str, str] = {}
        self.order: list[str] = []
        self.away = 0  # answers that fail

    def ends(self, name: str) -> None:
        self.jobs[name]["status"] = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}


class Handler(BaseHTTPRequestHandler):
    server: Api

    def log_message(self, *words: object) -> None:
        """Nothing."""

    def answer(self, code: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        assert self.path == f"/apis/ray.io/v1/namespaces/lab/rayjobs/{name}"
        if self.server.away:
            self.server.away -= 1
            return self.answer(500, {})
        if self.headers["Authorization"] != "Bearer sesame" or name not in self.server.jobs:
            return self.answer(403, {})
        job = self.server.jobs[name]
        if not job["spec"]["suspend"] and not self.server.jobs[name]["status"].get("jobStatus"):
            self.server.looks[name] += 1
            job["status"] = {"jobDeploymentStatus": "Running"}
            if self.server.looks[name] == 3:
                self.server.ends(name)
                if name in self.server.fails:
                    job["status"] = {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "message": "disk full"}
        self.answer(200, job)

    def do_PATCH(self) -> None:
        name = self.path.rpartition("/")[2]
        assert self.headers["Content-Type"] == "application/merge-patch+json"
        patch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.order.append(name)
        self.server.jobs[name]["spec"].update(patch.get("spec", {}))
        self.server.jobs[name]["metadata"]["labels"].update((patch.get("metadata") or {}).get("labels", {}))
        self.answer(200, self.server.jobs[name])


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def workflow(api: Api, tmp_path: Path, patch: str = '{"spec":{"suspend":false}}') -> subprocess.CompletedProcess[str]:
    (tmp_path / "token").write_text("sesame\n")
    (tmp_path / "namespace").write_text("lab")
    given = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.server_port),
        "KUBERNETES_SERVICE_SCHEME": "http", "SERVICE_ACCOUNT": str(tmp_path), "POLL_SECONDS": "0.01",
        "STAGES": " ".join(STAGES), "RELEASE": patch,
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-I", str(ROOT / "k8s" / "base" / "workflow.py")],
        env=os.environ | given, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_stages_go_one_after_another(api: Api, tmp_path: Path) -> None:
    done = workflow(api, tmp_path)
    assert done.returncode == 0, done.stderr
    assert api.order == STAGES
    assert [line for line in done.stdout.splitlines() if line.endswith("complete")] == [
        f"{s}: complete" for s in STAGES
    ]


def test_it_goes_on_where_the_chain_stands(api: Api, tmp_path: Path) -> None:
    api.ends("pack")
    api.jobs["pretrain"]["spec"]["suspend"] = False  # let go before the workflow was killed
    assert workflow(api, tmp_path).returncode == 0
    assert api.order == ["finetune"]


def test_a_failed_stage_ends_it_with_a_sentence(api: Api, tmp_path: Path) -> None:
    api.fails["pretrain"] = "yes"
    done = workflow(api, tmp_path)
    assert done.returncode == 2
    assert "pretrain: FAILED (disk full); fix it" in done.stderr
    assert api.order == ["pack", "pretrain"]


def test_without_the_right_it_says_so(api: Api, tmp_path: Path) -> None:
    del api.jobs["finetune"]
    done = workflow(api, tmp_path)
    assert done.returncode == 2
    assert "finetune: the API server answers 403" in done.stderr


def test_an_api_server_that_is_away_is_a_failure_that_is_tried_again(api: Api, tmp_path: Path) -> None:
    api.away = 1
    assert workflow(api, tmp_path).returncode not in (0, 2)  # the Job starts another pod
    assert workflow(api, tmp_path).returncode == 0


def test_with_a_queue_it_releases_by_label_and_only_once(api: Api, tmp_path: Path) -> None:
    api.ends("pack")
    api.ends("finetune")
    api.jobs["pretrain"]["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "training"  # queued before the kill
    threading.Timer(0.3, lambda: api.ends("pretrain")).start()
    label = '{"metadata":{"labels":{"kueue.x-k8s.io/queue-name":"training"}}}'
    assert workflow(api, tmp_path, label).returncode == 0
    assert api.order == []
