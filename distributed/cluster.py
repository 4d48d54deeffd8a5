"""Workers: this process alone, or Ray Train on one machine or many.

Ray places the workers, connects them and notices when one dies. How many there are and whether to start again is
decided here, where it is known which numbers divide the groups of a step evenly. Checkpoints are ours
(`checkpoint.py`), and so is what the user sees: Ray's own output is silenced, the first worker's screen is relayed to
the terminal where the command was typed, and an exception on any worker is raised here as itself.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import queue
import signal
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from distributed.connection import connection, room
from distributed.coordinator import (
    STARTING_SECONDS,
    CoordinatorScreen,
    CoordinatorWatch,
    Presence,
    asked,
    new_coordinator,
    pickled,
    relayed,
    unpickled,
)
from distributed.lease import Job
from distributed.progress import Terminal
from distributed.watch import GracefulStop, Stop, TrainingStopped, sigterm
from distributed.workers import Device, Kind, WorkerConfig, local_device
from shards.packing.parallel import cores

if TYPE_CHECKING:
    from distributed.strategy import Strategy

T = TypeVar("T")
# A collective gives up this much later than the coordinator, which knows who it waits for and says so. NCCL ends the
# process of a collective that takes too long, without a word that a user could act on.
COLLECTIVE_GRACE_SECONDS = 120
LOOK_SECONDS = 2.0  # between two looks at how many workers the cluster has room for
LOG_LINES = 15  # of a dead worker's standard error
TOGETHER = (GracefulStop, TrainingStopped)  # what all ranks raise after the same step


class WorkersLost(RuntimeError):
    """A worker process or its machine is gone; the same command resumes from the newest checkpoint."""

    def __init__(self, text: str, lines: list[str]) -> None:
        super().__init__(text)
        self.lines = lines  # the last of what the lost workers wrote to standard error


def run(worker: Callable[[Strategy], T], config: WorkerConfig) -> T:
    """Call `worker(strategy)` on every worker and return what the first one returned.

    No workers is this process, without Ray. `worker` and what it returns must be picklable, and paths in it absolute:
    it runs in other processes with another working directory. When a worker process or its machine is lost, all start
    again, with another number if there is a range, and `worker` is expected to resume from its own checkpoints. When
    there is room for more workers of a range, they stop at a checkpoint and more start.

    Raises what a worker raised (a user's mistake is not tried again; GracefulStop after SIGTERM), ValueError if the
    cluster lacks the GPUs, WorkerHung when nothing moves any more, WorkersLost when workers die again and again without
    a new checkpoint.
    """
    if config.workers.max == 0:
        import torch

        from distributed.strategy import Single

        if config.strategy != "ddp":
            raise ValueError(f"--strategy {config.strategy} divides state among workers: give --workers 2 or more.")
        torch.set_num_threads(config.threads or min(torch.get_num_threads(), cores()))
        return worker(Single(local_device(config.device)))
    with connection(config.workers.max), sigterm() as stop:
        on_gpu = uses_gpus(config.workers.min, config.device)
        resource = "GPU" if on_gpu else "CPU"
        job, screen, lost = uuid.uuid4().hex, Terminal(), 0
        for attempt in range(10**9):
            count = worker_count(config, resource)
            screen.message(f"{'Starting' if not attempt else 'Resuming with'} {count} workers on {resource}s.")
            coordinator = new_coordinator(count, config.hang_seconds)
            try:
                with relayed(coordinator, screen), asked_to_leave(coordinator, config, count, resource, stop):
                    return attempt_run(worker, coordinator, config, Job(job, attempt), count, on_gpu)
            except GracefulStop:
                if stop.asked:
                    raise
                screen.message("There is room for more workers.")
            except WorkersLost as death:
                lost = 1 if asked(coordinator.newest_saved.remote(), 0) else lost + 1
                said = "\n".join(["", *death.lines])
                if lost > config.restarts:
                    raise WorkersLost(f"{death}, {lost} times without a new checkpoint{said}", death.lines) from None
                again = f"starting again from the newest checkpoint ({lost} of {config.restarts})"
                screen.message(f"{death}: {again}.{said}")
    raise AssertionError("unreachable")


def worker_count(config: WorkerConfig, resource: str) -> int:
    """How many workers to start now."""
    if not config.workers.elastic:
        return config.workers.max
    import ray

    with suppress(Exception):  # a cluster that can grow should; others do not know this request
        ray.autoscaler.sdk.request_resources(bundles=[{resource: 1}] * config.workers.max)
    return config.workers.choose(config.groups or config.workers.max, room(resource))


@contextmanager
def asked_to_leave(coordinator: Any, config: WorkerConfig, count: int, resource: str, stop: Stop) -> Iterator[None]:
    """While open, tell the workers to stop at a checkpoint when this process is to end or more workers would fit."""
    over = threading.Event()

    def look() -> None:
        more = 0  # times seen: a node that has only just come may go at once
        while not over.is_set():
            if stop.asked or more >= 2:
                coordinator.ask_to_leave.remote()
                return
            with suppress(queue.Empty):
                stop.bell.get(timeout=LOOK_SECONDS)
            with suppress(Exception):
                grown = config.workers.elastic and config.workers.choose(
                    config.groups or config.workers.max, room(resource)
                )
                more = more + 1 if grown and grown > count else 0

    thread = threading.Thread(target=look, name="cluster", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        stop.bell.put(None)
        thread.join()


def uses_gpus(workers: int, device: Device) -> bool:
    """Whether the workers train on GPUs, one each. Raises ValueError if they were asked for and are too few."""
    import ray

    gpus = int(ray.cluster_resources().get("GPU", 0))
    if device == "cpu" or (device == "auto" and gpus == 0):
        return False
    if gpus < workers:
        raise ValueError(f"{workers} workers need a GPU each and the cluster has {gpus}: lower --workers to {gpus}.")
    return True


@contextmanager
def ray_storage(storage: Path | None) -> Iterator[str]:
    """Where Ray keeps its own state: `storage`, or a folder that goes away with the run."""
    if storage is not None:
        yield str(storage.resolve())
        return
    with tempfile.TemporaryDirectory(prefix="bonestrap-ray-", ignore_cleanup_errors=True) as folder:
        yield folder


def attempt_run(
    worker: Callable[[Strategy], T], coordinator: Any, config: WorkerConfig, job: Job, count: int, on_gpu: bool
) -> T:
    """One run of Ray Train: the first worker's result. Raises what a worker raised, WorkersLost if a process died."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    limits = {"max_failures": 0, "controller_failure_limit": 0, "max_preemption_failures": 0}
    known = {field.name for field in dataclasses.fields(FailureConfig)}
    if not config.workers.elastic:  # a fixed number waits until there is room
        del limits["controller_failure_limit"]
    with ray_storage(config.storage) as folder:
        trainer = TorchTrainer(
            on_worker(worker, coordinator, config, job),
            torch_config=TorchConfig(
                backend="nccl" if on_gpu else "gloo", timeout_s=collective_timeout(config.hang_seconds)
            ),
            scaling_config=ScalingConfig(num_workers=count, use_gpu=on_gpu),
            run_config=RunConfig(
                name=f"{config.name}-{uuid.uuid4().hex[:12]}",  # a name is never reused
                storage_path=folder,
                failure_config=FailureConfig(**{key: value for key, value in limits.items() if key in known}),
            ),
        )
        spare(trainer)
        interrupt = signal.getsignal(signal.SIGINT)
        try:
            return unpickled(trainer.fit().return_value)
        except TrainingFailedError as failure:
            error = asked(coordinator.first_error.remote(), None)
            if error is not None:
                raise unpickled(error) from None
            raise lost_workers(asked(coordinator.presences.remote(), {}), failure) from failure
        except SystemExit:  # Ray's own answer to SIGINT, with code 1 and without a word
            raise KeyboardInterrupt from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, interrupt)  # Ray puts its own in place and leaves it


