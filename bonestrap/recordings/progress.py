"""How far a long work is: to a function, or as a line on stderr with the rate and the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

Progress = bool | Callable[[int, int], object]  # a function of (done, total); True: a line on stderr

TERMINAL, FILE = 0.1, 10.0  # seconds between two lines


class Reporter:
    """Told how many recordings are done."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0
        self.began = self.shown = time.monotonic()

    def add(self, count: int) -> None:
        """So many more are done."""
        self.done += count
        if callable(self.progress):
            self.progress(self.done, self.total)
        elif self.progress:
            self._show()

    def _show(self) -> None:
        now, terminal = time.monotonic(), sys.stderr.isatty()
        if self.done < self.total and now - self.shown < (TERMINAL if terminal else FILE):
            return
        self.shown = now
        end = "\n" if self.done == self.total or not terminal else ""
        print(("\r" if terminal else "") + line(self.done, self.total, now - self.began), end=end, file=sys.stderr)
        sys.stderr.flush()


def line(done: int, total: int, seconds: float) -> str:
    """ "1,280 of 10,560 recordings, 412 a second, 0:23 left"."""
    rate = done / max(seconds, 1e-9)
    left = round((total - done) / rate) if done else 0
    said = f"{done:,} of {total:,} recordings, {rate:,.0f} a second"
    return f"{said}, {left // 60}:{left % 60:02} left" if done < total else f"{said}, {seconds:.1f} s in all"
