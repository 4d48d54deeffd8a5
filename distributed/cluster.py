"""Workers: this process alone, or Ray Train on one machine or many. Nothing else imports ray.

Ray places the workers, connects them and notices when one dies. Checkpoints are ours (`checkpoint.py`), and so is what
the user sees: Ray's own output is silenced, the first worker's screen is carried to the terminal where the command was
typed, and an exception on any worker is raised here as itself.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import traceback
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from distributed.progress import Screen, Terminal
from distributed.strategy import DDP, Single, Strategy, peer_lost
from shards.errors import DataError
from shards.parallel import ahead

T = TypeVar("T")
Item = TypeVar("Item")
Device = Literal["auto", "cpu", "cuda"]

ROOT = Path(__file__).resolve().parent.parent
POLL_SECONDS = 0.3
COLLECTIVE_TIMEOUT_SECONDS = 300  # Ray's default lets a hang last half an hour
ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # at the default of 2 s the end and a failure are noticed late
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class WorkersLost(RuntimeError):
    """A worker process died; the same command goes on from the newest checkpoint."""


def run(
    worker: Callable[[Strategy], T],
    *,
    workers: int,
    threads: int | None = None,
    device: Device = "auto",
    restarts: int = 2,
    storage: Path | None = None,
) -> T:
    """Call `worker(strategy)` on every worker and return what the first one returned.

    `workers=0` is this process, without Ray. `worker` and what it returns must be picklable, and paths in it absolute:
    it runs in other processes with another working directory. `threads` is for each worker's CPU arithmetic (None: an
    even share of this machine's cores). When a worker process dies, all start again, at most `restarts` times, and
    `worker` is expected to resume from its own checkpoints. `storage` is a folder that all nodes see, needed only for
    more than one; Ray keeps a few small files there.

    Raises what a worker raised, ValueError if the cluster lacks the GPUs, WorkersLost after too many deaths.
    """
    if workers < 0:
        raise ValueError(f"The number of workers is {workers}: give 0 for this process, or a positive number.")
    if workers == 0:
        if threads:
            torch.set_num_threads(threads)
        return worker(Single(local_device(device)))
    with connection(workers):
        on_gpu = place(workers, device)
        screen = Terminal()
        screen.message(f"Starting {workers} workers on {'GPUs' if on_gpu else 'CPUs'}.")
        lost = 0
        while True:
            board = new_board()
            with carried(board, screen), ray_storage(storage) as folder:
                try:
                    return attempt_run(worker, board, workers, threads or cores_each(workers), on_gpu, folder)
                except WorkersLost as death:
                    if lost == restarts:
                        raise
                    lost += 1
                    again = f"{death}: starting again from the newest checkpoint ({lost} of {restarts})"
            screen.message(again)


class Tasks:
    """Work that needs no talk between workers, such as packing: a `shards.parallel.Spread` over Ray's tasks.

    At most `workers` are at work at once (None: one a core of the cluster), on any machines; all of them must see the
    files that are read. A task whose process or machine dies is done again elsewhere.
    """

    def __init__(self, workers: int | None) -> None:
        self.workers = workers

    def __call__(self, function: Callable[[Item], T], items: Iterable[Item]) -> Generator[T, None, None]:
        """Raises what `function` raises, and DataError where a task dies again and again."""
        with connection(self.workers or 1):
            import ray

            workers = self.workers or int(ray.cluster_resources().get("CPU", 1))
            shared = ray.put(function)
            task = ray.remote(num_cpus=1, max_retries=3)(on_item)

            def finished(running: set[Any]) -> set[Any]:
                return set(ray.wait(list(running), fetch_local=False)[0])

            for result in ahead(lambda item: task.remote(shared, item), iter(items), workers, finished):
                try:
                    yield ray.get(result)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from None
                except ray.exceptions.RayError as error:
                    kind = type(error).__name__
                    raise DataError(f"a packing task died four times ({kind}); start the same command again") from error


def on_item(function: Callable[[Item], T], item: Item) -> T:
    """What a task runs."""
    torch.set_num_threads(1)
    return function(item)


def local_device(device: Device) -> torch.device:
    """Where `--workers 0` trains. Raises ValueError if a GPU is asked for and there is none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("No GPU is usable here: give --device cpu, or install a PyTorch build with CUDA.")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def cores_each(workers: int) -> int:
    return max(1, len(os.sched_getaffinity(0)) // workers) if hasattr(os, "sched_getaffinity") else 1


@contextmanager
def connection(workers: int) -> Iterator[None]:
    """Connect to the cluster of `RAY_ADDRESS` (as inside a submitted job) or start one here, and leave it as it was."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    common = {"log_to_driver": False, "logging_level": "ERROR", "runtime_env": {"env_vars": import_path()}}
    if address := os.environ.get("RAY_ADDRESS"):
        ray.init(address, **common)
    else:
        cores = max(os.cpu_count() or 1, workers)
        ray.init("local", num_cpus=cores, include_dashboard=False, object_store_memory=128 * 2**20, **common)
    try:
        yield
    finally:
        ray.shutdown()


def import_path() -> dict[str, str]:
    """The environment in which a worker finds `launch`, `distributed`, `shards` and `bonestrap`.

    A submitted job may set the path itself; Ray refuses to set a variable twice.
    """
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") or "{}")
    if "PYTHONPATH" in ((job.get("runtime_env") or {}).get("env_vars") or {}):
        return {}
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}


def place(workers: int, device: Device) -> bool:
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
    worker: Callable[[Strategy], T], board: Any, workers: int, threads: int, on_gpu: bool, folder: str
) -> T:
    """One run of Ray Train: the first worker's result. Raises what a worker raised, WorkersLost if a process died."""
    import ray
    from ray.train import RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    trainer = TorchTrainer(
        on_worker(worker, board, threads),
        torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo", timeout_s=COLLECTIVE_TIMEOUT_SECONDS),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=on_gpu),
        run_config=RunConfig(name=f"bonestrap-{uuid.uuid4().hex[:12]}", storage_path=folder),  # a name is never reused
    )
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        return unpickled(trainer.fit().return_value)
    except TrainingFailedError as failure:
        error = ray.get(board.first_error.remote())
        if error is not None:
            raise unpickled(error) from None
        raise WorkersLost("A worker process died, or could not be reached any more") from failure
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, interrupt)  # Ray puts its own in place and leaves it


