"""Markers on the body, and the keypoints that stand in for them, as motion capture with cameras gives them."""

from __future__ import annotations

from bonestrap.layout import Layout

# Plug-in Gait, the full body: LFHD is left_front_head, RBAK back_marker and so on.
PLUG_IN_GAIT39 = Layout(
    name="plug_in_gait39",
    joints=(
        "left_front_head", "right_front_head", "left_back_head", "right_back_head",
        "c7", "t10", "clavicle", "sternum", "back_marker",
        "left_shoulder", "left_upper_arm", "left_elbow", "left_forearm", "left_wrist_a", "left_wrist_b", "left_finger",
        "right_shoulder", "right_upper_arm", "right_elbow", "right_forearm", "right_wrist_a", "right_wrist_b",
        "right_finger",
        "left_front_hip", "right_front_hip", "left_back_hip", "right_back_hip",
        "left_thigh", "left_knee", "left_shin", "left_ankle", "left_heel", "left_toe",
        "right_thigh", "right_knee", "right_shin", "right_ankle", "right_heel", "right_toe",
    ),
    bones=(
        (0, 2), (1, 3), (2, 4), (3, 4), (4, 5), (6, 4), (7, 6), (8, 4),
        (9, 4), (10, 9), (11, 10), (12, 11), (13, 12), (14, 12), (15, 13),
        (16, 4), (17, 16), (18, 17), (19, 18), (20, 19), (21, 19), (22, 20),
        (23, 25), (24, 26), (25, 5), (26, 5),
        (27, 23), (28, 27), (29, 28), (30, 29), (31, 30), (32, 30),
        (33, 24), (34, 33), (35, 34), (36, 35), (37, 36), (38, 36),
    ),
    sides=(
        (0, 1), (2, 3), (9, 16), (10, 17), (11, 18), (12, 19), (13, 20), (14, 21), (15, 22), (23, 24), (25, 26),
        (27, 33), (28, 34), (29, 35), (30, 36), (31, 37), (32, 38),
    ),
    parts={
        "trunk": (0, 1, 2, 3, 4, 5, 6, 7, 8, 23, 24, 25, 26),
        "left_arm": (9, 10, 11, 12, 13, 14, 15),
        "right_arm": (16, 17, 18, 19, 20, 21, 22),
        "left_leg": (27, 28, 29, 30, 31, 32),
        "right_leg": (33, 34, 35, 36, 37, 38),
    },
    root=(23, 24, 25, 26),
    spine=((25, 26), 4),
    shoulders=(16, 9),
)  # fmt: skip

# Pose2Sim's skeleton HALPE_26: the keypoints of Halpe without eyes and ears.
POSE2SIM22 = Layout(
    name="pose2sim22",
    joints=(
        "hip", "right_hip", "right_knee", "right_ankle", "right_big_toe", "right_small_toe", "right_heel",
        "left_hip", "left_knee", "left_ankle", "left_big_toe", "left_small_toe", "left_heel",
        "neck", "head", "nose",
        "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    ),
    bones=(
        (1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (6, 3), (7, 0), (8, 7), (9, 8), (10, 9), (11, 10), (12, 9),
        (13, 0), (14, 13), (15, 14), (16, 13), (17, 16), (18, 17), (19, 13), (20, 19), (21, 20),
    ),
    sides=((7, 1), (8, 2), (9, 3), (10, 4), (11, 5), (12, 6), (19, 16), (20, 17), (21, 18)),
    parts={
        "trunk": (0, 13, 14, 15),
        "left_arm": (19, 20, 21),
        "right_arm": (16, 17, 18),
        "left_leg": (7, 8, 9, 10, 11, 12),
        "right_leg": (1, 2, 3, 4, 5, 6),
    },
    root=0,
    spine=(0, 13),
    shoulders=(16, 19),
)  # fmt: skip
