"""The hook of a pod that is taken away, on a Ray of one node: it waits for a run's worker, and for nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distributed.coordinator import new_coordinator

ROOT = Path(__file__).resolve().parents[2]
DRAIN = ROOT / "k8s" / "components" / "spot" / "drain.py"
NOTICE = "600"  # seconds: far longer than what these tests wait


def hook(address: str) -> subprocess.Popen[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [sys.executable, str(DRAIN), NOTICE], env={**os.environ, "RAY_ADDRESS": address, "PATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def ends(process: subprocess.Popen[str]) -> None:
    try:
        said = process.communicate(timeout=120)[0]
    finally:
        process.kill()
    assert process.returncode == 0, said


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "include_dashboard": True, "dashboard_port": free_port()}
    made = Cluster(initialize_head=True, head_node_args=node)
    ray.init(made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


def test_at_the_end_of_a_job_it_ends_at_once(cluster: Any) -> None:
    coordinator = new_coordinator(1, 60)  # ours, which holds no core, may be on any node
    ends(hook(cluster.address))
    del coordinator


def test_it_waits_for_the_worker_of_a_run(cluster: Any) -> None:
    import ray

    class Worker:
        def ready(self) -> bool:
            return True

    worker = ray.remote(num_cpus=1)(Worker).remote()
    ray.get(worker.ready.remote())
    process = hook(cluster.address)
    try:
        while process.poll() is None and not ray._private.state.state.get_draining_nodes():
            time.sleep(0.1)
        assert ray._private.state.state.get_draining_nodes(), "Ray has not been told"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(10)
        ray.kill(worker)
        ends(process)
    finally:
        process.kill()


def test_without_a_head_it_ends_at_once() -> None:
    ends(hook(f"127.0.0.1:{free_port()}"))
    ends(hook("gone.invalid:6379"))