def collective_timeout(hang_seconds: float) -> int:
    """Seconds after which a collective fails on its own: later than any hang is reported, that of a start included."""
    return math.ceil(max(hang_seconds, STARTING_SECONDS)) + COLLECTIVE_GRACE_SECONDS


def spare(trainer: Any) -> None:
    """Leave out two processes that Ray would start, seconds each: one for data sets of Ray's, of which there are none,
    and, where the cluster ends with this command anyhow, one that tidies up after it."""
    unneeded = {"DatasetsCallback"}
    if not os.environ.get("RAY_ADDRESS"):
        unneeded.add("PlacementGroupCleanerCallback")
    with suppress(AttributeError):  # not a public name of Ray's
        every = trainer._create_default_callbacks
        trainer._create_default_callbacks = lambda: [one for one in every() if type(one).__name__ not in unneeded]


def lost_workers(present: dict[int, Presence], failure: Any) -> WorkersLost:
    """Which workers were lost, where, and the last that they said."""
    lost = [
        rank
        for rank, error in sorted(getattr(failure, "worker_failures", {}).items())
        if rank in present and died(error)
    ]
    if not lost:
        return WorkersLost("The workers died, or could not be reached any more", [])
    who = " and ".join(f"{rank} (process {present[rank].pid} on {present[rank].address})" for rank in lost)
    lines = [f"  {rank} | {line}" for rank in lost for line in last_lines(present[rank])]
    return WorkersLost(f"Worker {who} died", lines)


