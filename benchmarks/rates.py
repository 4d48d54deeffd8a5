"""Rates per CPU-second of things that are done by turns, so that a noisy machine is noisy for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

CELL = 8  # characters of a column whose rows are not known yet
Round = Callable[[], int]  # does some work and says how many samples it was


def by_turns(variants: Mapping[str, Round], seconds: float) -> dict[str, float]:
    """Samples a CPU-second of each: the best of the rounds that fit `seconds`, three at least, after a first one.

    CPU-seconds are those of the whole process, its threads included: the fraction of one core that a sample costs. The
    best round is the one that other programs disturbed least.
    """
    for work in variants.values():
        work()
    best = dict.fromkeys(variants, 0.0)
    began, rounds = time.perf_counter(), 0
    while rounds < 3 or time.perf_counter() - began < seconds:
        for name, work in variants.items():
            before = time.process_time()
            count = work()
            best[name] = max(best[name], count / (time.process_time() - before))
        rounds += 1
    return best


def resident_bytes(field: str = "VmRSS") -> int:
    """What this process holds in memory, or with VmHWM the most that it ever held. Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


class Table:
    """A table whose rows are printed as they are known: what was measured before a run ended is there to read."""

    def __init__(self, header: tuple[str, ...]) -> None:
        self.widths = [max(len(cell), CELL) for cell in header]
        self.row(*header)

    def row(self, *cells: str) -> None:
        first, *rest = (cell.strip() for cell in cells)
        numbers = [cell.rjust(width) for cell, width in zip(rest, self.widths[1:], strict=True)]
        print("  ".join([first.ljust(self.widths[0]), *numbers]).rstrip(), flush=True)


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Columns: the first to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = []
    for row in (header, *rows):
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip())
    return "\n".join(lines)
