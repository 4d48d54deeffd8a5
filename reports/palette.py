"""The colours of every chart: pages (`reports.charts`), PNG pictures (`reports.pictures`) and tables.

They are those of Okabe and Ito, which colour-blind readers tell apart. A model has one colour by its place among the
models that are compared, a class has a colour and a shape, and a limb has one colour by its side.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from bonestrap.layout import Layout

INK, GREY, FAINT = "#2B2B2B", "#6B6B6B", "#9A9A9A"
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#7A6A00", "#4D4D4D")
SHAPES = ("circle", "triangle", "square", "diamond", "plus")  # of classes that share a colour
STAGES = {"pretrained": "#CC79A7", "teacher": "#0072B2", "student": "#009E73", "scratch": "#E69F00"}
PARTS = {
    "trunk": "#4D4D4D",
    "left_arm": "#0072B2",
    "left_leg": "#56B4E9",
    "right_arm": "#D55E00",
    "right_leg": "#E69F00",
    "left": "#0072B2",
    "right": "#D55E00",
}


def model_colour(number: int) -> str:
    """The colour of the model at this place among those that are compared."""
    return OKABE_ITO[number % len(OKABE_ITO)]


def class_look(label: int) -> tuple[str, str]:
    """The colour and the shape of a class; two classes share both only when there are more than forty."""
    return OKABE_ITO[label % len(OKABE_ITO)], SHAPES[label // len(OKABE_ITO) % len(SHAPES)]


def stage_colours(stages: Sequence[str]) -> dict[str, str]:
    """A colour for every training stage, also for one that is not known here."""
    return _colours(stages, STAGES)


def part_colours(layout: Layout) -> dict[str, str]:
    """A colour for every part of a layout, whatever its parts are called."""
    return _colours(tuple(layout.parts), PARTS)


def _colours(names: Sequence[str], own: dict[str, str]) -> dict[str, str]:
    """The colour of each name, or the next one of the palette that no other name has."""
    spare = itertools.cycle(colour for colour in OKABE_ITO if colour not in own.values())
    return {name: own.get(name) or next(spare) for name in dict.fromkeys(names)}
