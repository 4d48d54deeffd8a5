"""Ray Train without what only delays a run's first step.

`ray.train.torch` imports PyTorch where a trainer is made and in Ray's controller, seconds each before the first worker
starts. On CPUs the workers are connected here instead, with PyTorch in the processes that train and in no other.
"""

from __future__ import annotations

import dataclasses
import os
from contextlib import suppress
from datetime import timedelta
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy

END_SECONDS = 30  # for the workers to leave the group

Address = tuple[str, int]


# ---------------------------------------------------------------------- what is left out


def spare(trainer: Any) -> None:
    """Leave out processes that Ray would start, seconds each: one for data sets of Ray's, of which there are none, and,
    where the cluster ends with this command anyhow, one that tidies up after it and one that asks for more machines."""
    unneeded = {"DatasetsCallback"}
    alone = not os.environ.get("RAY_ADDRESS")
    if alone:
        unneeded.add("PlacementGroupCleanerCallback")
    with suppress(AttributeError):  # these are no public names of Ray's
        every, started = trainer._create_default_callbacks, trainer._initialize_and_run_controller
        trainer._create_default_callbacks = lambda: [one for one in every() if type(one).__name__ not in unneeded]
        if alone:
            trainer._initialize_and_run_controller = lambda **given: started(
                **{**given, "scaling_policy": OneMachine(trainer.scaling_config)}
            )


class OneMachine(FixedScalingPolicy):
    """A fixed number of workers, of which no autoscaler is told: this machine does not grow."""

    def after_controller_start(self, train_run_context: Any) -> None:
        return

    def _maybe_send_resource_request(self) -> None:
        return


# ---------------------------------------------------------------------- the process group


@dataclasses.dataclass
class GlooConfig(BackendConfig):
    """What Ray Train connects the workers by: with it, the seconds after which a collective fails on its own."""

    timeout_s: int = 1800

    @property
    def backend_cls(self) -> type[Backend]:
        return Gloo

    @property
    def framework(self) -> Any:
        """What Ray's dashboard shows the version of."""
        from ray.train.v2._internal.util import TrainingFramework

        return TrainingFramework.TORCH


class Gloo(Backend):
    """Called in Ray's controller before the workers' function starts and after it has ended."""

    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        assert isinstance(backend_config, GlooConfig)
        address, world = worker_group.execute_single(0, free_address), len(worker_group)
        joining = [
            worker_group.execute_single_async(rank, join, rank, world, address, backend_config.timeout_s)
            for rank in range(world)
        ]
        ray.get(joining)

    def on_shutdown(self, worker_group: Any, backend_config: BackendConfig) -> None:
        with suppress(ray.exceptions.GetTimeoutError):
            ray.get(worker_group.execute_async(leave), timeout=END_SECONDS)


def free_address() -> Address:
    """Where the first worker can listen."""
    from ray.train._internal.utils import get_address_and_port

    host, port = get_address_and_port()
    return str(host), int(port)


def join(rank: int, world: int, address: Address, seconds: float) -> None:
    """Make this worker one of the process group, with the environment that torch's launchers give."""
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
