"""Layouts against the published bone lists, the original construction of the partitions, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bonestrap.layout import Layout, points
from bonestrap.layouts import COCO17, KINECT20, LAYOUTS, NTU25, SBU15
from bonestrap.sides import named_sides
from tests.bonestrap.references import original_partitions

# As published with NTU RGB+D and NW-UCLA, counted from 1: (child, parent).
PUBLISHED_NTU = """(1,2)(2,21)(3,21)(4,3)(5,21)(6,5)(7,6)(8,7)(9,21)(10,9)(11,10)(12,11)(13,1)(14,13)
(15,14)(16,15)(17,1)(18,17)(19,18)(20,19)(22,23)(23,8)(24,25)(25,12)"""
PUBLISHED_UCLA = """(1,2)(2,3)(4,3)(5,3)(6,5)(7,6)(8,7)(9,3)(10,9)(11,10)(12,11)(13,1)(14,13)(15,14)(16,15)(17,1)
(18,17)(19,18)(20,19)"""
# COCO's keypoints as 2D skeleton networks link them, counted from 1, outward from the nose.
PUBLISHED_COCO = """(16,14)(14,12)(17,15)(15,13)(12,6)(13,7)(10,8)(8,6)(11,9)(9,7)(6,1)(7,1)(2,1)(4,2)(3,1)(5,3)"""

every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


@pytest.mark.parametrize(
    ("layout", "text"), [(NTU25, PUBLISHED_NTU), (KINECT20, PUBLISHED_UCLA), (COCO17, PUBLISHED_COCO)]
)
def test_bones_are_the_published_ones(layout: Layout, text: str) -> None:
    pairs = [part.split(",") for part in text.replace("\n", "").strip("()").split(")(")]
    assert set(layout.bones) == {(int(child) - 1, int(parent) - 1) for child, parent in pairs}


@every_layout
def test_bones_are_a_tree_over_all_joints(layout: Layout) -> None:
    reached = {joint for joint in range(len(layout.joints)) if joint not in {child for child, _ in layout.bones}}
    assert len(reached) == 1  # one root
    while grown := {child for child, parent in layout.bones if parent in reached} - reached:
        reached |= grown
    assert reached == set(range(len(layout.joints)))
    assert len(layout.bones) == len(layout.joints) - 1


@every_layout
def test_left_and_right_mirror_each_other(layout: Layout) -> None:
    name, partner = layout.joints, dict(layout.sides)
    assert len(set(name)) == len(name)
    for left, right in partner.items():
        assert name[left].startswith("left_")
        assert name[right] == name[left].replace("left_", "right_")
    # All joints named left or right are paired, and every bone has its mirror image.
    assert {joint for joint, text in enumerate(name) if text.startswith("left_")} == set(partner)
    assert {joint for joint, text in enumerate(name) if text.startswith("right_")} == set(partner.values())
    mirror = {**partner, **{right: left for left, right in partner.items()}}
    assert {(mirror.get(a, a), mirror.get(b, b)) for a, b in layout.bones} == set(layout.bones)
    assert [name[joint] for joint in layout.shoulders] == ["right_shoulder", "left_shoulder"]


@every_layout
def test_parts_hold_every_joint_once(layout: Layout) -> None:
    assert sorted(joint for part in layout.parts.values() for joint in part) == list(range(len(layout.joints)))
    for side in ("left", "right"):
        limbs = layout.parts[f"{side}_arm"] + layout.parts[f"{side}_leg"]
        assert sorted(getattr(layout, side)) == sorted(limbs)
        assert all(layout.joints[joint].startswith(side) for joint in limbs)
    assert [partner for joint in layout.left for left, partner in layout.sides if left == joint] == [*layout.right]


def test_centres_are_those_of_published_graphs() -> None:
    assert [layout.joints[layout.center] for layout in (NTU25, KINECT20, SBU15, COCO17)] == [
        "spine_shoulder", "shoulder_center", "neck", "nose",
    ]  # fmt: skip


@every_layout
def test_partitions_against_their_definition(layout: Layout) -> None:
    expected = np.stack([matrix.T for matrix in original_partitions(layout)])
    found = layout.partitions()
    np.testing.assert_allclose(found, expected, atol=1e-7)
    np.testing.assert_allclose(found.sum((0, 2)), 1, atol=1e-6)
    # In a tree only a joint itself is as far from the centre as it is among its neighbours.
    assert (found[0] > 0).sum() == np.trace(found[0] > 0) == len(layout.joints)
    assert (found[1] > 0).sum() == (found[2] > 0).sum() == len(layout.bones)


# ---------------------------------------------------------------------- as JSON


@pytest.mark.parametrize(("layout", "entries"), [(NTU25, (25, 40, 8)), (KINECT20, (20, 31, 7))], ids=["ntu", "kinect"])
def test_one_hop_partitions_have_the_entries_of_published_code(layout: Layout, entries: tuple[int, ...]) -> None:
    """Distances by powers of the adjacency, infinite beyond one bone; each entry is assigned by comparing them."""
    count = len(layout.joints)
    hop = np.full((count, count), np.inf)
    for child, parent in layout.bones:
        hop[child, parent] = hop[parent, child] = 1
    np.fill_diagonal(hop, 0)
    near = (hop <= 1).astype(float)
    weight = near / near.sum(0)  # A D^-1: columns sum to one, and a column is a receiver
    expected = np.zeros((3, count, count))
    for sender in range(count):
        for receiver in range(count):
            if sender == receiver:
                expected[0, receiver, sender] = weight[sender, receiver]
            elif hop[sender, receiver] == 1:
                nearer = hop[sender, layout.center] < hop[receiver, layout.center]
                expected[2 if nearer else 1, receiver, sender] = weight[sender, receiver]
    found = layout.partitions(one_hop=True)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert tuple((found != 0).sum((1, 2))) == entries
    assert found.sum(0) == pytest.approx(layout.partitions().sum(0))


@every_layout
def test_json_gives_the_layout_back(layout: Layout) -> None:
    fields = json.loads(json.dumps(layout.to_json()))
    assert Layout.from_json(fields) == layout
    assert fields["joints"] == list(layout.joints)
    child, parent = layout.bones[3]
    assert fields["bones"][3] == [layout.joints[child], layout.joints[parent]]


def stick() -> dict[str, Any]:
    """The least that a layout can say: a body of nine joints without hips."""
    return {
        "name": "stick",
        "joints": ["pelvis", "chest", "head", "left_arm", "right_arm", "left_foot", "right_foot", "left_toe",
                   "right_toe"],
        "bones": [
            ["chest", "pelvis"], ["head", "chest"], ["left_arm", "chest"], ["right_arm", "chest"],
            ["left_foot", "pelvis"], ["right_foot", "pelvis"], ["left_toe", "left_foot"], ["right_toe", "right_foot"],
        ],
        "root": "pelvis",
        "spine": ["pelvis", ["left_arm", "right_arm"]],
        "shoulders": ["right_arm", "left_arm"],
    }  # fmt: skip


def test_what_is_not_said_follows_from_the_names() -> None:
    layout = Layout.from_json(stick())
    assert layout.sides == ((3, 4), (5, 6), (7, 8))
    assert (layout.left, layout.right) == ((3, 5, 7), (4, 6, 8))
    assert layout.parts == {"trunk": (0, 1, 2), "left": (3, 5, 7), "right": (4, 6, 8)}
    assert (layout.root, layout.spine, layout.shoulders, layout.center) == (0, (0, (3, 4)), (4, 3), 0)
    assert (points(3), points((3, 4))) == ((3,), (3, 4))
    assert Layout.from_json(layout.to_json()) == layout
    assert (layout.coordinates, layout.axes, layout.channels, layout.unit) == (3, 3, 6, "metre")
    planar = Layout.from_json({**stick(), "coordinates": 2, "confidence": True})
    assert (planar.coordinates, planar.axes, planar.channels, planar.unit) == (2, 3, 5, "torso")
    assert Layout.from_json(planar.to_json()) == planar != layout


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("lfemur", "rfemur"), ("LASI", "RASI"), ("LeftKnee", "RightKnee"), ("leftKnee", "rightKnee"),
        ("knee_left", "knee_right"), ("knee.L", "knee.R"), ("thigh_l_01", "thigh_r_01"), ("mixamorig:LeftUpLeg",
        "mixamorig:RightUpLeg"), ("HandLeft", "HandRight"), ("LEFT KNEE", "RIGHT KNEE"), ("toeL", "toeR"),
    ],
)  # fmt: skip
def test_sides_follow_from_names_of_many_fashions(left: str, right: str) -> None:
    assert named_sides(["hip", right, "lowerback", left]) == ((3, 1),)
    assert named_sides(["hip", left, "lowerback"]) == ()


def test_no_joint_is_in_two_pairs() -> None:
    """Carnegie Mellon's names, and names that a letter alone would mislead."""
    names = ["root", "lfemur", "ltibia", "rfemur", "rtibia", "lowerback", "lowerneck", "lclavicle", "rclavicle"]
    names += ["lear", "rear"]
    found = [(names[left], names[right]) for left, right in named_sides(names)]
    assert found == [("lfemur", "rfemur"), ("ltibia", "rtibia"), ("lclavicle", "rclavicle"), ("lear", "rear")]
    for words in (["l_l", "r_l", "l_r", "r_r"], ["leftl", "rightl", "leftr", "rightr"]):
        joints = [joint for pair in named_sides(words) for joint in pair]
        assert len(joints) == len(set(joints)) == 4


