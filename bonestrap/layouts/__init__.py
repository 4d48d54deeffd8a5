"""The joint layouts that need no file. See `bonestrap.layout`."""

from __future__ import annotations

from bonestrap.layouts.keypoints import (
    BODY25,
    COCO17,
    COCO18,
    COCO23,
    H36M17,
    HALPE26,
    JHMDB15,
    MEDIAPIPE33,
    PENN13,
)
from bonestrap.layouts.markers import PLUG_IN_GAIT39, POSE2SIM22
from bonestrap.layouts.sensors import KINECT20, NTU25, SBU15

__all__ = [
    "BODY25",
    "COCO17",
    "COCO18",
    "COCO23",
    "H36M17",
    "HALPE26",
    "JHMDB15",
    "KINECT20",
    "LAYOUTS",
    "MEDIAPIPE33",
    "NTU25",
    "PENN13",
    "PLUG_IN_GAIT39",
    "POSE2SIM22",
    "SBU15",
]

LAYOUTS = {
    layout.name: layout
    for layout in (
        NTU25,
        KINECT20,
        SBU15,
        COCO17,
        COCO18,
        COCO23,
        BODY25,
        HALPE26,
        H36M17,
        MEDIAPIPE33,
        JHMDB15,
        PENN13,
        PLUG_IN_GAIT39,
        POSE2SIM22,
    )
}
