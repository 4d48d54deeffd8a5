"""The charts of pages: where everything is drawn, for the SVG macros of `templates/charts.html`.

Every chart on a page is SVG. Places in plots, histograms and bars are in percent, so that a chart takes the width of a
phone and its words keep their size; grids of cells are in pixels. What accuracies, confusion matrices and
feature maps show comes from `reports.figures`, which PNG pictures (`reports.pictures`) are drawn from as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.figures import Accuracies, Confusion, Floor, Group, Point, spread

STEPS = (1.0, 2.0, 5.0)  # ticks lie at these times a power of ten
GAP = 6.0  # percent of the height between two labels
BRIEF = 20  # characters of a label that fit beside a point
CELL = 26  # pixels of a cell of a grid
NUMBERED = 40  # classes at most whose confusions are written as numbers
DARK = 55  # percent from which a cell's number is white
LONGEST = 26  # characters of a row's name


@dataclass(frozen=True, kw_only=True)
class Axis:
    """From a value to its place in percent."""

    title: str  # with the unit
    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """From the left or from the bottom."""
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return 100 * (value - low) / ((high - low) or 1)

    @property
    def ticks(self) -> list[float]:
        """Round values between the ends, half a dozen at most."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for steps in (STEPS, (1.0, 3.0), (1.0,)):
                found = [m * 10.0**p for p in powers for m in steps if self.low <= m * 10.0**p <= self.high]
                if len(found) <= 6:
                    break
            return found
        rough = (self.high - self.low) / 5 or 1
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (*STEPS, 10.0) if m * power >= rough)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def written(self, value: float) -> str:
        """A tick in few characters: 20k, 3M, 0.05."""
        for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if value >= size:
                return f"{value / size:g}{letter}"
        return f"{value:.3g}"


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """Models against one of their properties, over floors. Places in percent, from the left and from the bottom."""

    x: Axis
    y: Axis
    points: tuple[tuple[Point, float, str, float], ...]  # each with its x, its label, and the height of the label
    floors: tuple[tuple[Floor, float], ...]  # each with the height of its label


def scatter(shown: Accuracies, values: Sequence[float], title: str) -> Scatter:
    """Accuracies against `values`, one for each of the models, on a logarithmic axis."""
    y = Axis(title="test accuracy (%)", low=0, high=min(100, shown.highest + 8))
    x = Axis(title=title, low=min(values) / 1.6, high=max(values) * 1.6, log=True)
    heights = spread([y.at(point.accuracy) for point in shown.points], gap=GAP)
    names = brief([point.name for point in shown.points])
    floors = spread([y.at(floor.accuracy) for floor in shown.floors], gap=2 * GAP)
    return Scatter(
        x=x,
        y=y,
        points=tuple(zip(shown.points, values, names, heights, strict=True)),
        floors=tuple(zip(shown.floors, floors, strict=True)),
    )


def brief(names: Sequence[str]) -> list[str]:
    """The names, long ones cut at their end, or at their beginning where two would look alike otherwise."""
    heads = [name if len(name) <= BRIEF else f"{name[: BRIEF - 1].rstrip('-')}…" for name in names]
    tails = [name if len(name) <= BRIEF else f"…{name[1 - BRIEF :].lstrip('-')}" for name in names]
    return max(heads, tails, key=lambda cut: len(set(cut)))


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Curves over the same axes."""

    x: Axis
    y: Axis
    curves: tuple[Line, ...]

    def path(self, curve: Line) -> str:
        """The curve in a box of 100 by 100; a single measurement is a dot."""
        places = [f"{self.x.at(a):.2f},{100 - self.y.at(b):.2f}" for a, b in zip(curve.x, curve.y, strict=True)]
        return " ".join(places if len(places) > 1 else [places[0], places[0]])


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Part of a bar, in percent of the longest bar."""

    start: float
    width: float
    title: str
    kind: str = ""  # a class of the style sheet
    colour: str = ""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A named row of a bar chart."""

    name: str
    segments: tuple[Segment, ...]
    value: str


def stacked(parts: Sequence[tuple[float, str, str, str]], total: float) -> tuple[Segment, ...]:
    """(size, title, kind, colour) one after another, in percent of `total`."""
    out, start = [], 0.0
    for size, title, kind, colour in parts:
        width = 100 * size / (total or 1)
        out.append(Segment(start=start, width=width, title=title, kind=kind, colour=colour))
        start += width
    return tuple(out)


def bars(rows: Sequence[tuple[str, int, int]], *, marked: str = "") -> list[Bar]:
    """A bar a row (name, count, how many of them are marked); the longest fills the width."""
    longest = max((count for _, count, _ in rows), default=1)
    out = []
    for name, count, special in rows:
        title = f"{name}: {count:,}" + (f", of which {special:,} {marked}" if special else "")
        parts = [(count - special, title, "", ""), (special, title, "marked", "")]
        out.append(Bar(name=name, segments=stacked(parts, longest), value=f"{count:,}"))
    return out


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of whole numbers. Places in percent, bars from the bottom."""

    bars: tuple[tuple[float, float, float, str, bool], ...]  # left, width, height, title, whether it is marked
    median: float
    middle: float  # the place of the median
    ticks: tuple[tuple[float, int], ...]