def test_a_joint_without_its_counterpart_belongs_to_the_trunk() -> None:
    """As the marker right_back of Plug-in Gait, which has no left counterpart."""
    fields = json.loads(json.dumps(stick()).replace("right_toe", "toe"))
    layout = Layout.from_json(fields)
    assert layout.parts["trunk"] == (0, 1, 2, 7, 8) and layout.left == (3, 5)
    (doubt,) = layout.doubts
    assert "joint left_toe has no counterpart" in doubt and "pair them in sides" in doubt
    paired = Layout.from_json({**fields, "sides": [*PAIRS[:2], ["left_toe", "toe"]]})  # sides still decide
    assert paired.left == (3, 5, 7) and paired.doubts == ()
    assert Layout.from_json({**stick(), "sides": PAIRS[:2]}).left == (3, 5)


def test_a_layout_without_sides_is_doubtful() -> None:
    fields = json.loads(json.dumps(stick()).replace("left_", "one_").replace("right_", "other_"))
    (doubt,) = Layout.from_json(fields).doubts
    assert doubt.startswith("layout stick has no sides, so no limb can be hidden in training; give sides")
    assert [layout.doubts for layout in LAYOUTS.values()] == [()] * len(LAYOUTS)


def test_names_need_not_say_the_side() -> None:
    fields = json.loads(json.dumps(stick()).replace("left_", "one_").replace("right_", "other_"))
    assert Layout.from_json(fields).sides == ()
    fields = json.loads(json.dumps(stick()).replace("left_", "L").replace("right_", "R"))
    fields["sides"] = [["Larm", "Rarm"], ["Lfoot", "Rfoot"], ["Ltoe", "Rtoe"]]
    fields["parts"] = {"trunk": ["pelvis", "chest", "head", "Larm", "Rarm"], "legs": ["Lfoot", "Rfoot", "Ltoe", "Rtoe"]}
    layout = Layout.from_json(fields)
    assert (layout.left, layout.right) == ((5, 7), (6, 8))  # arms that are declared trunk are no limbs


