"""Views of recordings: which clips are made of them, and what is changed at random. Importing this needs no torch."""

from bonestrap.augment.clip import ClipConfig
from bonestrap.augment.geometry import Jitter, Mirror, Noise, Rotate, Scale, Shear
from bonestrap.augment.masking import DropLimbs, MaskJoints, MaskPart
from bonestrap.augment.operation import Finishing, Operation, View
from bonestrap.augment.operations import OPERATIONS
from bonestrap.augment.timing import Crop, RandomFrames, Resample, Reverse, Shift, Smooth, Window
from bonestrap.augment.views import AGGRESSIVE, CONSERVATIVE, LIGHT, PLAIN, ROTATED, replaced

__all__ = [
    "AGGRESSIVE", "CONSERVATIVE", "LIGHT", "OPERATIONS", "PLAIN", "ROTATED", "ClipConfig", "Crop", "DropLimbs",
    "Finishing", "Jitter", "MaskJoints", "MaskPart", "Mirror", "Noise", "Operation", "RandomFrames", "Resample",
    "Reverse", "Rotate", "Scale", "Shear", "Shift", "Smooth", "View", "Window", "replaced",
]  # fmt: skip
