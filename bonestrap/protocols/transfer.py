"""Recordings of one joint layout for an encoder of another: joint by joint, by name or as declared, then posed anew.

Legend: B recordings, C coordinates, F frames of all bodies, M bodies, N bodies of all recordings, T frames, V joints.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bonestrap import pose
from bonestrap.clips import Recordings
from bonestrap.layout import Layout

# For a model's layout and a recording's: the joints that go by another name there, or that lie between others or nearly
# on another. Kinect v2 has a neck and finger tips of its own; OpenNI's (SBU's) neck is the middle of the shoulders.
DECLARED: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("kinect20", "ntu25"): {
        "hip_center": ("spine_base",),
        "spine": ("spine_mid",),
        "shoulder_center": ("spine_shoulder",),
    },
    ("ntu25", "kinect20"): {
        "spine_base": ("hip_center",),
        "spine_mid": ("spine",),
        "spine_shoulder": ("shoulder_center",),
        "neck": ("shoulder_center", "head"),
        "left_hand_tip": ("left_hand",),
        "left_thumb": ("left_hand",),
        "right_hand_tip": ("right_hand",),
        "right_thumb": ("right_hand",),
    },
    ("sbu15", "ntu25"): {"neck": ("spine_shoulder",), "torso": ("spine_mid",)},
    ("sbu15", "kinect20"): {"neck": ("shoulder_center",), "torso": ("spine",)},
}


def correspondence(model: Layout, recorded: Layout) -> Tensor:
    """What each joint of the model's layout is made of, (V of the model, V recorded): rows of weights that sum to one.

    Raises ValueError where the recordings lack a joint, naming all of them, or are measured in other coordinates.
    """
    if (model.coordinates, model.confidence) != (recorded.coordinates, recorded.confidence):
        raise ValueError(
            f"the model's layout {model.name} has {model.axes} numbers a joint ({model.coordinates} coordinates) and "
            f"{recorded.name} has {recorded.axes} ({recorded.coordinates} coordinates): no joint can stand for another"
        )
    declared = DECLARED.get((model.name, recorded.name), {})
    sources = {joint: declared.get(joint, (joint,)) for joint in model.joints}
    lacking = [joint for joint, names in sources.items() if not set(names) <= set(recorded.joints)]
    if lacking:
        raise ValueError(
            f"layout {recorded.name} lacks {', '.join(lacking)} of the model's layout {model.name}, and nothing is "
            "declared to stand for them; choose shards whose layout has all joints of the model's"
        )
    weights = torch.zeros(len(model.joints), len(recorded.joints))
    for row, names in enumerate(sources.values()):
        for name in names:
            weights[row, recorded.joints.index(name)] = 1 / len(names)
    return weights


def retarget(recordings: Recordings, weights: Tensor, layout: Layout) -> Recordings:
    """The same recordings in the model's layout and in its canonical pose, float32; `weights` of `correspondence`.

    The pose is taken anew because layouts differ in what their root and spine are.
    """
    weights = weights.to(recordings.frames.device)
    bodies: list[Tensor] = []
    for recording in range(recordings.size):
        own = (recordings.owner == recording).nonzero().squeeze(1).tolist()
        spans = [(int(recordings.start[body]), int(recordings.length[body])) for body in own]
        joints = torch.stack([recordings.frames[start : start + length].float() for start, length in spans], 1)
        bodies.extend(pose.canonical(weights @ joints, layout).unbind(1))
    length = recordings.length
    return Recordings(torch.cat(bodies), length.cumsum(0) - length, length, recordings.owner, recordings.size)
