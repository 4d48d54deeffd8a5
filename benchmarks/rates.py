"""Rates per CPU-second of things that are done by turns, so that a noisy machine is noisy for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

Round = Callable[[], int]  # does some work and says how many samples it was


def by_turns(variants: Mapping[str, Round], seconds: float) -> dict[str, float]:
    """Samples a CPU-second of each: the best of the rounds that fit `seconds`, three at least, after a first one.

    CPU-seconds are those of the whole process, its threads included: the part of one core that a sample costs. The
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


class Printed:
    """The same as `table`, each row printed as soon as it is known; `example` is a row as wide as they come."""

    def __init__(self, header: tuple[str, ...], example: tuple[str, ...]) -> None:
        self.example = tuple(max(pair, key=len) for pair in zip(header, example, strict=True))
        self.row(header)

    def row(self, cells: tuple[str, ...]) -> None:
        print(table(self.example, [cells]).splitlines()[1], flush=True)


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Columns: the first to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = []
    for row in (header, *rows):
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip())
    return "\n".join(lines)
