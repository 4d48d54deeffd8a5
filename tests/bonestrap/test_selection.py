"""Selection-Permutation: which joints it shows, of every common layout, against lists written by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bonestrap.layout import Layout
from bonestrap.layouts import COCO17, KINECT20, LAYOUTS, NTU25, SBU15
from bonestrap.selection import membership, places, plain, selected


def words(text: str) -> list[str]:
    return text.split()


# As OpenPose, ViTPose (COCO-25, without spaces) and MediaPipe name their joints, in their order.
BODY25 = words(
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee LAnkle REye LEye "
    "REar LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel"
)
COCO25 = words(
    "nose left_eye right_eye left_ear right_ear neck left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip mid_hip left_knee right_knee left_ankle right_ankle left_big_toe left_small_toe "
    "left_heel right_big_toe right_small_toe right_heel"
)
MEDIAPIPE33 = words(
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
    "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky "
    "right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee "
    "left_ankle right_ankle left_heel right_heel left_foot_index right_foot_index"
)


def planar(name: str, joints: list[str]) -> Layout:
    """A layout of these joints, hung on one another as they come."""
    side = {plain(joint): index for index, joint in enumerate(joints)}
    left, right = side["left_shoulder"], side["right_shoulder"]
    return Layout(
        name=name,
        joints=tuple(joints),
        bones=tuple((child, child - 1) for child in range(1, len(joints))),
        sides=((left, right),),
        parts={"trunk": tuple(range(len(joints)))},
        root=(side["left_hip"], side["right_hip"]),
        spine=((side["left_hip"], side["right_hip"]), (left, right)),
        shoulders=(right, left),
        coordinates=2,
    )


# Trunk, left arm, right arm, right leg, left leg; sets, because a mean has no order.
EXPECTED = {
    "coco17": (COCO17, [
        {0, 1, 2, 3, 4}, {5, 6}, {11, 12}, {5}, {7}, {9}, {6}, {8}, {10}, {12}, {14}, {16}, {11}, {13}, {15},
    ]),
    "coco25": (planar("coco25", COCO25), [
        {0, 1, 2, 3, 4}, {5}, {14}, {6}, {8}, {10}, {7}, {9}, {11},
        {13}, {16}, {18, 22, 23, 24}, {12}, {15}, {17, 19, 20, 21},
    ]),
    "body25": (planar("body25", BODY25), [
        {0, 15, 16, 17, 18}, {1}, {8}, {5}, {6}, {7}, {2}, {3}, {4},
        {9}, {10}, {11, 22, 23, 24}, {12}, {13}, {14, 19, 20, 21},
    ]),
    "mediapipe33": (planar("mediapipe33", MEDIAPIPE33), [
        set(range(11)), {11, 12}, {23, 24}, {11}, {13}, {15}, {12}, {14}, {16},
        {24}, {26}, {28, 30, 32}, {23}, {25}, {27, 29, 31},
    ]),
    "ntu25": (NTU25, [{3}, {2}, {0}, {4}, {5}, {6}, {8}, {9}, {10}, {16}, {17}, {18, 19}, {12}, {13}, {14, 15}]),
    "kinect20": (KINECT20, [{3}, {2}, {0}, {4}, {5}, {6}, {8}, {9}, {10}, {16}, {17}, {18, 19}, {12}, {13}, {14, 15}]),
    "sbu15": (SBU15, [{0}, {1}, {9, 12}, {3}, {4}, {5}, {6}, {7}, {8}, {12}, {13}, {14}, {9}, {10}, {11}]),
}  # fmt: skip

EXPECTED |= {f"{name}, built in": (LAYOUTS[name], EXPECTED[name][1]) for name in ("body25", "mediapipe33")}
EXPECTED["jhmdb15"] = (LAYOUTS["jhmdb15"], [
    {2}, {0}, {5, 6}, {4}, {8}, {12}, {3}, {7}, {11}, {5}, {9}, {13}, {6}, {10}, {14},
])  # fmt: skip


@pytest.mark.parametrize(("layout", "expected"), EXPECTED.values(), ids=EXPECTED)
def test_the_fifteen_places(layout: Layout, expected: list[set[int]]) -> None:
    found = selected(layout)
    assert [set(place) for place in found] == expected
    matrix = membership(found, len(layout.joints))
    assert [set(np.flatnonzero(row)) for row in matrix] == expected and set(np.unique(matrix)) == {0, 1}


@pytest.mark.parametrize(
    ("name", "said"),
    [("LeftKnee", "left_knee"), ("RBigToe", "right_big_toe"), ("l_knee", "left_knee"), ("R.Hip", "right_hip"),
     ("left shoulder", "left_shoulder"), ("MidHip", "mid_hip"), ("larynx", "larynx")],
)  # fmt: skip
def test_names(name: str, said: str) -> None:
    assert plain(name) == said


def test_a_layout_declares_its_own() -> None:
    fields = {**KINECT20.to_json(), "name": "mine", "selection": [["right_hand", "right_wrist"], ["head"]]}
    mine = Layout.from_json(fields)
    assert selected(mine) == ((11, 10), (3,))
    assert Layout.from_json(mine.to_json()) == mine
    assert "selection" not in KINECT20.to_json()  # shards that are packed keep their layout


def test_random_orders_and_all_joints() -> None:
    order = places(NTU25, permutation=3)
    assert order != selected(NTU25) and sorted(order) == sorted(selected(NTU25))
    assert order == places(NTU25, permutation=3) != places(NTU25, permutation=4)
    assert places(NTU25, every=True) == tuple((joint,) for joint in range(25))


WRONG = {
    "unknown": ([["head"], ["tail"]], "layout mine: selection speaks of joint tail, which is not in joints"),
    "no list": (["head"], "layout mine: selection must be a list of places, each a list of joints"),
    "empty": ([[]], "layout mine: selection names no joint"),
}


@pytest.mark.parametrize(("selection", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_declaration_is_one_sentence(selection: list[object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Layout.from_json({**KINECT20.to_json(), "name": "mine", "selection": selection})


def test_a_layout_without_the_joints_is_refused() -> None:
    names = tuple(name.replace("elbow", "middle") for name in KINECT20.joints)
    with pytest.raises(ValueError, match=r"no joint for the left elbow .* declare its places in the field selection"):
        selected(dataclasses.replace(KINECT20, name="mine", joints=names))
