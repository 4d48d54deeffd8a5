"""How far a long piece of work is: a bar that is redrawn on a terminal, and a line every ten seconds elsewhere."""

from __future__ import annotations

import time

from distributed.progress import Terminal, duration

WIDTH = 24
EIGHTHS = " ▏▎▍▌▋▊▉█"


class Bar:
    """Called with what is done and what there is in all: share, count, rate and time left."""

    def __init__(self, doing: str, what: str, screen: Terminal | None = None) -> None:
        self.doing, self.what = doing, what
        self.screen = screen or Terminal()
        self.started: tuple[float, int] | None = None  # when, and how much was done by then
        self.drawn = 0.0

    def __call__(self, done: int, total: int) -> None:
        """The first call tells what was there already: it does not count to the rate."""
        now = time.monotonic()
        if self.started is None:
            self.started = (now, done)
        if done < total and now - self.drawn < 0.2:
            return
        self.drawn = now
        self.screen.status(self.line(done, total, now), last=done == total)

    def line(self, done: int, total: int, now: float) -> str:
        """What is shown at this moment."""
        since, before = self.started or (now, done)
        share = done / total if total else 1.0
        bar = f"{drawn(share)} " if self.screen.redraws else ""
        parts = [f"{self.doing} {bar}{share:4.0%}  {done:,}/{total:,} {self.what}"]
        if done > before and now > since:
            rate = (done - before) / (now - since)
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
