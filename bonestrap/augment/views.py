"""The published augmentation pipelines, and one for small data sets, by name."""

from __future__ import annotations

from bonestrap.augment.geometry import Mirror, Noise, Rotate, Scale, Shear
from bonestrap.augment.masking import DropLimbs
from bonestrap.augment.operation import View
from bonestrap.augment.timing import Crop, RandomFrames, Resample, Reverse, Shift, Smooth

# Nothing is changed, and everything is drawn: calibration moves the generator of the initial weights as it always did.
PLAIN: View = (
    Resample(rate=(1.0, 1.0)),
    Shift(limit=0.0),
    Crop(anywhere=False),
    Smooth(probability=0.0),
    DropLimbs(probability=0.0),
    Shear(limit=0.0),
)
# T1 of Moliner et al., section 3.3, with the values of section 4.2.
AGGRESSIVE: View = (Resample(), Shift(), Crop(), Smooth(), DropLimbs(), Shear())
# T2 of section 3.3: random resampling only. The others draw as well, so both views of a table's row see the same draws.
CONSERVATIVE: View = (
    Resample(),
    Shift(limit=0.0),
    Crop(),
    Smooth(probability=0.0),
    DropLimbs(probability=0.0),
    Shear(limit=0.0),
)
# For some hundreds to some thousands of recordings [ours]; docs/results/nw_ucla.md has what it is worth.
ROTATED: View = (RandomFrames(), Rotate(), Scale())
# Of Naimi et al. (ReL-SAR): noise of .03 as stated, scale, left and right exchanged. The scale's range is ours, and
# so is that no clip is played backwards, as their code does: sitting down would be standing up.
LIGHT: View = (Crop(), Scale(factor=(0.9, 1.1)), Mirror(), Reverse(probability=0.0), Noise())


def replaced(view: View, *operations: object) -> View:
    """The view with these operations in place of those of their kind."""
    by_kind = {type(operation): operation for operation in operations}
    return tuple(by_kind.get(type(operation), operation) for operation in view)  # type: ignore[misc]
