"""Connect the workers of Ray Train on CPUs, with PyTorch in the processes that train and in no other.

`ray.train.torch` does the same, and imports PyTorch where a trainer is made and in Ray's controller as well, seconds
each before the first worker starts. Workers on GPUs, and those of submitted jobs, are connected by it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta
from typing import Any

END_SECONDS = 30  # for the workers to leave the group

Address = tuple[str, int]


def by_gloo(seconds: int) -> Any:
    """What a trainer is given to make its workers one process group, whose collectives fail after so many seconds."""
    import ray
    from ray.train.backend import Backend, BackendConfig

    class Gloo(Backend):  # called in Ray's controller, before the workers' function and after it
        def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
            address, world = worker_group.execute_single(0, free_address), len(worker_group)
            joining = [
                worker_group.execute_single_async(rank, join, rank, world, address, seconds) for rank in range(world)
            ]
            ray.get(joining)

        def on_shutdown(self, worker_group: Any, backend_config: BackendConfig) -> None:
            with suppress(ray.exceptions.GetTimeoutError):
                ray.get(worker_group.execute_async(leave), timeout=END_SECONDS)

    class GlooConfig(BackendConfig):
        @property
        def backend_cls(self) -> type[Backend]:
            return Gloo

        @property
        def framework(self) -> Any:  # whose version Ray's dashboard shows
            from ray.train.v2._internal.util import TrainingFramework

            return TrainingFramework.TORCH

    return GlooConfig()


def free_address() -> Address:
    """Where the first worker can listen."""
    from ray.train._internal.utils import get_address_and_port

    host, port = get_address_and_port()
    return str(host), int(port)


def join(rank: int, world: int, address: Address, seconds: float) -> None:
    """Make this worker one of the process group, with the environment that torch's launchers give."""
    import ray.train
    from torch import distributed

    context = ray.train.get_context()
    variables = {
        "MASTER_ADDR": address[0], "MASTER_PORT": address[1], "RANK": rank, "WORLD_SIZE": world,
        "LOCAL_RANK": context.get_local_rank(), "LOCAL_WORLD_SIZE": context.get_local_world_size(),
        "NODE_RANK": context.get_node_rank(),
    }  # fmt: skip
    os.environ.update({name: str(value) for name, value in variables.items()})
    distributed.init_process_group("gloo", rank=rank, world_size=world, timeout=timedelta(seconds=seconds))


def leave() -> None:
    """Close the connections to the other workers."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