def died(error: BaseException) -> bool:
    """Whether Ray means that a worker is no more, and not what its function has raised over another's end."""
    return type(error).__name__.startswith("WorkerHealthCheck")


def last_lines(worker: Presence) -> list[str]:
    """The end of a worker's standard error, wherever it was; nothing if its machine is gone as well."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    if Path(worker.log).is_file():
        return tail(worker.log)
    with suppress(Exception):
        there = NodeAffinitySchedulingStrategy(worker.node, soft=False)
        task = ray.remote(num_cpus=0, scheduling_strategy=there)(tail)
        return ray.get(task.remote(worker.log), timeout=5)
    return []


def tail(file: str) -> list[str]:
    lines = Path(file).read_text(errors="replace").splitlines()
    return [line for line in lines if line and not line.startswith(":")][-LOG_LINES:]  # ":" marks what is Ray's own


def on_worker(worker: Callable[[Strategy], T], coordinator: Any, config: WorkerConfig, job: Job) -> Callable[[], bytes]:
    """What each worker process runs; the result travels pickled, as Ray refuses tensors in it."""

    def main() -> bytes:
        import ray.train.torch
        import torch
        from ray import cloudpickle

        from distributed.strategy import peer_lost

        context = ray.train.get_context()
        torch.set_num_threads(config.threads or max(1, cores() // context.get_local_world_size()))
        rank = context.get_world_rank()
        ray.get(coordinator.arrive.remote(rank, here()))
        watch = CoordinatorWatch(coordinator, rank, job, config.hang_seconds)
        try:
            strategy = strategy_class(config.strategy)(
                ray.train.torch.get_device(), CoordinatorScreen(coordinator), watch
            )
            return cloudpickle.dumps(worker(strategy))
        except BaseException as error:
            if rank and isinstance(error, TOGETHER):  # Ray ends all workers after one: the first still has to write
                with suppress(ray.exceptions.RayError):
                    ray.get(coordinator.failure.remote())
            if not peer_lost(error):  # the rank that ended first says why, if it can
                ray.get(coordinator.fail.remote(pickled(error, rank)))
            raise
        finally:
            watch.close()

    return main


def strategy_class(kind: Kind) -> Callable[..., Strategy]:
    if kind == "ddp":
        from distributed.strategy import DDP

        return DDP
    from distributed.zero import ZeRO

    return functools.partial(ZeRO, 1 if kind == "zero1" else 2)


def here() -> Presence:
    """This worker process."""
    import ray

    log = ""
    with suppress(Exception):  # not a public name of Ray's
        log = ray._private.worker.global_worker.get_err_file_path()
    return Presence(os.getpid(), ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address(), log)
