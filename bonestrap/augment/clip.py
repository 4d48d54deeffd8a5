"""How a recording of any length becomes a clip of T frames."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from bonestrap.bounds import FRAMES, Bounded, Bounds
from bonestrap.options import option

if TYPE_CHECKING:
    from bonestrap.layout import Layout


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipConfig(Bounded):
    """What every view of a recording has in common, in training and in evaluation."""

    frames: int = option(150, "frames of a clip, T", Bounds(2, FRAMES))
    fit: bool = option(False, "stretch every recording to T frames; otherwise crop long ones and repeat short ones")
    own_pose: bool = option(False, "centre and orient every body by its own first frame, not by the main body's")
    normalise: Literal["none", "size", "axes"] = option(
        "none", "scale every clip to [-1, 1]: size keeps proportions, axes stretches each axis on its own (CTR-GCN)"
    )
    partner: bool = option(False, "the same joint of the other person as further channels, for interactions")
    motion: bool = option(False, "the way of every joint to the next frame as further channels")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.partner and self.own_pose:
            raise ValueError(
                "partner needs both persons in one coordinate system, and own_pose gives each its own: choose one"
            )

    def channels(self, layout: Layout) -> int:
        """The numbers that an encoder sees of a joint."""
        return layout.channels + layout.coordinates * (self.partner + self.motion)
