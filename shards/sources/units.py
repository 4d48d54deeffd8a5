"""Units of coordinates in space, and whether bodies have the size of bodies in them.

Legend: C numbers a joint, T frames, V joints, M bodies.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from bonestrap.layout import Layout
from shards.errors import DataError

UNITS = {"metre": 1.0, "centimetre": 0.01, "millimetre": 0.001, "inch": 0.0254}
Unit = Literal["metre", "centimetre", "millimetre", "inch"]
SMALLEST, LARGEST = 0.05, 10.0  # metres that a body, or a hand, may measure from end to end
LIKELY = 0.5, 2.5  # metres: a unit that makes a body this large is probably meant
SCORES = 50.0  # pixels that a body measures at least, where a third number within 0 to 1 is a score


def body_size(joints: np.ndarray) -> float:
    """The median diagonal of the boxes around the bodies of (T, M, V, C), in its own unit; NaN without any body."""
    with np.errstate(invalid="ignore"):
        extent = np.fmax.reduce(joints, axis=2) - np.fmin.reduce(joints, axis=2)  # (T, M, C)
    size = np.linalg.norm(extent.astype(np.float64), axis=-1)
    size = size[np.isfinite(size) & (size > 0)]
    return float(np.median(size)) if len(size) else math.nan


def check_size(joints: np.ndarray, unit: Unit, origin: str) -> None:
    """Raise DataError naming `origin` where bodies (T, M, V, 3), in metres if read in `unit`, are too small or large.

    Joints at exactly zero count as lost. The units that would make a body of them are named.
    """
    size = body_size(_without_zeros(joints))
    if math.isnan(size) or SMALLEST <= size <= LARGEST:
        return
    raw = size / UNITS[unit]
    meant = [f"--unit {name}" for name, scale in UNITS.items() if LIKELY[0] <= raw * scale <= LIKELY[1]]
    remedy = f"give {' or '.join(meant)}" if meant else "correct --unit, or scale the joints"
    raise DataError(f"{origin}: bodies measure {size:.3g} metres from end to end if the unit is the {unit}; {remedy}")


def check_scores(joints: np.ndarray, layout: Layout, origin: str) -> None:
    """Raise DataError naming `origin` where the third number of joints (T, M, V, 3) is a score beside pixels."""
    third = joints[..., 2][np.isfinite(joints[..., 2])]
    if not third.size or third.min() < 0 or third.max() > 1 or third.min() == third.max() == 0:
        return
    if body_size(_without_zeros(joints)[..., :2]) >= SCORES:
        raise DataError(
            f"{origin}: the third number of each joint lies within 0 and 1 while the others are pixels, so it is a "
            "confidence and not a depth; give --confidence hide (or keep)"
            + (" and --coordinates 2" if layout.coordinates != 2 else "")
        )


def _without_zeros(joints: np.ndarray) -> np.ndarray:
    return np.where((joints == 0).all(-1, keepdims=True), np.float32(np.nan), joints)