def histogram(values: np.ndarray, *, unit: str, few: int = 0) -> Histogram:
    """How often which whole number occurs, with the median; what lies below `few` is marked."""
    values = np.asarray(values)
    top = int(np.quantile(values, 0.995)) + 1
    each = -(-top // 60)  # numbers a bar
    counts = np.bincount(np.minimum(values, top) // each)
    step = 100 / len(counts)
    out = []
    for bar, count in enumerate(counts):
        first = bar * each
        span = "or more" if bar == len(counts) - 1 and values.max() > top else f"to {first + each - 1}"
        height = 88 * count / max(counts.max(), 1)
        out.append((bar * step, step, float(height), f"{first} {span} {unit}: {count:,}", first + each <= few))
    median = float(np.median(values))
    apart = next(n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**6) if n * step / each > 12)
    ticks = tuple((n * step / each, n) for n in range(0, len(counts) * each, apart))
    return Histogram(bars=tuple(out), median=median, middle=median / each * step, ticks=ticks)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A square of a grid, in pixels. `shade` is in 0..1; nothing is there where it is 0."""

    x: int
    y: int
    title: str
    shade: float
    kind: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Named rows and columns of cells."""

    left: int
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[Cell, ...]
    top: int = CELL
    cell: int = CELL

    @property
    def width(self) -> int:
        return self.left + len(self.columns) * self.cell + 4

    @property
    def height(self) -> int:
        return self.top + len(self.rows) * self.cell + 4


def heatmap(table: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> Grid:
    """Counts (rows, columns) as cells, the darker the more."""
    largest, left = max(int(table.max()), 1), _left(rows)
    cells = []
    for r, name in enumerate(rows):
        for c, column in enumerate(columns):
            count = int(table[r, c])
            shade = 0.12 + 0.88 * count / largest if count else 0.0
            title = f"{name}, {column}: {count:,}"
            cells.append(Cell(x=left + c * CELL, y=CELL + r * CELL, title=title, shade=shade))
    return Grid(left=left, rows=_cut(rows), columns=tuple(columns), cells=tuple(cells))


def confusion(matrix: Confusion) -> Grid:
    """A confusion matrix in percent of the true class; columns are numbered as the rows are."""
    classes, counts, percent = matrix.classes, matrix.counts, matrix.percent
    rows = [f"{number} {name}" for number, name in enumerate(classes, 1)]
    left, cells = _left(rows), []
    for r, c in np.ndindex(*counts.shape):
        part = float(percent[r, c])
        kind = ("right" if r == c else "wrong") + (" dark" if part > DARK else "")
        text = f"{part:.0f}" if counts[r, c] and len(classes) <= NUMBERED else ""
        title = f"{classes[r]} predicted as {classes[c]}: {counts[r, c]:,} of {counts[r].sum():,}"
        shade = 0.05 + 0.95 * part / 100 if counts[r, c] else 0.0
        cells.append(
            Cell(x=left + c * CELL, y=CELL + r * CELL, title=title, shade=shade, kind=kind, text=text),
        )
    columns = tuple(str(number) for number in range(1, len(classes) + 1))
    return Grid(left=left, rows=_cut(rows), columns=columns, cells=tuple(cells))


def _left(rows: Sequence[str]) -> int:
    return 20 + 7 * max(len(name) for name in _cut(rows))


def _cut(rows: Sequence[str]) -> tuple[str, ...]:
    return tuple(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in rows)


def cloud(groups: Sequence[Group]) -> list[tuple[Group, list[tuple[float, float]]]]:
    """The recordings of each class in a box of 100 by 100, from the top left."""
    return [(group, [(3 + 0.94 * x, 97 - 0.94 * y) for x, y in group.points.tolist()]) for group in groups]
