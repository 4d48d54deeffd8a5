"""Views of recordings: which clips are made of them, and what is changed at random. Importing this needs no torch."""

from bonestrap.augment.clip import ClipConfig
from bonestrap.augment.operations import (
    OPERATIONS,
    Crop,
    DropLimbs,
    Finishing,
    Operation,
    Resample,
    Shear,
    Shift,
    Smooth,
    View,
)
from bonestrap.augment.views import AGGRESSIVE, CONSERVATIVE, PLAIN, replaced

__all__ = [
    "AGGRESSIVE", "CONSERVATIVE", "OPERATIONS", "PLAIN", "ClipConfig", "Crop", "DropLimbs", "Finishing", "Operation",
    "Resample", "Shear", "Shift", "Smooth", "View", "replaced",
]  # fmt: skip
