"""Let the stages of a chain go, one after another: pack, pretrain, finetune, distill, evaluate, register.

The stages are RayJobs that are there from the beginning, suspended, so that every overlay's patches reach them and all
of them can be checked before anything runs. This takes the first that is not complete, lets it go with the merge patch
in `RELEASE`, waits for its end, and goes on. Its state is the cluster's own: it can be killed and started anywhere and
resumes the chain. Exit code 2, with a sentence, means that a stage has failed and somebody has to look.

It runs in the cluster with the standard library alone. The names of the stages come in `STAGES`.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ACCOUNT = Path(os.environ.get("SERVICE_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "10"))
MERGE = "application/merge-patch+json"


class Jobs:
    """The RayJobs of this namespace, through the API server."""

    def __init__(self) -> None:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        scheme = os.environ.get("KUBERNETES_SERVICE_SCHEME", "https")
        namespace = (ACCOUNT / "namespace").read_text().strip()
        self.root = f"{scheme}://{host}:{port}/apis/ray.io/v1/namespaces/{namespace}/rayjobs"
        self.trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt")) if scheme == "https" else None

    def get(self, name: str) -> dict[str, Any]:
        return self._ask(name)

    def release(self, name: str, patch: str) -> None:
        self._ask(name, patch.encode())

    def _ask(self, name: str, patch: bytes | None = None) -> dict[str, Any]:
        token = (ACCOUNT / "token").read_text().strip()  # read anew: it is replaced every hour
        headers = {"Authorization": f"Bearer {token}", "Content-Type": MERGE}
        request = urllib.request.Request(
            f"{self.root}/{name}", data=patch, headers=headers, method="PATCH" if patch else "GET"
        )
        with urllib.request.urlopen(request, timeout=30, context=self.trust) as answer:
            return json.load(answer)


def chain(jobs: Jobs, stages: list[str], patch: str) -> None:
    """Raises SystemExit with a sentence where a stage has failed, or is not there."""
    for stage in stages:
        released, said = False, ""
        while True:
            try:
                job = jobs.get(stage)
            except urllib.error.HTTPError as error:
                if error.code in (403, 404):
                    refuse(f"{stage}: the API server answers {error.code}; apply the overlay again")
                raise
            status = job.get("status") or {}
            state = status.get("jobDeploymentStatus") or "New"
            if state == "Complete" and status.get("jobStatus") in (None, "", "SUCCEEDED"):
                print(f"{stage}: complete", flush=True)
                break
            if state in ("Complete", "Failed", "ValidationFailed"):
                refuse(
                    f"{stage}: {status.get('jobStatus') or state} ({status.get('message') or 'no message'}); fix it, "
                    f"delete rayjob {stage} and job workflow, and apply the overlay again"
                )
            if not released and waits(job):
                jobs.release(stage, patch)
                print(f"{stage}: released", flush=True)
            released = True
            if state != said:
                print(f"{stage}: {state}", flush=True)
                said = state
            time.sleep(POLL_SECONDS)


def waits(job: dict[str, Any]) -> bool:
    """Whether nobody has let this job go yet: it is suspended, and in no queue that would admit it."""
    labels = job["metadata"].get("labels") or {}
    return bool(job["spec"].get("suspend")) and "kueue.x-k8s.io/queue-name" not in labels


def refuse(sentence: str) -> None:
    print(sentence, file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    chain(Jobs(), os.environ["STAGES"].split(), os.environ["RELEASE"])