def changed(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda fields: {**fields, **changes}


def without(field: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda fields: {key: value for key, value in fields.items() if key != field}


def rebone(number: int, *bone: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda fields: {**fields, "bones": [list(bone) if i == number else b for i, b in enumerate(fields["bones"])]}


PAIRS = [["left_arm", "right_arm"], ["left_foot", "right_foot"], ["left_toe", "right_toe"]]
WRONG: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no object": (lambda fields: [1], r"a layout is a JSON object with the fields name, joints.*not \[1\]"),
    "no name": (without("name"), "a layout needs a name"),
    "no root": (without("root"), "root is missing; a layout has the fields name, joints, bones, root"),
    "no bones": (without("bones"), "bones is missing"),
    "a slip of the pen": (changed(bonez=[]), "unknown field bonez; did you mean bones?"),
    "joints are no list": (changed(joints="pelvis"), "joints must be a list of names"),
    "one joint": (changed(joints=["pelvis"], bones=[], spine=["pelvis"] * 2, shoulders=["pelvis"] * 2), "two joints"),
    "a joint twice": (lambda f: {**f, "joints": [*f["joints"], "head"]}, "joint head comes twice in joints"),
    "a nameless joint": (lambda f: {**f, "joints": [*f["joints"], ""]}, "a joint's name is a text, not ''"),
    "an unknown joint": (rebone(1, "head", "cest"), "bones speaks of joint cest, .* joints; did you mean chest?"),
    "a joint by number": (rebone(1, "head", 1), "bones speaks of joint 1, which is not in joints"),  # type: ignore[arg-type]
    "an unknown root": (changed(root="hip"), "root speaks of joint hip, which is not in joints"),
    "an empty root": (changed(root=[]), "root names no joint"),
    "half a bone": (rebone(1, "head"), r"bones must be a list of pairs \[joint, parent\]"),
    "a bone to itself": (rebone(1, "head", "head"), "a bone joins head to itself"),
    "two parents": (rebone(1, "left_toe", "head"), "joint left_toe has two parents, head and left_foot"),
    "a circle": (rebone(4, "left_foot", "left_toe"), "the bones of left_foot, left_toe run in a circle"),
    "a loose joint": (lambda f: {**f, "bones": f["bones"][1:]}, "the joints pelvis, chest have no parent; all but one"),
    "two partners": (changed(sides=[*PAIRS, ["head", "left_toe"]]), "joint left_toe comes twice in sides"),
    "half a pair": (changed(sides=[["left_arm"]]), r"sides must be a list of pairs \[left, right\]"),
    "exchanged shoulders": (
        changed(shoulders=["left_arm", "right_arm"]),
        r"shoulders must be \[right, left\], a pair of sides, and are \[left_arm, right_arm\]",
    ),
    "one shoulder": (changed(shoulders=["left_arm"]), r"shoulders must be two joints, \[right, left\]"),
    "one shoulder twice": (changed(shoulders=["head", "head"]), "shoulders are the same joint"),
    "four dimensions": (changed(coordinates=4), "coordinates must be 2 or 3, and confidence true or false"),
    "a confidence of words": (changed(confidence="yes"), "coordinates must be 2 or 3, and confidence true or false"),
    "no spine": (changed(spine=["chest"]), r"spine must be two joints, \[lower, upper\]"),
    "a spine to itself": (changed(spine=["chest", ["chest"]]), "spine begins and ends in the same place"),
    "parts are no object": (changed(parts=["trunk"]), "parts must be an object of lists of joints"),
    "a joint in no part": (changed(parts={"trunk": ["pelvis", "chest"]}), "joint head is in none of the parts"),
    "a joint in two parts": (
        lambda f: {**f, "parts": {"trunk": f["joints"], "head": ["head"]}},
        "joint head is in 2 of the parts",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", WRONG)
def test_a_broken_layout_is_refused_in_one_sentence(fault: str) -> None:
    damage, sentence = WRONG[fault]
    with pytest.raises(ValueError, match=sentence) as caught:
        Layout.from_json(damage(stick()))
    said = str(caught.value)
    assert "\n" not in said and said.count("layout stick: ") == (fault not in ("no object", "no name"))


def test_indices_beyond_the_joints_are_refused() -> None:
    fields = {name: getattr(KINECT20, name) for name in ("name", "joints", "sides", "parts", "root", "spine")}
    with pytest.raises(ValueError, match="layout kinect20: bones speaks of joint 20, and joints are 0 to 19"):
        Layout(**fields, shoulders=KINECT20.shoulders, bones=(*KINECT20.bones[:-1], (19, 20)))
