"""Where joints of different layouts lie on a body: the names under which they are matched.

A landmark is called as the joint of `ntu25` that lies there. Names alone mislead (a `left_foot` is an ankle in one
layout and the toes in another), so layouts that are known have a table; others are matched by their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bonestrap.layout import Layout

Landmarks = dict[str, tuple[str, ...]]  # of a landmark the joints whose mean it is

# Other names of what lies in the middle of the body, without their side.
SYNONYMS = {
    "pelvis": "spine_base", "hips": "spine_base", "hip_center": "spine_base", "mid_hip": "spine_base",
    "torso": "spine_mid", "spine": "spine_mid",
    "shoulder_center": "spine_shoulder", "thorax": "spine_shoulder", "upper_chest": "spine_shoulder",
}  # fmt: skip
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}


def _both(pairs: Mapping[str, tuple[str, ...]]) -> Landmarks:
    """These landmarks of the left and of the right side, from names without a side."""
    return {
        f"{side}_{name}": tuple(f"{side}_{joint}" for joint in joints)
        for side in ("left", "right")
        for name, joints in pairs.items()
    }


def _same(*names: str) -> dict[str, tuple[str, ...]]:
    return {name: (name,) for name in names}


FACE = _both(_same("eye", "ear"))
LIMBS = _both(_same("shoulder", "elbow", "wrist", "hip", "knee", "ankle"))
TOES = _both({"foot": ("big_toe",)})

PLUG_IN_GAIT: Landmarks = {
    "spine_base": ("left_front_hip", "right_front_hip", "left_back_hip", "right_back_hip"),
    "spine_mid": ("t10", "sternum"),
    "spine_shoulder": ("c7", "clavicle"),
    "head": ("left_front_head", "right_front_head", "left_back_head", "right_back_head"),
    **_both(
        {
            **_same("shoulder", "elbow", "knee", "ankle"),
            "wrist": ("wrist_a", "wrist_b"),
            "hand": ("finger",),
            "hip": ("front_hip", "back_hip"),
            "foot": ("toe",),
        }
    ),
}

# OpenNI's neck (SBU) is the middle of the shoulders. Vicon's markers (UI-PRMD) lie on the skin: where several surround
# a joint, their middle is taken. In Bandai Namco's hierarchy a joint is called by the bone that begins there.
# OpenPose's neck is the middle of the shoulders as well, and H36M's foot the ankle.
KNOWN: dict[str, Landmarks] = {
    "kinect20": {
        "spine_base": ("hip_center",),
        "spine_mid": ("spine",),
        "spine_shoulder": ("shoulder_center",),
        "head": ("head",),
        **_both(_same("shoulder", "elbow", "wrist", "hand", "hip", "knee", "ankle", "foot")),
    },
    "sbu15": {
        "spine_base": ("left_hip", "right_hip"),
        "spine_mid": ("torso",),
        "spine_shoulder": ("neck",),
        "head": ("head",),
        **_both(_same("shoulder", "elbow", "hand", "hip", "knee", "foot")),
    },
    "coco17": {
        "spine_base": ("left_hip", "right_hip"),
        "spine_shoulder": ("left_shoulder", "right_shoulder"),
        "head": ("left_ear", "right_ear"),
        "nose": ("nose",),
        **_both(_same("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")),
    },
    "coco18": {
        "spine_base": ("left_hip", "right_hip"),
        "spine_shoulder": ("neck",),
        "head": ("left_ear", "right_ear"),
        "nose": ("nose",),
        **FACE,
        **LIMBS,
    },
    "coco23": {
        "spine_base": ("left_hip", "right_hip"),
        "spine_shoulder": ("left_shoulder", "right_shoulder"),
        "head": ("left_ear", "right_ear"),
        "nose": ("nose",),
        **FACE,
        **LIMBS,
        **TOES,
    },
    "body25": {
        "spine_base": ("mid_hip",),
        "spine_shoulder": ("neck",),
        "head": ("left_ear", "right_ear"),
        "nose": ("nose",),
        **FACE,
        **LIMBS,
        **TOES,
    },
    "halpe26": {
        "spine_base": ("hip",),
        "spine_shoulder": ("neck",),
        "head": ("left_ear", "right_ear"),
        "nose": ("nose",),
        **FACE,
        **LIMBS,
        **TOES,
    },
    "pose2sim22": {
        "spine_base": ("hip",),
        "spine_shoulder": ("neck",),
        "head": ("head",),
        "nose": ("nose",),
        **LIMBS,
        **TOES,
    },
    "mediapipe33": {
        "spine_base": ("left_hip", "right_hip"),
        "spine_shoulder": ("left_shoulder", "right_shoulder"),
        "head": ("left_ear", "right_ear"),
        "nose": ("nose",),
        **FACE,
        **LIMBS,
        **_both({"hand": ("index",), "thumb": ("thumb",), "foot": ("foot_index",)}),
    },
    "h36m17": {
        "spine_base": ("root",),
        "spine_mid": ("spine",),
        "spine_shoulder": ("thorax",),
        "neck": ("neck_base",),
        "head": ("head",),
        **_both({**_same("shoulder", "elbow", "wrist", "hip", "knee"), "ankle": ("foot",)}),
    },
    "jhmdb15": {
        "spine_base": ("left_hip", "right_hip"),
        "spine_mid": ("belly",),
        "spine_shoulder": ("neck",),
        "head": ("face",),
        **LIMBS,
    },
    "penn13": {
        "spine_base": ("left_hip", "right_hip"),
        "spine_shoulder": ("left_shoulder", "right_shoulder"),
        "head": ("head",),
        **LIMBS,
    },
    "uiprmd39": PLUG_IN_GAIT,
    "plug_in_gait39": PLUG_IN_GAIT,
    "bandai21": {
        "spine_base": ("hips",),
        "spine_mid": ("spine",),
        "spine_shoulder": ("neck",),
        "head": ("head",),
        **_both(
            {
                "shoulder": ("upper_arm",),
                "elbow": ("forearm",),
                "wrist": ("hand",),
                "hip": ("thigh",),
                "knee": ("shin",),
                "ankle": ("foot",),
                "foot": ("toes",),
            }
        ),
    },
}


def landmarks(layout: Layout) -> Landmarks:
    """The landmarks that a layout has, from its table or else by the names of its joints."""
    table = KNOWN.get(layout.name, {})
    if table and all(set(joints) <= set(layout.joints) for joints in table.values()):
        return table
    found: Landmarks = {}
    for joint in layout.joints:
        found.setdefault(landmark(joint), (joint,))
    return found


def landmark(joint: str) -> str:
    """What a joint's name says: `LeftKnee`, `knee.L` and `l_knee` are left_knee, `pelvis` is spine_base."""
    words = [word for word in re.split(r"[^a-z0-9]+", CAMEL.sub("_", joint).lower()) if word]
    side = next((SIDES[word] for word in words if word in SIDES), "")
    name = "_".join(word for word in words if word not in SIDES)
    return f"{side}_{name}" if side else SYNONYMS.get(name, name)
