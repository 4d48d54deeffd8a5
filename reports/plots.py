"""Plots for a page as HTML: positions are percentages and words keep their size, so that a phone shows them as well.

Every plot has titles with units on both axes. Colours are those of Okabe and Ito, which colour-blind readers tell
apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from reports.pictures import OKABE_ITO, spread

STEPS = (1.0, 2.0, 5.0)  # ticks lie at these times a power of ten
GAP = 6.0  # percent of the height between two labels
BRIEF = 20  # characters of a label that fit beside a point
SHAPES = (  # of classes that share a colour
    "M-1.2,0a1.2,1.2 0 1,0 2.4,0a1.2,1.2 0 1,0 -2.4,0z",
    "M0,-1.6L1.5,1.1L-1.5,1.1z",
    "M-1.1,-1.1h2.2v2.2h-2.2z",
    "M0,-1.6L1.6,0L0,1.6L-1.6,0z",
    "M-1.5,-0.4h1.1v-1.1h0.8v1.1h1.1v0.8h-1.1v1.1h-0.8v-1.1h-1.1z",
)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """From a value to its place in percent."""

    title: str  # with the unit
    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
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


@dataclass(frozen=True, kw_only=True)
class Point:
    """A model: its interval is drawn as a line through it. A hollow point was measured in another way."""

    name: str
    x: float
    y: float
    low: float
    high: float
    colour: str
    said: str  # the figures in words
    hollow: bool = False


@dataclass(frozen=True, kw_only=True)
class Floor:
    """A dashed line across the plot."""

    name: str
    y: float


def scatter(points: Sequence[Point], floors: Sequence[Floor], x: Axis, y: Axis, *, under: str = "") -> str:
    """Named points with their intervals over dashed floors, and over what lies `under` them."""
    out = [under]
    heights = spread([y.at(floor.y) for floor in floors], gap=2 * GAP)
    for floor, height in zip(floors, heights, strict=True):
        out.append(
            f'<i class="floor" style="bottom:{y.at(floor.y):.2f}%"></i>'
            f'<span class="label floor" style="bottom:{height:.2f}%">{escape(floor.name)}</span>'
        )
    heights = spread([y.at(point.y) for point in points], gap=GAP)
    for point, name, height in zip(points, brief([point.name for point in points]), heights, strict=True):
        left, bottom, tall = x.at(point.x), y.at(point.low), y.at(point.high) - y.at(point.low)
        colour = f"--c:{point.colour}"
        # A label stands to the right of a point in the left part of the plot, and to the left in the right part.
        place = f"left:{left:.2f}%" if left <= 50 else f"right:{100 - left:.2f}%"
        hollow = " hollow" if point.hollow else ""
        out.append(
            f'<i class="range" style="left:{left:.2f}%;bottom:{bottom:.2f}%;height:{tall:.2f}%;{colour}"></i>'
            f'<b class="point{hollow}" style="left:{left:.2f}%;bottom:{y.at(point.y):.2f}%;{colour}" '
            f'title="{escape(point.said)}"></b>'
            f'<span class="label" style="{place};bottom:{height:.2f}%;{colour}" title="{escape(point.name)}">'
            f"{escape(name)}</span>"
        )
    return framed("".join(out), x, y)


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


def lines(curves: Sequence[Line], x: Axis, y: Axis) -> str:
    """Curves, and their names below where there are several; a single measurement is a short dash."""
    out = []
    for curve in curves:
        places = [f"{x.at(a):.2f},{100 - y.at(b):.2f}" for a, b in zip(curve.x, curve.y, strict=True)]
        places = places if len(places) > 1 else [places[0], places[0]]
        out.append(f'<polyline points="{" ".join(places)}" style="stroke:{curve.colour}"/>')
    legend = "".join(f'<span><i style="background:{curve.colour}"></i>{escape(curve.name)}</span>' for curve in curves)
    drawn = f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{"".join(out)}</svg>'
    below = f'<p class="legend">{legend}</p>' if len(curves) > 1 else ""
    return f"<div>{framed(drawn, x, y, low=True)}{below}</div>"


def framed(inner: str, x: Axis, y: Axis, *, low: bool = False) -> str:
    """Axes with ticks around what is drawn."""
    rows = "".join(
        f'<i class="rule" style="bottom:{y.at(v):.2f}%"></i>'
        f'<span class="tick y" style="bottom:{y.at(v):.2f}%">{number(v)}</span>'
        for v in y.ticks
    )
    columns = "".join(f'<span class="tick x" style="left:{x.at(v):.2f}%">{number(v)}</span>' for v in x.ticks)
    return (
        f'<div class="plot{" low" if low else ""}"><p class="axis">{escape(y.title)}</p>'
        f'<div class="area">{rows}{columns}{inner}</div><p class="axis x">{escape(x.title)}</p></div>'
    )


def number(value: float) -> str:
    """A tick in few characters: 20k, 3M, 0.05."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:.3g}"


def cloud(points: np.ndarray, labels: np.ndarray) -> str:
    """Points (R, 2) of a map without axes, coloured and shaped by class (R,)."""
    low, size = points.min(0), max(float(np.ptp(points, axis=0).max()), 1e-9)
    middle = (size - np.ptp(points, axis=0)) / 2
    out = []
    for label in np.unique(labels):
        colour, shape = look(int(label))
        places = (points[labels == label] - low + middle) * (94 / size) + 3
        marks = "".join(f'<use href="#mark{shape}" x="{x:.1f}" y="{y:.1f}"/>' for x, y in places)
        out.append(f'<g style="fill:{colour}">{marks}</g>')
    return f'<svg class="cloud" viewBox="0 0 100 100" role="img">{"".join(out)}</svg>'


def marks() -> str:
    """The shapes that `cloud` and `names` use; once a page."""
    shapes = "".join(f'<path id="mark{n}" d="{path}"/>' for n, path in enumerate(SHAPES))
    return f'<svg class="hidden" width="0" height="0" aria-hidden="true"><defs>{shapes}</defs></svg>'


def names(classes: Sequence[str]) -> str:
    """Which colour and shape is which class."""
    out = []
    for label, name in enumerate(classes):
        colour, shape = look(label)
        icon = f'<svg viewBox="-2 -2 4 4" aria-hidden="true"><use href="#mark{shape}" style="fill:{colour}"/></svg>'
        out.append(f"<span>{icon}{escape(name)}</span>")
    return f'<p class="legend marks">{"".join(out)}</p>'


def look(label: int) -> tuple[str, int]:
    """The colour and the shape of a class."""
    return OKABE_ITO[label % len(OKABE_ITO)], label // len(OKABE_ITO) % len(SHAPES)
