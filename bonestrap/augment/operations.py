"""The operations that come with Bonestrap, by name. Importing this needs no torch."""

from __future__ import annotations

from bonestrap.augment.geometry import Jitter, Mirror, Noise, Rotate, Scale, Shear
from bonestrap.augment.masking import DropLimbs, MaskJoints, MaskPart
from bonestrap.augment.operation import Operation
from bonestrap.augment.timing import Crop, RandomFrames, Resample, Reverse, Shift, Smooth, Window

OPERATIONS: dict[str, type[Operation]] = {
    operation.kind: operation
    for operation in (
        *(Resample, Shift, Crop, Smooth, DropLimbs, Shear),
        *(Rotate, Scale, Mirror, Jitter, MaskJoints, MaskPart, Window, RandomFrames, Noise, Reverse),
    )
}
