"""How far a long piece of work is: a bar that is redrawn on a terminal, and a line every ten seconds elsewhere."""

from __future__ import annotations

import time
from collections import deque

from distributed.progress import Terminal, duration

WIDTH = 24
EIGHTHS = " ▏▎▍▌▋▊▉█"
EVERY = 0.2  # seconds between two looks at the clock
WINDOW = 15.0  # seconds over which the rate is taken: how long it took to start soon counts no more


class Bar:
    """Called with what is done and what there is in all: share, count, rate and time left."""

    def __init__(self, doing: str, what: str, screen: Terminal | None = None) -> None:
        self.doing, self.what = doing, what
        self.screen = screen or Terminal()
        self.seen: deque[tuple[float, int]] = deque()  # when how much was done, in the last seconds
        self.start: tuple[float, int] | None = None
        self.moved: float | None = None  # when the first piece was done: a rate of one piece says nothing

    def __call__(self, done: int, total: int) -> None:
        """The first call tells what was there already: it does not count to the rate."""
        now = time.monotonic()
        if self.seen and done < total and now - self.seen[-1][0] < EVERY:
            return
        self.screen.status(self.line(done, total, now), last=done == total)

    def line(self, done: int, total: int, now: float) -> str:
        """What is shown at this moment."""
        self.start = self.start or (now, done)
        self.seen.append((now, done))
        while now - self.seen[0][0] > WINDOW and len(self.seen) > 2:
            self.seen.popleft()
        since, before = self.seen[0] if done < total else self.start
        if self.moved is None and done > before:
            self.moved = now
        share = done / total if total else 1.0
        bar = f"{drawn(share)} " if self.screen.redraws else ""
        parts = [f"{self.doing} {bar}{share:4.0%}  {done:,}/{total:,} {self.what}"]
        if self.moved is not None and done > before and (now - self.moved > 1 or done == total):
            rate = (done - before) / max(now - since, 1e-3)
            parts += [f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"]
            parts += [f"{duration((total - done) / rate)} left" if done < total else f"in {duration(now - since)}"]
        return "  ".join(parts)

    def message(self, text: str) -> None:
        """Show a sentence above the bar."""
        self.screen.message(text)


def drawn(share: float) -> str:
    """The bar: eighths of a character are the smallest step."""
    whole, rest = divmod(round(share * WIDTH * 8), 8)
    return ("█" * whole + (EIGHTHS[rest] if rest else "")).ljust(WIDTH, "·")
