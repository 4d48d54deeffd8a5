"""The plot of a table: where its dots, intervals, floors and published figures lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from experiments.intervals import Interval, Panel, Row, draw

FULL = Row("full", Interval(60, 55, 65), (58, 60, 62), None, None, None)
WORSE = Row("no shear", Interval(50, 48, 52), (49, 50, 51), Interval(-10, -14, -6), None, -8.8)
SAME = Row("no shift", Interval(61, 50, 72), (55, 61, 67), Interval(1, -9, 11), 84.7, -2.1)
ONCE = Row("one seed", Interval(64, 60, 68), (64,), Interval(4, 4, 4), None, None)


def dots(axes: Any, marker: str) -> dict[int, set[float]]:
    """By row, what is marked so."""
    found: dict[int, set[float]] = {}
    for line in axes.lines:
        if line.get_marker() == marker:
            for x, y in zip(np.atleast_1d(line.get_xdata()), np.atleast_1d(line.get_ydata()), strict=True):
                found.setdefault(int(y), set()).add(float(x))
    return found


def test_every_figure_lies_in_its_row(tmp_path: Path) -> None:
    rows, floors = (WORSE, SAME, ONCE, FULL), {"random encoder": 30.0, "raw joints": 56.0}
    panels = [Panel("cross-view", rows, floors), Panel("cross-subject", rows[:2], floors)]
    figure = draw(
        tmp_path / "t.png",
        panels,
        title="Table",
        difference="difference to full",
        source="ntu60",
        scored="held-out people",
    )
    assert "accuracy (%), held-out people" in [axes.get_xlabel() for axes in figure.axes]
    left, right, below, _ = figure.axes
    assert [tick.get_text() for tick in left.get_yticklabels()] == [row.label for row in rows]
    assert left.get_ylim() == (3.5, -0.5), "the first row is on top"
    assert dots(left, "o") == {
        place: {*([] if len(row.seeds) == 1 else row.seeds), row.accuracy.mean} for place, row in enumerate(rows)
    }
    assert dots(left, "D") == {1: {84.7}} and dots(right, "D") == {0: {-8.8}, 1: {-2.1}}
    assert dots(right, "o") == {0: {-10}, 1: {1}, 2: {4}}
    bars = [np.array(line.get_xdata()) for line in right.lines if line.get_linestyle() == "-"]
    assert {(-14, -6), (-9, 11)} <= {tuple(bar.tolist()) for bar in bars}
    floored = [np.array(line.get_xdata()) for line in below.lines if line.get_linestyle() in (":", "--")]
    assert {bar[0] for bar in floored} == {30.0, 56.0}
    said = [text.get_text() for text in figure.legends[0].texts]
    assert said == ["random encoder", "raw joints", "one seed", "mean and 95 % interval", "published for ntu60"]


@pytest.mark.parametrize(("row", "filled"), [(WORSE, True), (SAME, False), (ONCE, False)])
def test_a_filled_difference_is_one_whose_sign_is_known(tmp_path: Path, row: Row, filled: bool) -> None:
    figure = draw(
        tmp_path / "t.png",
        [Panel("p", (row, FULL), {})],
        title="",
        difference="d",
        source="s",
        scored="test recordings",
    )
    (dot,) = (line for line in figure.axes[1].lines if line.get_marker() == "o")
    assert (dot.get_markerfacecolor() != "white") == filled
