"""Layouts against the published bone list, the original construction of the partitions, and their own joint names."""

from __future__ import annotations

import numpy as np
import pytest

from bonestrap.layouts import KINECT20, LAYOUTS, NTU25, Layout

# As published with NTU RGB+D and NW-UCLA, counted from 1: (child, parent).
PUBLISHED_NTU = """(1,2)(2,21)(3,21)(4,3)(5,21)(6,5)(7,6)(8,7)(9,21)(10,9)(11,10)(12,11)(13,1)(14,13)
(15,14)(16,15)(17,1)(18,17)(19,18)(20,19)(22,23)(23,8)(24,25)(25,12)"""
PUBLISHED_UCLA = """(1,2)(2,3)(4,3)(5,3)(6,5)(7,6)(8,7)(9,3)(10,9)(11,10)(12,11)(13,1)(14,13)(15,14)(16,15)(17,1)
(18,17)(19,18)(20,19)"""

every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


@pytest.mark.parametrize(("layout", "text"), [(NTU25, PUBLISHED_NTU), (KINECT20, PUBLISHED_UCLA)])
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
    name, partner = layout.joints, dict(zip(layout.left, layout.right, strict=True))
    assert len(set(name)) == len(name)
    for left, right in partner.items():
        assert name[left].startswith("left_")
        assert name[right] == name[left].replace("left_", "right_")
    # All joints named left or right are limbs, and every bone has its mirror image.
    assert {joint for joint, text in enumerate(name) if text.startswith("left_")} == set(layout.left)
    assert {joint for joint, text in enumerate(name) if text.startswith("right_")} == set(layout.right)
    mirror = {**partner, **{right: left for left, right in partner.items()}}
    assert {(mirror.get(a, a), mirror.get(b, b)) for a, b in layout.bones} == set(layout.bones)
    assert [name[joint] for joint in layout.shoulders] == ["right_shoulder", "left_shoulder"]


@every_layout
def test_parts_hold_every_joint_once(layout: Layout) -> None:
    assert sorted(joint for part in layout.parts.values() for joint in part) == list(range(len(layout.joints)))
    for joint in {layout.root, layout.center, *layout.spine}:
        assert joint in layout.parts["trunk"]


def original_partitions(layout: Layout) -> list[np.ndarray]:
    """The spatial configuration of ST-GCN by definition: A D^-1 over shortest paths, cut by the distance to the centre.

    Entry (j, i) is what joint i receives from joint j, as in the original's product over the first axis.
    """
    count = len(layout.joints)
    path = np.full((count, count), np.inf)
    np.fill_diagonal(path, 0)
    for a, b in layout.bones:
        path[a, b] = path[b, a] = 1
    for k in range(count):  # Floyd and Warshall
        path = np.minimum(path, path[:, [k]] + path[[k], :])
    near = (path <= 1).astype(float)
    normalised = near @ np.diag(1 / near.sum(0))
    away = path[:, layout.center]
    out = [np.zeros((count, count)) for _ in range(3)]
    for i in range(count):
        for j in range(count):
            which = 0 if away[j] == away[i] else 1 if away[j] < away[i] else 2
            out[which][j, i] = normalised[j, i]
    return out


@every_layout
def test_partitions_against_their_definition(layout: Layout) -> None:
    expected = np.stack([matrix.T for matrix in original_partitions(layout)])
    found = layout.partitions()
    np.testing.assert_allclose(found, expected, atol=1e-7)
    np.testing.assert_allclose(found.sum((0, 2)), 1, atol=1e-6)
    # In a tree only a joint itself is as far from the centre as it is among its neighbours.
    assert (found[0] > 0).sum() == np.trace(found[0] > 0) == len(layout.joints)
    assert (found[1] > 0).sum() == (found[2] > 0).sum() == len(layout.bones)


def test_a_broken_layout_is_refused() -> None:
    fields = {
        name: getattr(KINECT20, name) for name in ("name", "joints", "parts", "root", "spine", "shoulders", "center")
    }
    with pytest.raises(ValueError, match="two parents"):
        Layout(**fields, bones=(*KINECT20.bones[:-1], KINECT20.bones[0]))
    with pytest.raises(ValueError, match="need 19 bones"):
        Layout(**fields, bones=KINECT20.bones[:-1])
    loop = (*KINECT20.bones[:-2], (18, 19), (19, 18))
    with pytest.raises(ValueError, match="do not connect"):
        Layout(**fields, bones=loop)
