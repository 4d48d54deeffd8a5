"""What a run and whoever placed it tell each other: where each rank is, and that it is time to save or to leave."""

from __future__ import annotations

import queue
import signal
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from distributed.lease import Job


class GracefulStop(RuntimeError):
    """The run has written a checkpoint and stopped because it was asked to; the same command resumes."""


class TrainingStopped(RuntimeError):
    """The run cannot continue; the message says at which step and on which rank, and what is left."""


class Stop:
    """Whether this process has been told to end. A bell rings then: unlike a lock, a queue is safe in a handler."""

    def __init__(self) -> None:
        self.asked = False
        self.bell: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ask(self, number: int, frame: object) -> None:
        self.asked = True
        self.bell.put(None)


@contextmanager
def sigterm() -> Iterator[Stop]:
    """While open, SIGTERM does not end this process (in whose main thread this must be) and is noted."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGTERM, stop.ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


class Departure:
    """One rank's side of the agreement on the step after which all ranks stop.

    None may stop while another needs it for a step that has begun. So each says, on a thread beside its work, how many
    steps it has begun; the highest number is the last step, and until that is known nobody begins another.
    """

    def __init__(self) -> None:
        self.turn = threading.Condition()
        self.begun = -1  # steps that the training thread has begun or done
        self.open = False  # the question, which holds up the next step
        self.last: int | None = None  # steps after which all ranks stop

    @contextmanager
    def agreeing(self) -> Iterator[int]:
        """While open, no step begins but those whose number this gives; `last` is set inside, if an answer comes."""
        with self.turn:
            self.open, begun = True, self.begun
        try:
            yield begun
        finally:
            with self.turn:
                self.open = False
                self.turn.notify_all()

    def due(self, done: int) -> bool:
        """Whether to stop after `done` steps; if not, the next begins."""
        with self.turn:
            self.turn.wait_for(lambda: not self.open)
            if self.last is not None and done >= self.last:
                return True
            self.begun = done + 1
            return False


class Watch(Protocol):
    """The side of a rank. Every call is cheap enough for every step."""

    job: Job

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While the loop runs."""

    def at(self, step: int, doing: str) -> None:
        """This rank has come to `doing` in `step`: what a hang is told by."""

    def leaves(self, done: int) -> bool:
        """Whether to write a checkpoint and stop after `done` steps: the same answer on every rank.

        Called by all ranks before their first step and after every one; where the answer is no, the next step begins.
        """

    def preempted(self) -> bool:
        """Whether a machine will go away, told once: write a checkpoint, and continue while it lasts."""

    def saved(self, step: int) -> None:
        """A checkpoint has been committed; called on the first rank, on any thread."""

    def measured(self, run: str, step: int, values: Mapping[str, float]) -> None:
        """What the journal of a run has gained, after `step` steps; called on the first rank."""


class Alone:
    """A process that nobody placed. SIGTERM asks it to leave, as a scheduler does some time before it kills."""

    def __init__(self) -> None:
        self.job = Job(uuid.uuid4().hex)
        self.stop = Stop()

    @contextmanager
    def listening(self) -> Iterator[None]:
        with sigterm() as self.stop:
            yield

    def at(self, step: int, doing: str) -> None:
        return

    def leaves(self, done: int) -> bool:
        return self.stop.asked

    def preempted(self) -> bool:
        return False

    def saved(self, step: int) -> None:
        return

    def measured(self, run: str, step: int, values: Mapping[str, float]) -> None:
        return
