"""Workers on several nodes; apart from the other tests, whose connection to Ray `run` would use."""

from __future__ import annotations

import os

import pytest
import torch

from distributed import cluster, connection
from distributed.workers import WorkerConfig, Workers
from shards.packing.parallel import cores


def test_a_worker_alone_on_its_node_has_all_of_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine where the command runs says nothing of the workers': in a cluster it is the head's pod."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    for name, value in connection.ENVIRONMENT.items():
        monkeypatch.setenv(name, os.environ.get(name, value))
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for address in ("127.0.0.2", "127.0.0.3"):
            nodes.add_node(num_cpus=1, node_ip_address=address)
        nodes.wait_for_nodes()
        monkeypatch.setenv("RAY_ADDRESS", nodes.address)
        assert (
            cluster.run(lambda strategy: torch.get_num_threads(), WorkerConfig(workers=Workers(2, 2), device="cpu"))
            == cores()
        )
    finally:
        nodes.shutdown()
