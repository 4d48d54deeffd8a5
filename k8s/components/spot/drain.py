"""Tell Ray that this node will be taken away in so many seconds, and give the run that long to write a checkpoint.

A pod's preStop hook runs this. Ray tells every worker of a run, and they write a checkpoint at the same step; then the
node is left alone until Kubernetes ends it.
"""

from __future__ import annotations

import subprocess
import sys
import time


def main(seconds: int) -> None:
    import ray

    ray.init(address="auto", log_to_driver=False)
    node, address = ray.get_runtime_context().get_node_id(), ray.get_runtime_context().gcs_address
    ray.shutdown()
    subprocess.run(
        [
            *("ray", "drain-node", "--address", address, "--node-id", node),
            *("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the machine is taken away"),
            *("--deadline-remaining-seconds", str(seconds)),
        ],
        check=True,
    )
    time.sleep(max(0, seconds - 10))


if __name__ == "__main__":
    main(int(sys.argv[1]))
