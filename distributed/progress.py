"""What a person sees of a long piece of work: one status line, and messages above it.

`Progress` writes the line of a training run and `Bar` that of work that is counted; a `Screen` shows it. The two are
apart because a run's line is written where rank 0 trains and shown where the command was typed, which may be another
machine.
"""

from __future__ import annotations

import atexit
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol, TextIO

from shards.storage.redaction import redacted

REDRAW_SECONDS = 0.5  # a terminal's line, and the pace at which a worker sends it
REPRINT_SECONDS = 10.0  # a new line each time, where the output is a file or a pipe
LOOK_SECONDS = 0.2  # between two looks of a bar at the clock
WINDOW_SECONDS = 15.0  # over which a bar's rate is taken: how long it took to start soon counts no more
BAR_WIDTH = 24  # characters


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
    """Standard error. On a terminal the line is redrawn by rich; elsewhere, and without rich, it is printed anew every
    ten seconds.

    A file on a full disk, or a pipe that nobody reads any more, loses what is shown and does not stop a run.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.live = Live.on(self.stream)
        self.shown = float("-inf")

    def status(self, text: str, *, last: bool = False, fraction: float | None = None) -> None:
        """As `Screen.status`; a `fraction` of the work is drawn as a bar before the text."""
        now = time.monotonic()
        if self.live is not None:
            with suppress(OSError):
                self.live.show(text, fraction, last=last)
        elif last or now - self.shown >= REPRINT_SECONDS:
            self.write(text)
            self.shown = now

    def message(self, text: str) -> None:
        if self.live is None:
            self.write(redacted(text))
            return
        with suppress(OSError):
            self.live.console.print(redacted(text), markup=False, highlight=False, emoji=False, soft_wrap=True)

    def write(self, text: str) -> None:
        with suppress(OSError):
            self.stream.write(text + "\n")
            self.stream.flush()


class Live:
    """The last line of a terminal, drawn by rich."""

    def __init__(self, console: Any) -> None:
        self.console = console
        self.drawn: Any = None  # while a line is on the screen
        atexit.register(self.stop)  # rich hides the cursor meanwhile

    @classmethod
    def on(cls, stream: TextIO) -> Live | None:
        """None where the stream is no terminal that can move its cursor, or rich is not installed."""
        if not stream.isatty():
            return None
        try:
            from rich.console import Console
        except ModuleNotFoundError:
            return None
        console = Console(file=stream)
        return cls(console) if console.is_terminal and not console.is_dumb_terminal else None

    def show(self, text: str, fraction: float | None, *, last: bool) -> None:
        from rich import live, progress_bar, table
        from rich.text import Text

        line: Any = Text(text, no_wrap=True, overflow="ellipsis")
        if fraction is not None:
            row = table.Table.grid(padding=(0, 2))
            row.add_row(progress_bar.ProgressBar(total=1.0, completed=fraction, width=BAR_WIDTH), line)
            line = row
        if self.drawn is None:
            self.drawn = live.Live(
                console=self.console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            )
            self.drawn.start()
        self.drawn.update(line, refresh=True)
        if last:
            self.stop()

    def stop(self) -> None:
        """Leave the line standing and give the cursor back."""
        if self.drawn is not None:
            with suppress(OSError, ValueError):  # a stream that is closed by now
                self.drawn.stop()
            self.drawn = None


class Progress:
    """The status line: step, loss, the probe beside raw joints, clips a second, fraction spent waiting, time left."""

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


class Bar:
    """Called with what is done and what there is in all: fraction, count, rate and time left."""

    def __init__(self, doing: str, what: str, screen: Terminal | None = None) -> None:
        self.doing, self.what = doing, what
        self.screen = screen or Terminal()
        self.seen: deque[tuple[float, int]] = deque()  # when how much was done, in the last seconds
        self.start: tuple[float, int] | None = None
        self.moved: float | None = None  # when the first piece was done: a rate of one piece says nothing

    def __call__(self, done: int, total: int) -> None:
        """The first call tells what was there already: it does not count to the rate."""
        now = time.monotonic()
        if self.seen and done < total and now - self.seen[-1][0] < LOOK_SECONDS:
            return
        fraction = done / total if total else 1.0
        self.screen.status(self.line(done, total, now), last=done == total, fraction=fraction)

    def line(self, done: int, total: int, now: float) -> str:
        """What is shown at this moment."""
        self.start = self.start or (now, done)
        self.seen.append((now, done))
        while now - self.seen[0][0] > WINDOW_SECONDS and len(self.seen) > 2:
            self.seen.popleft()
        since, before = self.seen[0] if done < total else self.start
        if self.moved is None and done > before:
            self.moved = now
        parts = [f"{self.doing} {done / total if total else 1.0:4.0%}  {done:,}/{total:,} {self.what}"]
        if self.moved is not None and done > before and (now - self.moved > 1 or done == total):
            rate = (done - before) / max(now - since, 1e-3)
            parts += [f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"]
            parts += [f"{duration((total - done) / rate)} left" if done < total else f"in {duration(now - since)}"]
        return "  ".join(parts)

    def message(self, text: str) -> None:
        """Show a sentence above the bar."""
        self.screen.message(text)


def duration(seconds: float) -> str:
    """3725 -> "1:02:05", 65 -> "1:05"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
