"""Tables as text: aligned for a terminal, or as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Column(NamedTuple):
    """The heading of a column."""

    name: str
    unit: str = ""  # stands under the name
    text: bool = False  # aligned left; numbers are aligned right


class Aligned(NamedTuple):
    """The lines of a table: names, with units under them where there are any, and one line a row."""

    head: list[str]
    body: list[str]
    width: int

    @property
    def lines(self) -> list[str]:
        return [*self.head, *self.body]


def aligned(columns: Sequence[Column], rows: Sequence[Sequence[str]], indent: str = "") -> Aligned:
    """Columns two spaces apart, each as wide as its widest cell."""
    heads = [[column.name for column in columns]]
    if any(column.unit for column in columns):
        heads.append([column.unit for column in columns])
    widths = [max(map(len, cells)) for cells in zip(*heads, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        sides = ("<" if column.text else ">" for column in columns)
        padded = (f"{cell:{side}{width}}" for cell, side, width in zip(cells, sides, widths, strict=True))
        return (indent + "  ".join(padded)).rstrip()

    width = len(indent) + sum(widths) + 2 * (len(widths) - 1)
    return Aligned([line(cells) for cells in heads], [line(cells) for cells in rows], width)


def markdown(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; units stand in brackets after the names."""
    names = [f"{column.name} ({column.unit})" if column.unit else column.name for column in columns]
    lines = [names, ["---" if column.text else "---:" for column in columns], *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction in 0..1 as a cell; a dash where there is none."""
    return "–" if fraction is None else f"{fraction:.{digits}%}"
