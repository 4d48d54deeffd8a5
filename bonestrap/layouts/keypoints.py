"""The keypoints that detectors find in images, and those that two data sets of videos are annotated with."""

from __future__ import annotations

from bonestrap.layout import Layout

# The keypoints of COCO, as person detectors write them; the bones are those that published 2D skeleton work uses.
COCO17 = Layout(
    name="coco17",
    joints=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear",
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    ),
    bones=(
        (1, 0), (2, 0), (3, 1), (4, 2), (5, 0), (6, 0), (7, 5), (8, 6), (9, 7), (10, 8),
        (11, 5), (12, 6), (13, 11), (14, 12), (15, 13), (16, 14),
    ),
    sides=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    parts={
        "trunk": (0, 1, 2, 3, 4),
        "left_arm": (5, 7, 9),
        "right_arm": (6, 8, 10),
        "left_leg": (11, 13, 15),
        "right_leg": (12, 14, 16),
    },
    # There is no joint in the middle of the body: halfway between the hips, halfway between the shoulders.
    root=(11, 12),
    spine=((11, 12), (5, 6)),
    shoulders=(6, 5),
    coordinates=2,
)  # fmt: skip

# The first 23 of COCO-WholeBody: body and feet.
COCO23 = Layout(
    name="coco23",
    joints=(
        *COCO17.joints,
        "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
    ),
    bones=(*COCO17.bones, (17, 15), (18, 17), (19, 15), (20, 16), (21, 20), (22, 16)),
    sides=(*COCO17.sides, (17, 20), (18, 21), (19, 22)),
    parts={
        **COCO17.parts,
        "left_leg": (11, 13, 15, 17, 18, 19),
        "right_leg": (12, 14, 16, 20, 21, 22),
    },
    root=COCO17.root,
    spine=COCO17.spine,
    shoulders=COCO17.shoulders,
    coordinates=2,
)  # fmt: skip

# Human3.6M as methods that lift keypoints into space use it.
H36M17 = Layout(
    name="h36m17",
    joints=(
        "root", "right_hip", "right_knee", "right_foot", "left_hip", "left_knee", "left_foot",
        "spine", "thorax", "neck_base", "head",
        "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
    ),
    bones=(
        (1, 0), (2, 1), (3, 2), (4, 0), (5, 4), (6, 5), (7, 0), (8, 7), (9, 8), (10, 9),
        (11, 8), (12, 11), (13, 12), (14, 8), (15, 14), (16, 15),
    ),
    sides=((4, 1), (5, 2), (6, 3), (11, 14), (12, 15), (13, 16)),
    parts={
        "trunk": (0, 7, 8, 9, 10),
        "left_arm": (11, 12, 13),
        "right_arm": (14, 15, 16),
        "left_leg": (4, 5, 6),
        "right_leg": (1, 2, 3),
    },
    root=0,
    spine=(0, 8),
    shoulders=(14, 11),
)  # fmt: skip

