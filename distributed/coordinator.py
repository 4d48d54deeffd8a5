"""Between the workers and the terminal: an actor that hears where each rank is and passes on what is said.

It tells a hang from slow work: all ranks wait for each other several times a step, so when none has moved for long, the
one that is furthest behind is what the others wait for.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from distributed.lease import Job
from distributed.progress import Screen
from distributed.watch import Departure

T = TypeVar("T")

POLL_SECONDS = 0.3
STARTING_SECONDS = 900.0  # at least, before workers that are still reading their data count as hung


class WorkerHung(RuntimeError):
    """No worker has moved for longer than the hang timeout; the message names the one that the others wait for."""


class Position(NamedTuple):
    """How far a rank has come, in the order of the loop."""

    step: int = -1
    event: int = 0  # of the step
    doing: str = "starting"


class Presence(NamedTuple):
    """Where a rank lives."""

    pid: int
    node: str  # Ray's id
    address: str
    log: str  # the file of its standard error, on its machine


class Coordinator:
    """The actor's state. One coordinator an attempt.

    Its calls take turns on one event loop; those that wait hold up none. Ray may deliver them in another order than
    that in which one process made them, so what is to be shown carries the time at which it was said.
    """

    def __init__(self, world: int, hang_seconds: float) -> None:
        self.world, self.hang_seconds = world, hang_seconds
        self.messages: list[tuple[int, str]] = []
        self.line: tuple[str, bool] | None = None
        self.line_at = -1
        self.error: bytes | None = None
        self.present: dict[int, Presence] = {}
        self.positions: dict[int, Position] = {}
        self.moved: dict[int, float] = {}  # when each rank's position last changed, by this process's clock
        self.stacks: dict[int, str] = {}
        self.over = False  # a worker has hung
        self.failed, self.leaving, self.agreed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.begun: dict[int, int] = {}  # how many steps each rank had begun when it heard that the run is to stop
        self.newest = 0  # step of the newest checkpoint

    def message(self, at: int, text: str) -> None:
        self.messages.append((at, text))

    def status(self, at: int, text: str, last: bool) -> None:
        if at > self.line_at:
            self.line, self.line_at = (text, last), at

    def fail(self, error: bytes) -> None:
        self.error = self.error or error
        self.failed.set()

    async def failure(self) -> None:
        """Returns once a worker has failed."""
        await self.failed.wait()

    def first_error(self) -> bytes | None:
        return self.error

    def arrive(self, rank: int, presence: Presence) -> None:
        self.present[rank] = presence

    def presences(self) -> dict[int, Presence]:
        return self.present

    def saved(self, step: int) -> None:
        self.newest = max(self.newest, step)

    def newest_saved(self) -> int:
        return self.newest

    def ask_to_leave(self) -> None:
        self.leaving.set()

    async def departure(self) -> None:
        """Returns once the run has been asked to stop."""
        await self.leaving.wait()

    async def last_step(self, rank: int, begun: int) -> int:
        """After how many steps all ranks stop: as many as the first of them has begun, as it needs the others' help.

        `begun` is this rank's number, which it will not exceed before it has the answer.
        """
        self.begun[rank] = begun
        if len(self.begun) == self.world:
            self.agreed.set()
        await self.agreed.wait()
        return max(self.begun.values())

    def take(self) -> tuple[list[str], tuple[str, bool] | None]:
        """What was said since the last call."""
        said = ([text for _, text in sorted(self.messages)], self.line)
        self.messages, self.line = [], None
        return said

    def beat(self, rank: int, position: Position, stack: str) -> bool:
        """A rank says where it is, every second or so; True tells it to end its process."""
        now = time.monotonic()
        if self.positions.get(rank) != position:
            self.positions[rank], self.moved[rank] = position, now
        self.stacks[rank] = stack
        if not self.over and (said := self.hang(now)):
            self.over = True
            self.fail(pickled(WorkerHung(said)))
        return self.over

    def hang(self, now: float) -> str:
        """What to say of a hang; empty as long as any rank has moved lately."""
        still = now - max(self.moved.values())
        at = [self.positions.get(rank, Position()) for rank in range(self.world)]
        behind = min(at)
        # Whoever is past the first step has waited for all: a rank whose beats tell of no step has stopped since.
        begun = behind.step >= 0 or max(at).step > 0
        patience = self.hang_seconds if begun else max(self.hang_seconds, STARTING_SECONDS)
        if still < patience:
            return ""
        ranks = [rank for rank in range(self.world) if at[rank] == behind]
        where = f"step {behind.step + 1}, {behind.doing}"
        if len(ranks) == self.world:
            return (
                f"No worker has moved for {still:.0f} s and none is behind ({where}): "
                "the network between them may be broken; the same command resumes from the newest checkpoint."
            )
        stack = self.stacks.get(ranks[0], "")
        return (
            f"Worker {' and '.join(map(str, ranks))} has hung at {where}: nothing has moved for {still:.0f} s while "
            "the others wait for it; the same command resumes from the newest checkpoint."
            + (f"\nIt stands at:\n{stack}" if stack else "")
        )


def new_coordinator(world: int, hang_seconds: float) -> Any:
    """A coordinator on the machine of the command that asks, so that it is not lost with a worker's."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Coordinator).remote(world, hang_seconds)


