"""Names beside points: none over another, whatever the points, and points of one place side by side."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from reports.charts import HEIGHT, LETTER, WIDTHS
from reports.labels import Mark, apart, box, place


def mark(name: str, x: float, y: float) -> Mark:
    return Mark(name=name, x=x, y=y, shift=0.0, top=y - 0.1, bottom=y + 0.1)


@pytest.mark.parametrize("seed", range(5))
def test_no_name_lies_over_another(seed: int) -> None:
    rng = np.random.default_rng(seed)
    marks = [mark("a-run-of-20-letters-" if n % 2 else "teacher", *rng.uniform(0.3, 0.6, 2)) for n in range(7)]
    sizes = [(width, HEIGHT) for width in WIDTHS]
    offsets = place(marks, sizes, LETTER)
    for size in sizes:
        boxes = [box(one, offset, size, LETTER) for one, offset in zip(marks, offsets, strict=True)]
        for one, other in itertools.combinations(boxes, 2):
            across = min(one.right, other.right) - max(one.left, other.left)
            down = min(one.bottom, other.bottom) - max(one.top, other.top)
            assert across <= 0 or down <= 0


def test_a_name_alone_stands_to_the_right_and_at_the_edge_to_the_left() -> None:
    sizes = [(400.0, 340.0)]
    assert place([mark("teacher", 0.2, 0.5)], sizes, LETTER)[0][1:] == (0.0, "start")
    assert place([mark("teacher", 0.98, 0.5)], sizes, LETTER)[0][1:] == (0.0, "end")


def test_points_of_one_place_stand_side_by_side() -> None:
    places = [100.0, 101.0, 300.0, 100.0]
    moved = sorted(place + shift for place, shift in zip(places, apart(places, 14), strict=True))
    assert np.diff(moved[:3]).tolist() == pytest.approx([14, 14]) and moved[3] == 300
    assert np.mean(moved[:3]) == pytest.approx(np.mean([100, 101, 100]))