# OpenPose's model COCO: COCO's keypoints in another order, with a neck halfway between the shoulders.
COCO18 = Layout(
    name="coco18",
    joints=(
        "nose", "neck",
        "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
        "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
        "right_eye", "left_eye", "right_ear", "left_ear",
    ),
    bones=(
        (0, 1), (2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (7, 6), (8, 1), (9, 8), (10, 9), (11, 1), (12, 11), (13, 12),
        (14, 0), (15, 0), (16, 14), (17, 15),
    ),
    sides=((5, 2), (6, 3), (7, 4), (11, 8), (12, 9), (13, 10), (15, 14), (17, 16)),
    parts={
        "trunk": (0, 1, 14, 15, 16, 17),
        "left_arm": (5, 6, 7),
        "right_arm": (2, 3, 4),
        "left_leg": (11, 12, 13),
        "right_leg": (8, 9, 10),
    },
    root=(8, 11),
    spine=((8, 11), 1),
    shoulders=(2, 5),
    coordinates=2,
)  # fmt: skip

# OpenPose's model BODY_25, its default.
BODY25 = Layout(
    name="body25",
    joints=(
        "nose", "neck",
        "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
        "mid_hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
        "right_eye", "left_eye", "right_ear", "left_ear",
        "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
    ),
    bones=(
        (0, 1), (2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (7, 6), (1, 8), (9, 8), (10, 9), (11, 10),
        (12, 8), (13, 12), (14, 13), (15, 0), (16, 0), (17, 15), (18, 16),
        (19, 14), (20, 19), (21, 14), (22, 11), (23, 22), (24, 11),
    ),
    sides=((5, 2), (6, 3), (7, 4), (12, 9), (13, 10), (14, 11), (16, 15), (18, 17), (19, 22), (20, 23), (21, 24)),
    parts={
        "trunk": (0, 1, 8, 15, 16, 17, 18),
        "left_arm": (5, 6, 7),
        "right_arm": (2, 3, 4),
        "left_leg": (12, 13, 14, 19, 20, 21),
        "right_leg": (9, 10, 11, 22, 23, 24),
    },
    root=8,
    spine=(8, 1),
    shoulders=(2, 5),
    coordinates=2,
)  # fmt: skip

# Halpe-FullBody without face and hands: AlphaPose, RTMPose's body models with feet, and Pose2Sim.
HALPE26 = Layout(
    name="halpe26",
    joints=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear",
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
        "head", "neck", "hip",
        "left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe", "left_heel", "right_heel",
    ),
    bones=(
        (0, 18), (17, 18), (1, 0), (2, 0), (3, 1), (4, 2), (18, 19), (5, 18), (6, 18), (7, 5), (8, 6), (9, 7), (10, 8),
        (11, 19), (12, 19), (13, 11), (14, 12), (15, 13), (16, 14),
        (20, 15), (21, 16), (22, 20), (23, 21), (24, 15), (25, 16),
    ),
    sides=(
        (1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16), (20, 21), (22, 23), (24, 25),
    ),
    parts={
        "trunk": (0, 1, 2, 3, 4, 17, 18, 19),
        "left_arm": (5, 7, 9),
        "right_arm": (6, 8, 10),
        "left_leg": (11, 13, 15, 20, 22, 24),
        "right_leg": (12, 14, 16, 21, 23, 25),
    },
    root=19,
    spine=(19, 18),
    shoulders=(6, 5),
    coordinates=2,
)  # fmt: skip

# MediaPipe Pose (BlazePose): its world landmarks, metres around the middle of the hips.
MEDIAPIPE33 = Layout(
    name="mediapipe33",
    joints=(
        "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
        "left_ear", "right_ear", "left_mouth", "right_mouth",
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_pinky", "right_pinky", "left_index", "right_index", "left_thumb", "right_thumb",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
        "left_heel", "right_heel", "left_foot_index", "right_foot_index",
    ),
    bones=(
        (1, 0), (2, 1), (3, 2), (4, 0), (5, 4), (6, 5), (7, 3), (8, 6), (9, 0), (10, 0), (11, 0), (12, 0),
        (13, 11), (14, 12), (15, 13), (16, 14), (17, 15), (18, 16), (19, 15), (20, 16), (21, 15), (22, 16),
        (23, 11), (24, 12), (25, 23), (26, 24), (27, 25), (28, 26), (29, 27), (30, 28), (31, 27), (32, 28),
    ),
    sides=(
        (1, 4), (2, 5), (3, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16), (17, 18), (19, 20), (21, 22),
        (23, 24), (25, 26), (27, 28), (29, 30), (31, 32),
    ),
    parts={
        "trunk": (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
        "left_arm": (11, 13, 15, 17, 19, 21),
        "right_arm": (12, 14, 16, 18, 20, 22),
        "left_leg": (23, 25, 27, 29, 31),
        "right_leg": (24, 26, 28, 30, 32),
    },
    root=(23, 24),
    spine=((23, 24), (11, 12)),
    shoulders=(12, 11),
)  # fmt: skip

# Joint-annotated HMDB: the puppet's 15 joints.
JHMDB15 = Layout(
    name="jhmdb15",
    joints=(
        "neck", "belly", "face", "right_shoulder", "left_shoulder", "right_hip", "left_hip",
        "right_elbow", "left_elbow", "right_knee", "left_knee", "right_wrist", "left_wrist",
        "right_ankle", "left_ankle",
    ),
    bones=(
        (0, 1), (2, 0), (3, 0), (4, 0), (5, 1), (6, 1), (7, 3), (8, 4), (9, 5), (10, 6), (11, 7), (12, 8),
        (13, 9), (14, 10),
    ),
    sides=((4, 3), (6, 5), (8, 7), (10, 9), (12, 11), (14, 13)),
    parts={
        "trunk": (0, 1, 2),
        "left_arm": (4, 8, 12),
        "right_arm": (3, 7, 11),
        "left_leg": (6, 10, 14),
        "right_leg": (5, 9, 13),
    },
    root=1,
    spine=((5, 6), 0),
    shoulders=(3, 4),
    coordinates=2,
)  # fmt: skip

# Penn Action.
PENN13 = Layout(
    name="penn13",
    joints=(
        "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    ),
    bones=((1, 0), (2, 0), (3, 1), (4, 2), (5, 3), (6, 4), (7, 1), (8, 2), (9, 7), (10, 8), (11, 9), (12, 10)),
    sides=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12)),
    parts={
        "trunk": (0,),
        "left_arm": (1, 3, 5),
        "right_arm": (2, 4, 6),
        "left_leg": (7, 9, 11),
        "right_leg": (8, 10, 12),
    },
    root=(7, 8),
    spine=((7, 8), (1, 2)),
    shoulders=(2, 1),
    coordinates=2,
)  # fmt: skip
