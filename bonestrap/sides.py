"""Left and right in the names of joints: `left_knee`, `LeftKnee`, `l_knee`, `knee.L`, `lfemur`, `thigh_l_01`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

# How a left joint's name says so, and what its counterpart has there. Words come before letters.
WORDS = (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"))
LETTERS = (("l", "r"), ("L", "R"))
BETWEEN = "[ _.:-]"  # what sets a letter apart inside a name
SIDED = re.compile(r"left|right", re.IGNORECASE)


def named_sides(joints: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """The pairs (left, right) of joints, as indices, whose names differ in nothing but the side, each joint once."""
    place = {name: joint for joint, name in enumerate(joints)}
    pairs: list[tuple[int, int]] = []
    paired: set[int] = set()
    for left, name in enumerate(joints):
        for other in _counterparts(name):
            right = place.get(other, left)
            if not {left, right} & paired and left != right:
                pairs.append((left, right))
                paired |= {left, right}
    return tuple(pairs)


def alone(joints: Sequence[str], sides: Sequence[tuple[int, int]]) -> list[str]:
    """The joints whose names begin with left or right, and that are in no pair of sides."""
    paired = {joint for pair in sides for joint in pair}
    return [name for joint, name in enumerate(joints) if SIDED.match(name) and joint not in paired]


def _counterparts(name: str) -> Iterator[str]:
    """What the right counterpart of a left joint may be called, the likeliest first."""
    for left, right in WORDS:
        for match in re.finditer(left, name):
            yield name[: match.start()] + right + name[match.end() :]
    for left, right in LETTERS:
        for match in re.finditer(rf"(?<={BETWEEN}){left}(?={BETWEEN}|$)|^{left}|{left}$", name):
            yield name[: match.start()] + right + name[match.end() :]
