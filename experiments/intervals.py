"""A plot of a table: accuracies with their intervals, and beside them each row's difference to another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reports.palette import FAINT, INK, OKABE_ITO
from reports.pictures import blank, save

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS, SEEDS, THEIRS = OKABE_ITO[0], OKABE_ITO[4], OKABE_ITO[3]
PUBLISHED = "published"


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval, in percent or in points; without one, low and high are the mean."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval leaves out zero; that of a single run never does."""
        return self.low < self.high and (self.low > 0 or self.high < 0)


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table."""

    label: str
    accuracy: Interval
    seeds: Sequence[float]  # the accuracy of each
    difference: Interval | None  # to the row that it is compared with, paired by seed
    published: float | None  # None on other data than the published figures'
    published_difference: float | None


@dataclasses.dataclass(frozen=True)
class Panel:
    """One column of a table: rows from the top down, and floors as lines through all of them."""

    title: str
    rows: Sequence[Row]
    floors: Mapping[str, float]


def draw(path: Path, panels: Sequence[Panel], *, title: str, difference: str, source: str, scored: str) -> Figure:
    """Accuracies on the left, differences on the right, a panel below the other; axes are shared down the page.

    A filled dot on the right has an interval that leaves out zero. `difference` is what that axis is called,
    `source` the data set that the published figures are of, `scored` the recordings that the accuracies are on.
    """
    tallest = max(len(panel.rows) for panel in panels)
    figure = blank(10.4, len(panels) * (0.9 + 0.32 * tallest) + 1.2)
    grid = figure.subplots(len(panels), 2, squeeze=False, sharex="col", width_ratios=(3, 2))
    for (left, right), panel in zip(grid, panels, strict=True):
        _accuracies(left, panel)
        _differences(right, panel.rows)
    grid[-1, 0].set_xlabel(f"accuracy (%), {scored}")
    grid[-1, 1].set_xlabel(f"{difference} (points)")
    named: dict[str, Artist] = {}
    for axes in grid.ravel():
        named |= {name: handle for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    labels = [f"published for {source}" if name == PUBLISHED else name for name in named]
    figure.legend(list(named.values()), labels, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=12, fontweight="bold")
    return save(figure, path)


def _accuracies(axes: Axes, panel: Panel) -> None:
    for (who, accuracy), style in zip(panel.floors.items(), (":", "--"), strict=False):
        axes.axvline(accuracy, color=FAINT, linestyle=style, linewidth=1.2, label=who)
    for place, row in enumerate(panel.rows):
        _bar(axes, row.accuracy, place)
        if len(row.seeds) > 1:
            axes.plot(row.seeds, [place] * len(row.seeds), "o", color=SEEDS, markersize=3.5, zorder=4, label="one seed")
        axes.plot(row.accuracy.mean, place, "o", color=OURS, markersize=6, zorder=3, label="mean and 95 % interval")
    published = [(row.published, place) for place, row in enumerate(panel.rows) if row.published is not None]
    _published(axes, published)
    axes.set_title(panel.title, loc="left", fontsize=10)
    _rows(axes, [row.label for row in panel.rows])


def _differences(axes: Axes, rows: Sequence[Row]) -> None:
    axes.axvline(0, color=INK, linewidth=1)
    for place, row in enumerate(rows):
        if row.difference is None:
            continue
        _bar(axes, row.difference, place)
        face = OURS if row.difference.excludes_zero else "white"
        axes.plot(row.difference.mean, place, "o", mfc=face, mec=OURS, markersize=6, zorder=3)
    known = [(row.published_difference, place) for place, row in enumerate(rows)]
    _published(axes, [(figure, place) for figure, place in known if figure is not None])
    _rows(axes, [""] * len(rows))


def _bar(axes: Axes, interval: Interval, place: int) -> None:
    axes.plot([interval.low, interval.high], [place, place], color=OURS, linewidth=2, solid_capstyle="round", zorder=2)


def _published(axes: Axes, known: Sequence[tuple[float, int]]) -> None:
    if known:
        axes.plot(*zip(*known, strict=True), "D", mfc="none", mec=THEIRS, markersize=6, label=PUBLISHED, zorder=5)


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="x", color="#E4E4E4", linewidth=0.8)
    axes.set_axisbelow(True)
