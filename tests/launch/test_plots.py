"""Labels of plots: long names are cut, and still told apart."""

from __future__ import annotations

import pytest

from reports.plots import BRIEF, Axis, Point, brief, scatter

LONG = "distilled-0.25x-from-finetuned-0.1-2-of-pretrained-full-cross-subject-1x-0"


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


def test_a_cut_label_says_its_whole_name_when_pointed_at() -> None:
    point = Point(name=LONG, x=1, y=1, low=0, high=2, colour="#000", said="")
    drawn = scatter([point], [], Axis(title="", low=0, high=2), Axis(title="", low=0, high=2))
    assert f'title="{LONG}"' in drawn and f">{LONG}<" not in drawn
