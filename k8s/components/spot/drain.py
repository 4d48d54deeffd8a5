"""Tell Ray that this node will be taken away in so many seconds, and give the run that long to write a checkpoint.

A pod's preStop hook runs this, at the end of a job too. So it ends at once where no worker of a run is on this node, or
where the head has gone before. Otherwise Ray tells every worker of the run, and they write a checkpoint at the same
step; then the node is left alone until the worker has left it or the seconds are over.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

ANSWER_SECONDS = 3.0  # for the head
RESERVE_SECONDS = 10  # of the notice, for Ray's own end


def main(seconds: int) -> None:
    if not answers(os.environ["RAY_ADDRESS"]):  # KubeRay sets it
        return
    import ray

    ray.init(address="auto", log_to_driver=False)
    node, address = ray.get_runtime_context().get_node_id(), ray.get_runtime_context().gcs_address
    if works(node):
        subprocess.run(
            [
                *("ray", "drain-node", "--address", address, "--node-id", node),
                *("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the machine is taken away"),
                *("--deadline-remaining-seconds", str(seconds)),
            ],
            check=True,
        )
        end = time.monotonic() + seconds - RESERVE_SECONDS
        while time.monotonic() < end and works(node):
            time.sleep(1)
    ray.shutdown()


def answers(address: str) -> bool:
    """Whether the head is still there: Ray's own attempts to reach it take a minute."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


def works(node: str) -> bool:
    """Whether an actor on this node holds a CPU or GPU, as the workers of a run do and nothing that outlives them."""
    from ray.exceptions import RayError
    from ray.util.state import list_actors
    from ray.util.state.exception import RayStateApiException

    here = [("state", "=", "ALIVE"), ("node_id", "=", node)]
    try:
        actors = list_actors(filters=here, detail=True, timeout=int(ANSWER_SECONDS))
    except (RayStateApiException, RayError, OSError):  # the head has gone meanwhile
        return False
    return any(actor.required_resources for actor in actors)


if __name__ == "__main__":
    main(int(sys.argv[1]))
