"""How a recording of any length becomes a clip of T frames."""

from __future__ import annotations

import dataclasses

from bonestrap.bounds import FRAMES, Bounded, Bounds
from bonestrap.options import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipConfig(Bounded):
    """What every view of a recording has in common, in training and in evaluation."""

    frames: int = option(150, "frames of a clip, T", Bounds(2, FRAMES))
    fit: bool = option(False, "stretch every recording to T frames; otherwise crop long ones and repeat short ones")
    own_pose: bool = option(False, "centre and orient every body by its own first frame, not by the main body's")
