"""Where the names of points stand in a plot: beside their points, and over no other name, point or interval."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NEAR = 13  # pixels between a point and its name
ROW = 17  # pixels of a line of text
BRIEF = 20  # characters of a name that fit beside a point
REACH = 6  # lines that a name may be moved up or down
PASSES = 3  # over all names, each then seeing where the others went
APART, COVERED, OUTSIDE, CROSSED = 1000.0, 400.0, 250.0, 25.0  # cost of a name over another, a point, the edge, a line

Offset = tuple[float, float, str]  # pixels to the right and down, and the anchor of the text


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A named point in fractions of the plot, from the left and from the top."""

    name: str
    x: float
    y: float
    shift: float  # pixels that it is moved to the right
    top: float  # of its interval
    bottom: float
    rings: tuple[float, ...] = ()  # heights of what else stands at the same x


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def over(self, other: Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def place(marks: Sequence[Mark], sizes: Sequence[tuple[float, float]], letter: float) -> list[Offset]:
    """An offset for every name that fits all `sizes` of the plot, (width, height) in pixels.

    `letter` is the width of a letter in pixels. Names are placed one after another, each where it covers least.
    """
    chosen: list[Offset] = [(NEAR, 0.0, "start")] * len(marks)
    placed: list[int] = []
    order = sorted(range(len(marks)), key=lambda n: (marks[n].y, marks[n].x))
    for number in order * PASSES:
        others = [n for n in placed if n != number]
        chosen[number] = min(
            candidates(), key=lambda offset: _cost(number, offset, others, chosen, marks, sizes, letter)
        )
        placed = [*others, number]
    return chosen


def candidates() -> Iterator[Offset]:
    """The offsets that are tried, the nearest first."""
    for lines in range(REACH + 1):
        for sign in (-1, 1) if lines else (1,):
            for side, anchor in ((1, "start"), (-1, "end")):
                yield side * float(NEAR), sign * lines * float(ROW), anchor
            if lines:
                yield 0.0, sign * (lines + 0.1) * ROW, "middle"


def box(mark: Mark, offset: Offset, size: tuple[float, float], letter: float) -> Box:
    """What a name covers."""
    right, down, anchor = offset
    width = letter * len(mark.name)
    x, y = mark.x * size[0] + mark.shift + right, mark.y * size[1] + down
    left = x - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
    return Box(left=left - 1, top=y - ROW / 2, right=left + width + 1, bottom=y + ROW / 2)


def _cost(
    number: int,
    offset: Offset,
    others: Sequence[int],
    chosen: Sequence[Offset],
    marks: Sequence[Mark],
    sizes: Sequence[tuple[float, float]],
    letter: float,
) -> float:
    total = abs(offset[1]) + (8.0 if offset[2] != "start" else 0.0)
    for size in sizes:
        mine = box(marks[number], offset, size, letter)
        total += APART * sum(mine.over(box(marks[n], chosen[n], size, letter)) for n in others)
        total += OUTSIDE * (mine.left < 0 or mine.right > size[0] or mine.top < -ROW or mine.bottom > size[1])
        for mark in marks:
            x = mark.x * size[0] + mark.shift
            for y, radius in itertools.chain([(mark.y, 8.0)], ((ring, 5.0) for ring in mark.rings)):
                total += COVERED * mine.over(_around(x, y * size[1], radius))
            line = Box(left=x - 2, top=mark.top * size[1], right=x + 2, bottom=mark.bottom * size[1])
            total += CROSSED * mine.over(line)
    return total


def _around(x: float, y: float, radius: float) -> Box:
    return Box(left=x - radius, top=y - radius, right=x + radius, bottom=y + radius)


def apart(places: Sequence[float], gap: float) -> list[float]:
    """How far to move each place so that those closer than `gap` stand side by side around their middle."""
    order = sorted(range(len(places)), key=lambda n: places[n])
    groups: list[list[int]] = []
    for number in order:
        if groups and places[number] - places[groups[-1][-1]] < gap:
            groups[-1].append(number)
        else:
            groups.append([number])
    moved = [0.0] * len(places)
    for group in groups:
        middle = sum(places[number] for number in group) / len(group)
        for rank, number in enumerate(group):
            moved[number] = middle + (rank - (len(group) - 1) / 2) * gap - places[number] if len(group) > 1 else 0.0
    return moved


def brief(names: Sequence[str]) -> list[str]:
    """The names, long ones cut at their end, or at their beginning where two would look alike otherwise."""
    heads = [name if len(name) <= BRIEF else f"{name[: BRIEF - 1].rstrip('-')}…" for name in names]
    tails = [name if len(name) <= BRIEF else f"…{name[1 - BRIEF :].lstrip('-')}" for name in names]
    return max(heads, tails, key=lambda cut: len(set(cut)))
