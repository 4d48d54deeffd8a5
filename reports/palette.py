"""The colours of every chart: pages (`reports.charts`), PNG pictures (`reports.pictures`) and tables.

They are those of Okabe and Ito, which colour-blind readers tell apart, with an indigo and a grey. A model has one
colour, by its place among the models that are compared, in every chart and table; a class has a colour and a shape, and
a limb has one colour by its side. Pages name a colour by a variable of their style sheet: dark pages have lighter ones.
"""

from __future__ import annotations

import itertools

from bonestrap.layout import Layout

INK, GREY, FAINT = "#2B2B2B", "#6B6B6B", "#9A9A9A"
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#332288", "#4D4D4D")
DARK = ("#4D82C4", "#EFCB2B", "#38CB97", "#E6450F", "#BBDDF4", "#E58BDE", "#B06CFA", "#7E9D9D")  # on a dark page
# Tol's muted colours, for classes: none is that of a model.
MUTED = ("#CC6677", "#117733", "#88CCEE", "#DDCC77", "#882255", "#44AA99", "#332F8C", "#999933", "#AA4499")
DARK_MUTED = ("#E08A98", "#45A468", "#9AD8F7", "#E6D98C", "#C9578F", "#5FC4B4", "#8C88E8", "#B5B54D", "#CB6FBB")
SHAPES = ("circle", "triangle", "square", "diamond", "plus")  # of classes that share a colour
LIGHT = (*OKABE_ITO, *MUTED)
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
    """The colour and the shape of a class; two classes share both only when there are more than forty-five."""
    return MUTED[label % len(MUTED)], SHAPES[label // len(MUTED) % len(SHAPES)]


def themed(colour: str) -> str:
    """How a page writes a colour: a variable of its style sheet where the colour is one of the palette."""
    return f"var(--c{LIGHT.index(colour)})" if colour in LIGHT else colour


def style_sheet() -> str:
    """The variables that `themed` names, for light and for dark pages."""
    both = (LIGHT, (*DARK, *DARK_MUTED))
    light, dark = (" ".join(f"--c{number}: {colour};" for number, colour in enumerate(each)) for each in both)
    return f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"


def part_colours(layout: Layout) -> dict[str, str]:
    """A colour for every part of a layout, whatever its parts are called."""
    spare = itertools.cycle(colour for colour in OKABE_ITO if colour not in PARTS.values())
    return {name: PARTS.get(name) or next(spare) for name in layout.parts}
