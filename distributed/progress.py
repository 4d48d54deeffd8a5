"""What a person sees while a run trains: one status line, and messages above it.

`Progress` writes the line, a `Screen` shows it. The two are apart because the line is written where rank 0 trains and
shown where the command was typed, which may be another machine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol, TextIO

from shards.storage.redaction import redacted

REDRAW_SECONDS = 0.5  # a terminal's line, and the pace at which a worker sends it
REPRINT_SECONDS = 10.0  # a new line each time, where the output is a file or a pipe


class Screen(Protocol):
    """Where text for the user goes."""

    def status(self, text: str, *, last: bool = False) -> None:
        """Show `text` in place of the status line before it; `last` leaves it standing."""

    def message(self, text: str) -> None:
        """Show a line that stays: a warning, an event."""


class Silence:
    """The screen of every rank but the first."""

    def status(self, text: str, *, last: bool = False) -> None:
        return

    def message(self, text: str) -> None:
        return


class Terminal:
    """Standard error: the line is redrawn on a terminal, and printed anew every ten seconds elsewhere.

    A file on a full disk, or a pipe that nobody reads any more, loses what is shown and does not stop a run.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.redraws = self.stream.isatty()
        self.drawn = 0
        self.shown = float("-inf")

    def status(self, text: str, *, last: bool = False) -> None:
        now = time.monotonic()
        if self.redraws:
            self.write("\r" + text.ljust(self.drawn) + ("\n" if last else ""))
            self.drawn = 0 if last else len(text)
        elif last or now - self.shown >= REPRINT_SECONDS:
            self.write(text + "\n")
        else:
            return
        self.shown = now

    def message(self, text: str) -> None:
        self.write(("\r" + " " * self.drawn + "\r" if self.drawn else "") + redacted(text) + "\n")
        self.drawn = 0

    def write(self, text: str) -> None:
        with suppress(OSError):
            self.stream.write(text)
            self.stream.flush()


class Progress:
    """The status line: step, loss, the probe beside raw joints, clips a second, time left, fraction of it spent waiting."""

    def __init__(self, screen: Screen, *, title: str, steps: int) -> None:
        self.screen, self.title, self.steps = screen, title, steps
        self.values: dict[str, float] = {}
        self.shown = float("-inf")

    def update(self, values: Mapping[str, float]) -> None:
        """Remember the newest values of metrics; those without a place in the line are ignored."""
        self.values.update(values)

    def show(self, step: int, *, seconds_per_step: float, last: bool = False) -> None:
        """Draw the line after `step` steps; cheap enough to be called every step, as most calls draw nothing."""
        now = time.monotonic()
        if not last and now - self.shown < REDRAW_SECONDS:
            return
        self.shown = now
        self.screen.status(self.line(step, seconds_per_step), last=last)

    def line(self, step: int, seconds_per_step: float) -> str:
        parts = [f"{self.title} {step}/{self.steps}"]
        for name, form in (
            ("loss", "loss {:.4f}"),
            ("knn", "kNN {:.1%}"),
            ("linear", "linear {:.1%}"),
            ("raw_joints", "(raw joints {:.1%})"),
            ("clips_per_second", "{:,.0f} clips/s"),
        ):
            if name in self.values:
                parts.append(form.format(self.values[name]))
        if "data_wait" in self.values:
            parts.append(f"{self.values['data_wait']:.0%} waiting for data")
        if seconds_per_step > 0:
            parts.append(f"{duration((self.steps - step) * seconds_per_step)} left")
        return "  ".join(parts)


def duration(seconds: float) -> str:
    """3725 -> "1:02:05", 65 -> "1:05"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
