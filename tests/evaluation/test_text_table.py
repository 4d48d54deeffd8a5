"""Tables as text: aligned, with units, and as Markdown."""

from __future__ import annotations

from evaluation.text_table import Column, aligned, markdown, percent

COLUMNS = (Column("model", text=True), Column("accuracy", "%"))
ROWS = (["teacher", "91.4"], ["a", "5.0"])


def test_text_is_aligned_left_and_numbers_right() -> None:
    found = aligned(COLUMNS, ROWS, indent="  ")
    assert found.lines == ["  model    accuracy", "                  %", "  teacher      91.4", "  a             5.0"]
    assert found.width == len(found.head[0])
    assert aligned([Column("a")], [["1"]]).head == ["a"], "no line of units where there are none"


def test_markdown_aligns_by_its_own_means() -> None:
    expected = ["| model | accuracy (%) |", "| --- | ---: |", "| teacher | 91.4 |", "| a | 5.0 |"]
    assert markdown(COLUMNS, ROWS) == expected


def test_a_missing_fraction_is_a_dash() -> None:
    assert [percent(0.1234), percent(1, 0), percent(None)] == ["12.3%", "100%", "–"]