def asked(answer: Any, otherwise: T) -> T:
    """What the coordinator answers, or `otherwise` where its process is no more."""
    import ray

    try:
        return ray.get(answer)
    except ray.exceptions.RayError:
        return otherwise


class CoordinatorScreen:
    """The first worker's screen: sends to the coordinator and waits for nothing."""

    def __init__(self, coordinator: Any) -> None:
        self.coordinator = coordinator

    def status(self, text: str, *, last: bool = False) -> None:
        self.coordinator.status.remote(time.monotonic_ns(), text, last)

    def message(self, text: str) -> None:
        self.coordinator.message.remote(time.monotonic_ns(), text)


class CoordinatorWatch:
    """A worker's side of the coordinator. Machines that will be taken away are told of by Ray."""

    def __init__(self, coordinator: Any, rank: int, job: Job, hang_seconds: float) -> None:
        self.coordinator, self.rank, self.job = coordinator, rank, job
        self.hang_seconds = hang_seconds
        self.position, self.moved = Position(), time.monotonic()
        self.departure = Departure()
        self.warned: Any = None  # the preemption that was already answered
        self.gauges: dict[str, Any] = {}  # what Ray's metrics have of the run, by the journal's names
        self.over = threading.Event()
        self.worker = threading.get_ident()
        for work in (self.beat, self.depart):
            threading.Thread(target=work, name="watch", daemon=True).start()

    def beat(self) -> None:
        import ray

        pause = min(1.0, self.hang_seconds / 5)
        while not self.over.wait(pause):
            stuck = time.monotonic() - self.moved > self.hang_seconds / 2
            with suppress(ray.exceptions.RayError):
                if ray.get(self.coordinator.beat.remote(self.rank, self.position, self.stack() if stuck else "")):
                    os._exit(1)  # nothing else ends a thread that waits in a collective

    def depart(self) -> None:
        """Wait until the run is asked to stop, and agree with the other ranks on the step after which it does."""
        import ray

        with suppress(ray.exceptions.RayError):
            ray.get(self.coordinator.departure.remote())
            with self.departure.agreeing() as begun:
                self.departure.last = ray.get(self.coordinator.last_step.remote(self.rank, begun))

    def stack(self) -> str:
        """Where the training thread stands, the innermost calls."""
        frame = sys._current_frames().get(self.worker)
        return "".join(traceback.format_stack(frame)[-4:]) if frame else ""

    @contextmanager
    def listening(self) -> Iterator[None]:
        self.worker = threading.get_ident()
        try:
            yield
        finally:
            self.at(self.position.step, "ending")

    def at(self, step: int, doing: str) -> None:
        event = self.position.event + 1 if step == self.position.step else 0
        self.position, self.moved = Position(step, event, doing), time.monotonic()

    def leaves(self, done: int) -> bool:
        return self.departure.due(done)

    def preempted(self) -> bool:
        from ray import train

        ask = getattr(train, "get_preemption_info", None)  # not in every version
        info = ask() if ask else None
        new = info is not None and info != self.warned
        if new:
            self.warned = info
            if self.rank == 0:
                CoordinatorScreen(self.coordinator).message("A machine will be taken away: writing a checkpoint.")
        return new

    def saved(self, step: int) -> None:
        self.coordinator.saved.remote(step)

    def measured(self, run: str, step: int, values: Mapping[str, float]) -> None:
        if os.environ.get("RAY_TRAIN_METRICS_ENABLED") == "0":
            return
        from ray.util.metrics import Gauge

        for name, value in {"step": step, **values}.items():
            if name not in self.gauges:
                known = f"bonestrap_{re.sub(r'[^A-Za-z0-9_]', '_', name)}"
                self.gauges[name] = Gauge(known, f"{name} of a training run", tag_keys=("run",))
            self.gauges[name].set(float(value), tags={"run": run})

    def close(self) -> None:
        self.over.set()


@contextmanager
def relayed(coordinator: Any, screen: Screen) -> Iterator[None]:
    """While open, show on `screen` what arrives on the coordinator."""
    import ray

    over = threading.Event()

    def show() -> None:
        messages, line = ray.get(coordinator.take.remote())
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


def pickled(error: BaseException, rank: int | None = None) -> bytes:
    """An exception with its traceback as a note, as bytes that the other side can always read."""
    from ray import cloudpickle

    if rank is not None:
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
