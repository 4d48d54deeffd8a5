"""The charts of pages: where everything is drawn, for the SVG macros of `templates/charts.html`.

Every chart on a page is SVG. Places in plots, histograms and bars are in percent, so that a chart takes the width of a
phone and its words keep their size; grids of cells are in pixels. What accuracies, confusion matrices and
feature maps show comes from `reports.figures`, which PNG pictures (`reports.pictures`) are drawn from as well.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reports.figures import Accuracies, Confusion, Error, Floor, Group, Point, spread
from reports.labels import Mark, apart, brief, place

STEPS = (1.0, 2.0, 5.0)  # ticks lie at these times a power of ten
FINE = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)  # where a logarithmic axis is short
MOST = 6  # values of an axis
TICKS = 14.0  # percent of the width between two values of an axis, at least
GAP = 12.0  # percent of the height between the names of two floors
HEIGHT = 340  # pixels of a plot
WIDTHS = (330, 400, 560, 1100)  # pixels that a plot may be wide; on narrower ones its names stand below it
LETTER = 8.0  # pixels of a letter of a name, at most
BESIDE = 14.0  # pixels between two points of one x
LEADER = 20  # pixels from which a line leads to a moved name
CELL = 26  # pixels of a cell of a grid
NARROW = 16  # pixels where there are many
NUMBERED = 40  # classes at most whose confusions are written as numbers
DARK = 55  # percent from which a cell's number is white
LONGEST = 22  # characters of a column's name
SHORT = 3  # characters that fit above a cell
THIN = 6.6  # pixels of a letter of such a name, at most


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
            every = [[(m, m * 10.0**p) for p in powers for m in steps] for steps in (FINE, STEPS, (1.0, 3.0), (1.0,))]
            choices = [[(m, tick) for m, tick in each if self.low <= tick <= self.high] for each in every]
            fitting = ([tick for _, tick in each] for each in choices if 1 < len(each) <= MOST)
            return next((ticks for ticks in fitting if self._spaced(ticks)), self._thinned(choices[0]))
        rough = (self.high - self.low) / 5 or 1
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (*STEPS, 10.0) if m * power >= rough)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def _spaced(self, ticks: Sequence[float]) -> bool:
        return all(self.at(after) - self.at(before) >= TICKS for before, after in itertools.pairwise(ticks))

    def _thinned(self, ticks: Sequence[tuple[float, float]]) -> list[float]:
        """Of (digits, value) those that leave each other room, the roundest first."""
        kept: list[float] = []
        for _, tick in sorted(ticks, key=lambda one: (one[0] not in STEPS, one)):
            if self._spaced(sorted([*kept, tick])):
                kept.append(tick)
        return sorted(kept)

    def written(self, value: float) -> str:
        """A tick in few characters: 20k, 3M, 0.05."""
        for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if value >= size:
                return f"{value / size:g}{letter}"
        return f"{value:.3g}"


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """Models against one of their properties, over floors. Places in percent, from the left and from the bottom."""

    title: str
    x: Axis
    y: Axis
    points: tuple[Spot, ...]
    floors: tuple[tuple[Floor, float], ...]  # each with the height of its label


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A point and its name. Its place is in percent from the left and from the top; pixels are added to it."""

    point: Point
    left: float
    top: float
    shift: float  # pixels to the right, where it would hide another one
    name: str
    x: float  # pixels from the point to the name
    y: float
    anchor: str

    @property
    def led(self) -> bool:
        """Whether a line leads to the name."""
        return abs(self.y) > LEADER


def scatter(shown: Accuracies, values: Sequence[float], axis: str, title: str) -> Scatter:
    """Accuracies against `values`, one for each of the models, on a logarithmic axis."""
    y = Axis(title="test accuracy (%)", low=0, high=min(100, shown.highest + 8))
    x = Axis(title=axis, low=min(values) / 1.6, high=max(values) * 1.6, log=True)
    names, lefts = brief([point.name for point in shown.points]), [x.at(value) for value in values]
    shifts = apart([left / 100 * min(WIDTHS) for left in lefts], BESIDE)
    marks = [
        Mark(
            name=name,
            x=left / 100,
            shift=shift,
            y=1 - y.at(point.accuracy) / 100,
            top=1 - y.at(point.high) / 100,
            bottom=1 - y.at(point.low) / 100,
            rings=tuple(1 - y.at(accuracy) / 100 for _, accuracy in point.random),
        )
        for name, point, left, shift in zip(names, shown.points, lefts, shifts, strict=True)
    ]
    offsets = place(marks, [(width, HEIGHT) for width in WIDTHS], LETTER)
    spots = [
        Spot(
            point=point, left=100 * mark.x, top=100 * mark.y, shift=mark.shift, name=mark.name, x=right, y=down,
            anchor=anchor,
        )
        for point, mark, (right, down, anchor) in zip(shown.points, marks, offsets, strict=True)
    ]  # fmt: skip
    floors = spread([y.at(floor.accuracy) for floor in shown.floors], gap=GAP)
    return Scatter(title=title, x=x, y=y, points=tuple(spots), floors=tuple(zip(shown.floors, floors, strict=True)))


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    kind: str = ""  # dashed or dotted


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


