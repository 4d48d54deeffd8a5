"""What a run and whoever placed it tell each other: where each rank is, and that it is time to save or to leave."""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from distributed.lease import Job


class Left(RuntimeError):
    """The run has written a checkpoint and stopped because it was asked to; the same command goes on."""


class Notice(NamedTuple):
    """What a rank has been told since it last looked."""

    save: bool = False  # a machine will go away: write a checkpoint, and go on while it lasts
    leave: bool = False  # write a checkpoint and stop


class Watch(Protocol):
    """The side of a rank. Every call is cheap enough for every step."""

    job: Job

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While the loop runs."""

    def at(self, step: int, doing: str) -> None:
        """This rank has come to `doing` in `step`: what a hang is told by."""

    def notice(self) -> Notice:
        """Called by all ranks at the same steps."""

    def saved(self, step: int) -> None:
        """A checkpoint has been committed; called on the first rank, on any thread."""


class Alone:
    """A process that nobody placed. SIGTERM asks it to leave, as a scheduler does half a minute before it kills."""

    def __init__(self) -> None:
        self.job = Job(uuid.uuid4().hex)
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, frame: object) -> None:
            self.asked = True

        before = signal.signal(signal.SIGTERM, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def at(self, step: int, doing: str) -> None:
        return

    def notice(self) -> Notice:
        return Notice(leave=self.asked)

    def saved(self, step: int) -> None:
        return
