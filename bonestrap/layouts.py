"""Joint layouts: which joint is where in an array, and how the body hangs together.

A layout is data. Packing, augmentation, the encoders' graph and the shipped model all read the same one, so a joint
index is written down once. Bones are (child, parent) pairs with 0-based joint indices.
"""

from __future__ import annotations

import dataclasses
from collections import deque

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """One joint layout.

    `spine` is (lower, upper): the bone that becomes vertical in the canonical orientation. `shoulders` is (right,
    left): the line that becomes parallel to x. `sides` pairs every left joint with its right counterpart.
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    parts: dict[str, tuple[int, ...]]
    root: int
    spine: tuple[int, int]
    shoulders: tuple[int, int]
    center: int

    def __post_init__(self) -> None:
        count = len(self.joints)
        children = [child for child, _ in self.bones]
        if len(set(children)) != len(children):
            raise ValueError(f"layout {self.name}: a joint has two parents")
        if len(self.bones) != count - 1:
            raise ValueError(f"layout {self.name}: {count} joints need {count - 1} bones, got {len(self.bones)}")
        if max(self.hops(self.center)) == count:
            raise ValueError(f"layout {self.name}: the bones do not connect every joint to joint {self.center}")
        if len(self.left) != len(self.right):
            raise ValueError(f"layout {self.name}: {len(self.left)} left joints face {len(self.right)} right joints")

    @property
    def left(self) -> tuple[int, ...]:
        """The joints of the left limbs, in the order of their counterparts in `right`."""
        return self.parts["left_arm"] + self.parts["left_leg"]

    @property
    def right(self) -> tuple[int, ...]:
        """The joints of the right limbs, in the order of their counterparts in `left`."""
        return self.parts["right_arm"] + self.parts["right_leg"]

    @property
    def parents(self) -> tuple[int, ...]:
        """The parent of each joint; the joint without a bone is its own parent, so its bone vector is zero."""
        parent = list(range(len(self.joints)))
        for child, above in self.bones:
            parent[child] = above
        return tuple(parent)

    def hops(self, origin: int) -> list[int]:
        """The number of bones between `origin` and each joint; the joint count where there is no path."""
        count = len(self.joints)
        neighbours: list[list[int]] = [[] for _ in range(count)]
        for child, parent in self.bones:
            neighbours[child].append(parent)
            neighbours[parent].append(child)
        distance = [count] * count
        distance[origin] = 0
        queue = deque([origin])
        while queue:
            joint = queue.popleft()
            for other in neighbours[joint]:
                if distance[other] == count:
                    distance[other] = distance[joint] + 1
                    queue.append(other)
        return distance

    def partitions(self) -> np.ndarray:
        """The spatial-configuration partitions of ST-GCN, (3, V, V): self, centripetal, centrifugal.

        `out[k] @ x` gathers, for each joint, its neighbours of partition k, divided by the joint's degree: over the
        three partitions a joint's weights sum to one (the A D^-1 of ST-GCN, transposed because joints are rows here).
        """
        count = len(self.joints)
        linked = np.eye(count)
        for child, parent in self.bones:
            linked[child, parent] = linked[parent, child] = 1.0
        normalised = linked / linked.sum(1, keepdims=True)
        distance = np.array(self.hops(self.center))
        receiver, sender = np.nonzero(linked)
        masks = np.zeros((3, count, count))
        for i, j in zip(receiver, sender, strict=True):
            partition = 0 if distance[i] == distance[j] else 1 if distance[j] < distance[i] else 2
            masks[partition, i, j] = 1.0
        return (masks * normalised).astype(np.float32)


NTU25 = Layout(
    name="ntu25",
    joints=(
        "spine_base", "spine_mid", "neck", "head",
        "left_shoulder", "left_elbow", "left_wrist", "left_hand",
        "right_shoulder", "right_elbow", "right_wrist", "right_hand",
        "left_hip", "left_knee", "left_ankle", "left_foot",
        "right_hip", "right_knee", "right_ankle", "right_foot",
        "spine_shoulder", "left_hand_tip", "left_thumb", "right_hand_tip", "right_thumb",
    ),
    bones=(
        (0, 1), (1, 20), (2, 20), (3, 2), (4, 20), (5, 4), (6, 5), (7, 6), (8, 20), (9, 8), (10, 9), (11, 10),
        (12, 0), (13, 12), (14, 13), (15, 14), (16, 0), (17, 16), (18, 17), (19, 18),
        (21, 22), (22, 7), (23, 24), (24, 11),
    ),
    parts={
        "trunk": (0, 1, 2, 3, 20),
        "left_arm": (4, 5, 6, 7, 21, 22),
        "right_arm": (8, 9, 10, 11, 23, 24),
        "left_leg": (12, 13, 14, 15),
        "right_leg": (16, 17, 18, 19),
    },
    root=0,
    spine=(0, 1),
    shoulders=(8, 4),
    center=20,
)  # fmt: skip

KINECT20 = Layout(
    name="kinect20",
    joints=(
        "hip_center", "spine", "shoulder_center", "head",
        "left_shoulder", "left_elbow", "left_wrist", "left_hand",
        "right_shoulder", "right_elbow", "right_wrist", "right_hand",
        "left_hip", "left_knee", "left_ankle", "left_foot",
        "right_hip", "right_knee", "right_ankle", "right_foot",
    ),
    bones=(
        (0, 1), (1, 2), (3, 2), (4, 2), (5, 4), (6, 5), (7, 6), (8, 2), (9, 8), (10, 9), (11, 10),
        (12, 0), (13, 12), (14, 13), (15, 14), (16, 0), (17, 16), (18, 17), (19, 18),
    ),
    parts={
        "trunk": (0, 1, 2, 3),
        "left_arm": (4, 5, 6, 7),
        "right_arm": (8, 9, 10, 11),
        "left_leg": (12, 13, 14, 15),
        "right_leg": (16, 17, 18, 19),
    },
    root=0,
    # Kinect v1 puts hip centre and spine five centimetres apart: too short a bone to take a direction from.
    spine=(0, 2),
    shoulders=(8, 4),
    center=2,
)  # fmt: skip

SBU15 = Layout(
    name="sbu15",
    joints=(
        "head", "neck", "torso",
        "left_shoulder", "left_elbow", "left_hand", "right_shoulder", "right_elbow", "right_hand",
        "left_hip", "left_knee", "left_foot", "right_hip", "right_knee", "right_foot",
    ),
    bones=(
        (0, 1), (2, 1), (3, 1), (4, 3), (5, 4), (6, 1), (7, 6), (8, 7),
        (9, 2), (10, 9), (11, 10), (12, 2), (13, 12), (14, 13),
    ),
    parts={
        "trunk": (0, 1, 2),
        "left_arm": (3, 4, 5),
        "right_arm": (6, 7, 8),
        "left_leg": (9, 10, 11),
        "right_leg": (12, 13, 14),
    },
    root=2,
    spine=(2, 1),
    shoulders=(6, 3),
    center=1,
)  # fmt: skip

LAYOUTS = {layout.name: layout for layout in (NTU25, KINECT20, SBU15)}
