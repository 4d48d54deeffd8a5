"""Joints by the names that software writes: `RHip`, `hip.R`, `HipRight` and `mixamorig:RightHip` are `right_hip`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bonestrap.layout import Layout
from bonestrap.options import did_you_mean
from shards.errors import DataError

WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
# The labels of Plug-in Gait, Vicon's marker set, and what they stand for.
MARKERS = {
    "FHD": "front_head", "BHD": "back_head", "SHO": "shoulder", "UPA": "upper_arm", "ELB": "elbow", "FRM": "forearm",
    "FRA": "forearm", "WRA": "wrist_a", "WRB": "wrist_b", "FIN": "finger", "ASI": "front_hip", "PSI": "back_hip",
    "THI": "thigh", "KNE": "knee", "TIB": "shin", "ANK": "ankle", "HEE": "heel", "TOE": "toe",
}  # fmt: skip
MIDDLE = {"CLAV": "clavicle", "STRN": "sternum", "RBAK": "back_marker"}
LABELS = MIDDLE | {f"{side}{label}": f"{side}_{name}" for side in "LR" for label, name in MARKERS.items()}
SIDES = {"l": "left", "left": "left", "r": "right", "right": "right"}


def plain(name: str) -> str:
    """A name without fashion: lower case, the side first, one space between words, and no name of the subject."""
    name = name.rpartition(":")[2]
    words = [word.lower() for word in WORD.findall(LABELS.get(name, name))]
    side = next((word for word in words if word in SIDES), None)
    if side is None or len(words) == 1:
        return " ".join(words)
    words.remove(side)
    return " ".join([SIDES[side], *words])


def find(layout: Layout, names: Sequence[str], where: str) -> list[int]:
    """The places of a layout's joints among `names`. DataError naming those that are not there."""
    places: dict[str, int] = {}
    for form in (plain, str):  # a name that is exactly the layout's wins over one that is like it
        for place, name in reversed(list(enumerate(names))):
            places[form(name)] = place
    found = [places.get(joint, places.get(plain(joint), -1)) for joint in layout.joints]
    if lost := [joint for joint, place in zip(layout.joints, found, strict=True) if place < 0]:
        more = f" and {len(lost) - 3} others" if len(lost) > 3 else ""
        raise DataError(
            f"{where}: no joint {', '.join(lost[:3])}{more} among its {len(names)} (layout {layout.name})"
            f"{did_you_mean(lost[0], names)}; remove the file, or choose the layout that fits it"
        )
    return found


def fitting(names: Sequence[str], layouts: Iterable[Layout]) -> Layout | None:
    """The layout with the most joints of those whose joints are all among `names`."""
    known = {plain(name) for name in names}
    fit = [layout for layout in layouts if {plain(joint) for joint in layout.joints} <= known]
    return max(fit, key=lambda layout: len(layout.joints), default=None)
