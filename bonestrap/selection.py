"""Selection-Permutation of ReL-SAR (Naimi et al. 2024): a body as a few points, ordered by body part, of any layout.

The fifteen places of the paper are head, neck and mid-hip, then arms, then legs. A place is the mean of joints: the
head of what is known of the face, a foot of ankle, toes and heel. Which joints a layout has for a place follows from
their names; a layout of one's own may declare its places instead (`Layout.selection`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

import numpy as np

from bonestrap.layout import Layout, Places

FACE = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    "left_eye_inner", "left_eye_outer", "right_eye_inner", "right_eye_outer", "mouth_left", "mouth_right",
    "left_mouth", "right_mouth",
)  # fmt: skip
FOOT = ("ankle", "foot", "big_toe", "small_toe", "heel", "foot_index", "toe", "toe_base")
# What the joints of a place may be called: of the first choice that a layout has any joint of, all that it has.
MIDDLE: dict[str, tuple[tuple[str, ...], ...]] = {
    "head": (FACE, ("head", "head_top", "skull", "face")),
    "neck": (("neck",), ("shoulder_center", "spine_shoulder", "thorax"), ("left_shoulder", "right_shoulder")),
    "mid_hip": (("mid_hip", "hip_center", "spine_base", "pelvis", "hips", "root"), ("left_hip", "right_hip")),
}
SIDED: dict[str, tuple[tuple[str, ...], ...]] = {
    "shoulder": (("shoulder",),),
    "elbow": (("elbow",),),
    "wrist": (("wrist",), ("hand",)),
    "hip": (("hip",),),
    "knee": (("knee",),),
    "foot": (FOOT,),
}
ARM, LEG = ("shoulder", "elbow", "wrist"), ("hip", "knee", "foot")
# The order of the paper: trunk, left arm, right arm, right leg, left leg.
LIMBS = (("left", ARM), ("right", ARM), ("right", LEG), ("left", LEG))
PLACES = (*MIDDLE, *(f"{side}_{name}" for side, limb in LIMBS for name in limb))


def selected(layout: Layout) -> Places:
    """The joints of each place, in order: as the layout declares them, or the fifteen of the paper by name.

    Raises ValueError where a place has no joint.
    """
    if layout.selection:
        return layout.selection
    index = {plain(name): joint for joint, name in enumerate(layout.joints)}
    return tuple(tuple(index[name] for name in _names(place, index, layout)) for place in PLACES)


def _names(place: str, index: dict[str, int], layout: Layout) -> list[str]:
    for choice in _choices(place):
        if known := [name for name in choice if name in index]:
            return known
    raise ValueError(
        f"layout {layout.name} has no joint for the {place.replace('_', ' ')} of Selection-Permutation: declare its "
        "places in the field selection, lists of joints in their order, or take all joints (--encoder.joints all)"
    )


def _choices(place: str) -> Iterator[Sequence[str]]:
    if place in MIDDLE:
        yield from MIDDLE[place]
        return
    side, _, name = place.partition("_")
    for choice in SIDED[name]:
        yield [f"{side}_{joint}" for joint in choice]


def plain(name: str) -> str:
    """A joint's name in small letters with its side in full: LeftKnee, RKnee and l_knee as left_knee, right_knee ..."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=^[LR])(?=[A-Z])", "_", name.strip())
    words = re.sub(r"[\s.:_-]+", "_", words).lower()
    return re.sub(r"^([lr])_", lambda side: {"l": "left_", "r": "right_"}[side[1]], words)


def places(layout: Layout, *, every: bool = False, permutation: int | None = None) -> Places:
    """The points that an encoder sees: the selected places, or every joint in the layout's order; or in a random order
    that is a function of the seed `permutation`. Raises ValueError as `selected` does.
    """
    points = tuple((joint,) for joint in range(len(layout.joints))) if every else selected(layout)
    if permutation is None:
        return points
    return tuple(random.Random(permutation).sample(points, len(points)))


def membership(points: Places, joints: int) -> np.ndarray:
    """Which joints belong to which point, (P, V) float32 of zeros and ones."""
    out = np.zeros((len(points), joints), np.float32)
    for row, members in zip(out, points, strict=True):
        row[list(members)] = 1
    return out