def mistaken(errors: Sequence[Error]) -> list[Bar]:
    """A bar for each pair of classes."""
    longest = max((one.count for one in errors), default=1)
    return [
        Bar(
            name=" → ".join(one.names),
            segments=stacked([(one.count, f"{one.names[0]} predicted as {one.names[1]}", "", "")], longest),
            value=f"{one.count:,} of {one.of:,}",
        )
        for one in errors
    ]


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
    room = 8 + 3 * len(str(top))  # percent of the width between two numbers
    between = next(n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10**6) if n * step / each > room)
    ticks = tuple((n * step / each, n) for n in range(0, len(counts) * each, between))
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
    """Named rows and columns of cells. Names of columns stand above them, slanted where they are words."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[Cell, ...]
    cell: int = CELL

    @property
    def slant(self) -> int:
        """Degrees; names above narrow cells stand upright."""
        return 0 if self._longest <= SHORT else -45 if self.cell == CELL else -90

    @property
    def top(self) -> int:
        """Pixels that the names of columns take."""
        return 24 if not self.slant else round(16 + self._reach(math.sin))

    @property
    def width(self) -> int:
        return len(self.columns) * self.cell + (round(self._reach(math.cos)) if self.slant else 0) + 4

    @property
    def height(self) -> int:
        return self.top + len(self.rows) * self.cell + 4

    @property
    def _longest(self) -> int:
        return max(map(len, self.columns), default=0)

    def _reach(self, side: Callable[[float], float]) -> float:
        return THIN * self._longest * side(math.radians(-self.slant))


def heatmap(table: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str) -> Grid:
    """Counts (rows, columns) as cells, the darker the more."""
    largest = max(int(table.max()), 1)
    cells = []
    for r, name in enumerate(rows):
        for c, column in enumerate(columns):
            count = int(table[r, c])
            shade = 0.12 + 0.88 * count / largest if count else 0.0
            cells.append(Cell(x=c * CELL, y=r * CELL, title=f"{name}, {column}: {count:,}", shade=shade))
    return Grid(title=title, rows=tuple(rows), columns=_cut(columns), cells=tuple(cells))


def confusion(matrix: Confusion) -> Grid:
    """A confusion matrix in percent of the true class."""
    classes, counts, percent = matrix.classes, matrix.counts, matrix.percent
    numbered = len(classes) <= NUMBERED
    cell, cells = CELL if numbered else NARROW, []
    for r, c in np.ndindex(*counts.shape):
        part = float(percent[r, c])
        kind = ("right" if r == c else "wrong") + (" dark" if part > DARK else "")
        text = f"{part:.0f}" if counts[r, c] and numbered else ""
        title = f"{classes[r]} predicted as {classes[c]}: {counts[r, c]:,} of {counts[r].sum():,}"
        shade = 0.05 + 0.95 * part / 100 if counts[r, c] else 0.0
        cells.append(Cell(x=c * cell, y=r * cell, title=title, shade=shade, kind=kind, text=text))
    return Grid(title="confusion matrix", rows=classes, columns=_cut(classes), cells=tuple(cells), cell=cell)


def _cut(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name if len(name) <= LONGEST else f"{name[: LONGEST - 1].rstrip()}…" for name in names)


def cloud(groups: Sequence[Group]) -> list[tuple[Group, list[tuple[float, float]]]]:
    """The recordings of each class in a box of 100 by 100, from the top left."""
    return [(group, [(3 + 0.94 * x, 97 - 0.94 * y) for x, y in group.points.tolist()]) for group in groups]
