"""Charts of pages: places on axes, bars that add up, labels that are cut and still told apart."""

from __future__ import annotations

import numpy as np
import pytest

from reports import charts, figures
from reports.charts import Axis
from reports.html import environment
from reports.labels import BRIEF, brief

LONG = "distilled-0.25x-from-finetuned-0.1-2-of-pretrained-full-cross-subject-1x-0"


def drawn(macro: str, *values: object) -> str:
    return str(getattr(environment().get_template("charts.html").module, macro)(*values))


def models(*names: str) -> figures.Accuracies:
    points = [
        figures.Point(
            name=name, colour="#000", parameters=10**number, latency_ms=None, accuracy=50, low=40, high=60,
            classifies=True, random=(("random encoder", 30.0),),
        )
        for number, name in enumerate(names, 3)
    ]  # fmt: skip
    return figures.Accuracies(points=tuple(points), floors=(figures.Floor(name="raw", labels="all", accuracy=20),))


def test_places_on_an_axis() -> None:
    axis = Axis(title="parameters", low=10_000, high=1_000_000, log=True)
    assert axis.at(100_000) == pytest.approx(50)
    assert axis.ticks == pytest.approx([10_000, 30_000, 100_000, 300_000, 1_000_000])
    plain = Axis(title="accuracy (%)", low=0, high=78)
    narrow = Axis(title="parameters", low=62_500, high=160_000, log=True)
    assert narrow.ticks == pytest.approx([70_000, 80_000, 100_000, 150_000]), "far enough from each other to be written"
    assert plain.ticks == [0, 20, 40, 60] and plain.at(39) == pytest.approx(50)


@pytest.mark.parametrize(
    "names",
    [
        ["teacher", "student"],
        [LONG, LONG.replace("0.25x", "1x", 1), "teacher"],
        ["a-run-of-many-words-in-its-name-seed-1", "a-run-of-many-words-in-its-name-seed-2"],
    ],
)
def test_names_fit_and_differ(names: list[str]) -> None:
    cut = brief(names)
    assert len(set(cut)) == len(names) and all(len(each) <= BRIEF for each in cut)
    for name, each in zip(names, cut, strict=True):
        assert each == name or (len(name) > BRIEF and each.strip("…") in name)


def test_a_scatter_has_the_whole_name_as_a_tooltip_and_places_in_percent() -> None:
    shown = models(LONG, "b")
    svg = drawn("scatter", charts.scatter(shown, [1e3, 1e4], "parameters", "size"))
    assert f"<title>{LONG}</title>" in svg and f">{LONG[: BRIEF - 1].rstrip('-')}…<" in svg
    # The axes go from 625 to 16,000 and from 0 to 68 percent: the highest end of an interval and 8.
    left = 100 * np.log(1e3 / 625) / np.log(16_000 / 625)
    assert f'cx="{left:.2f}%" cy="{100 - 100 * 50 / 68:.2f}%"' in svg
    assert f'cx="{left:.2f}%" cy="{100 - 100 * 30 / 68:.2f}%"' in svg, "the random encoder"


def test_a_confusion_matrix_is_drawn_in_percent_of_the_true_class() -> None:
    counts = np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    grid = charts.confusion(figures.Confusion(counts=counts, classes=("a", "b", "c")))
    assert [cell.text for cell in grid.cells] == ["75", "25", "", "", "100", "", "", "", ""]
    assert [cell.kind.split()[0] for cell in grid.cells[:5]] == ["right", "wrong", "wrong", "wrong", "right"]
    assert grid.rows == ("a", "b", "c") == grid.columns and grid.cells[1].title == "a predicted as b: 1 of 4"


def test_recall_is_sorted_by_its_mean_and_leaves_out_absent_classes() -> None:
    one = figures.Confusion(counts=np.array([[4, 0, 0], [1, 1, 0], [0, 0, 0]]), classes=("a", "b", "c"))
    other = figures.Confusion(counts=np.array([[1, 3, 0], [0, 2, 0], [0, 0, 0]]), classes=("a", "b", "c"))
    rows = figures.recalls([one, other])
    assert [(row.name, row.recordings, row.percent) for row in rows] == [("a", 4, (100, 25)), ("b", 2, (50, 100))]


def test_bars_add_up() -> None:
    longest, short = charts.bars([("a", 40, 10), ("b", 20, 0)], marked="duplicates")
    assert [(one.start, one.width) for one in longest.segments] == [(0, 75), (75, 25)]
    assert [(one.start, one.width) for one in short.segments] == [(0, 50), (50, 0)]
    assert longest.segments[0].title == "a: 40, of which 10 duplicates"


def test_names_are_escaped_in_every_chart() -> None:
    evil = '<script>alert("x")</script>'
    matrix = figures.Confusion(counts=np.eye(2, dtype=int), classes=(evil, "b"))
    groups = figures.Group(name=evil, colour="#000", shape="circle", points=np.zeros((1, 2)))
    line = charts.Line(name=evil, x=[1], y=[1], colour="#000")
    axis = Axis(title=evil, low=0, high=2)
    for macro, value in (
        ("scatter", charts.scatter(models(evil), [1e3], evil, evil)),
        ("grid", charts.confusion(matrix)),
        ("bars", charts.bars([(evil, 1, 0)])),
        ("lines", charts.Lines(x=axis, y=axis, curves=(line, line))),
        ("cloud", charts.cloud([groups])),
        ("class_legend", [(evil, "#000", "circle")]),
        ("histogram", charts.histogram(np.array([1, 2, 3]), unit=evil)),
    ):
        svg = drawn(macro, value)
        assert "<script" not in svg and svg.strip().startswith("<")
    assert "&lt;script&gt;" in drawn("bars", charts.bars([(evil, 1, 0)]))