def on_worker(worker: Callable[[Strategy], T], board: Any, threads: int) -> Callable[[], bytes]:
    """What each worker process runs; the result travels pickled, as Ray refuses tensors in it."""

    def main() -> bytes:
        import ray.train.torch
        from ray import cloudpickle

        torch.set_num_threads(threads)
        strategy = DDP(ray.train.torch.get_device(), BoardScreen(board))
        try:
            return cloudpickle.dumps(worker(strategy))
        except BaseException as error:
            if not peer_lost(error):  # the rank that ended first says why, if it can
                ray.get(board.fail.remote(pickled(error, strategy.rank)))
            raise

    return main


def pickled(error: BaseException, rank: int) -> bytes:
    """An exception with its traceback as a note, as bytes that the other side can always read."""
    from ray import cloudpickle

    error.add_note(f"On worker {rank}:\n{''.join(traceback.format_exception(error))}")
    bare = error.with_traceback(None)
    bare.__cause__ = bare.__context__ = None
    with suppress(Exception):
        data = cloudpickle.dumps(bare)
        if isinstance(cloudpickle.loads(data), BaseException):
            return data
    return cloudpickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))


def unpickled(data: bytes) -> Any:
    from ray import cloudpickle

    return cloudpickle.loads(data)


class Board:
    """A Ray actor between the workers and the terminal: what was said, and the first exception."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.line: tuple[str, bool] | None = None
        self.error: bytes | None = None

    def message(self, text: str) -> None:
        self.messages.append(text)

    def status(self, text: str, last: bool) -> None:
        self.line = (text, last)

    def fail(self, error: bytes) -> None:
        self.error = self.error or error

    def first_error(self) -> bytes | None:
        return self.error

    def take(self) -> tuple[list[str], tuple[str, bool] | None]:
        """What was said since the last call."""
        said = (self.messages, self.line)
        self.messages, self.line = [], None
        return said


def new_board() -> Any:
    import ray

    return ray.remote(num_cpus=0)(Board).remote()


class BoardScreen:
    """The first worker's screen: sends to the board and waits for nothing."""

    def __init__(self, board: Any) -> None:
        self.board = board

    def status(self, text: str, *, last: bool = False) -> None:
        self.board.status.remote(text, last)

    def message(self, text: str) -> None:
        self.board.message.remote(text)


@contextmanager
def carried(board: Any, screen: Screen) -> Iterator[None]:
    """While open, show on `screen` what arrives on the board."""
    import ray

    over = threading.Event()

    def show() -> None:
        messages, line = ray.get(board.take.remote())
        for text in messages:
            screen.message(text)
        if line is not None:
            screen.status(line[0], last=line[1])

    def follow() -> None:
        while not over.wait(POLL_SECONDS):
            with suppress(ray.exceptions.RayError):
                show()

    thread = threading.Thread(target=follow, name="screen", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with suppress(ray.exceptions.RayError):
            show()
