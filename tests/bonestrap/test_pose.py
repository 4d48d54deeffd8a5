"""Canonical pose against scipy's rotations, and against what any rigid motion of the camera must leave unchanged."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from bonestrap import pose
from bonestrap.layout import Layout, points
from bonestrap.layouts import COCO17, KINECT20, LAYOUTS, NTU25

SPATIAL = [layout for layout in LAYOUTS.values() if layout.coordinates == 3]
SCORED = dataclasses.replace(COCO17, confidence=True)


def people(layout: Layout, *shape: int, seed: int = 0) -> Tensor:
    """Random joints (*shape, V, 3) of the size and distance of people before a camera, float64 metres."""
    generator = torch.Generator().manual_seed(seed)
    joints = torch.randn(*shape, len(layout.joints), layout.axes, generator=generator, dtype=torch.float64)
    return 0.4 * joints + torch.tensor([0.3, -0.2, 3.0], dtype=torch.float64)[: layout.axes]


@pytest.mark.parametrize("layout", SPATIAL, ids=lambda layout: layout.name)
def test_the_first_frame_stands_upright_and_faces_forward(layout: Layout) -> None:
    joints = people(layout, 5, 2)
    out = pose.canonical(joints, layout)
    first = out[0, 0]
    root, lower, upper = (first[list(points(where))].mean(0) for where in (layout.root, *layout.spine))
    spine = upper - lower
    right = first[layout.shoulders[0]] - first[layout.shoulders[1]]
    torch.testing.assert_close(root, torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(spine[:2], torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)
    assert spine[2] > 0
    assert abs(right[1]) < 1e-12 and right[0] > 0
    # One rigid motion: all distances stay, between persons and between frames too.
    torch.testing.assert_close(torch.pdist(out.reshape(-1, 3)), torch.pdist(joints.reshape(-1, 3)))


def test_rotation_agrees_with_scipy() -> None:
    joints = people(KINECT20, 1, 1)
    body = joints[0, 0].numpy()
    up = body[KINECT20.spine[1]] - body[KINECT20.spine[0]]
    right = body[KINECT20.shoulders[0]] - body[KINECT20.shoulders[1]]
    # Wahba's problem with the spine as the exact pair: the independent construction of the same orientation.
    expected, _ = Rotation.align_vectors([[0, 0, 1], [1, 0, 0]], [up, right], weights=[np.inf, 1])
    rotation = pose.canonical_motion(joints, KINECT20)[0].numpy()
    np.testing.assert_allclose(rotation, expected.as_matrix(), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_where_the_camera_stands_does_not_matter(seed: int) -> None:
    joints = people(NTU25, 7, 2, seed=seed)
    moved = joints @ torch.from_numpy(Rotation.random(rng=seed).as_matrix()).T + torch.tensor([1.0, -2.0, 0.5])
    torch.testing.assert_close(pose.canonical(moved, NTU25), pose.canonical(joints, NTU25), atol=1e-12, rtol=0)


def test_float32_is_enough_for_the_shipped_model() -> None:
    joints = people(NTU25, 7, 2)
    out = pose.canonical(joints.float(), NTU25)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double(), pose.canonical(joints, NTU25), atol=1e-5, rtol=0)


def test_a_batch_is_its_rows() -> None:
    joints = people(NTU25, 4, 6, 2)
    joints[1, :2, 0] = torch.nan
    joints[2, 0, 0, NTU25.spine[1]] = joints[2, 0, 0, NTU25.spine[0]]
    joints[3, :, 0] = torch.nan
    batch = pose.canonical(joints, NTU25)
    for row, one in zip(batch, joints, strict=True):
        torch.testing.assert_close(row, pose.canonical(one, NTU25), equal_nan=True)


def test_the_first_usable_frame_of_the_main_body_counts() -> None:
    joints = people(NTU25, 6, 2)
    joints[0, 0] = torch.nan  # not there
    joints[1, 0, NTU25.spine[1]] = joints[1, 0, NTU25.spine[0]]  # a spine without length
    axis = joints[2, 0, NTU25.spine[1]] - joints[2, 0, NTU25.spine[0]]
    joints[2, 0, NTU25.shoulders[0]] = joints[2, 0, NTU25.shoulders[1]] + 2 * axis  # shoulders along the spine
    frame, oriented = pose.reference_frame(joints, NTU25)
    assert (int(frame), bool(oriented)) == (3, True)
    out = pose.canonical(joints, NTU25)
    torch.testing.assert_close(out[3:], pose.canonical(joints[3:], NTU25))
    assert out[0, 0].isnan().all() and not out[0, 1].isnan().any()


def test_without_a_usable_frame_the_recording_is_only_centred() -> None:
    joints = people(NTU25, 3, 1)
    joints[:, 0, NTU25.spine[1]] = joints[:, 0, NTU25.spine[0]]
    out = pose.canonical(joints, NTU25)
    torch.testing.assert_close(out, joints - joints[0, 0, NTU25.root])


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ntu25 needs joints \(\.\.\., T, M, 25, 3\), got \(5, 1, 20, 3\)"):
        pose.canonical(people(KINECT20, 5, 1), NTU25)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_bones_rebuild_the_joints(layout: Layout) -> None:
    joints = people(layout, 4, 2)
    vectors = pose.bones(joints, layout)
    origin = next(joint for joint, parent in enumerate(layout.parents) if joint == parent)
    assert not vectors[..., origin, :].any()
    for joint in range(len(layout.joints)):
        total, at = torch.zeros_like(joints[..., 0, :]), joint
        while at != origin:
            total, at = total + vectors[..., at, :], layout.parents[at]
        torch.testing.assert_close(joints[..., origin, :] + total, joints[..., joint, :])


# ---------------------------------------------------------------------- planar joints


def test_planar_joints_are_centred_and_measured_in_torsos() -> None:
    joints = 100 * people(SCORED, 7, 2)
    joints[0, 0] = torch.nan
    joints[4, 0, 5:7, :2] = joints[4, 0, 11:13, :2]  # bent towards the camera: no torso to be seen
    out = pose.canonical(joints, SCORED).numpy()
    main = joints[1:, 0, :, :2].numpy()
    hips, shoulders = main[:, [11, 12]].mean(1), main[:, [5, 6]].mean(1)
    lengths = np.sort(np.linalg.norm(shoulders - hips, axis=1))
    assert lengths[0] == 0 and len(lengths) == 6
    expected = (joints[..., :2].numpy() - hips[0]) / lengths[2]  # of an even number, the lower median
    np.testing.assert_allclose(out[..., :2], expected, atol=1e-9)
    np.testing.assert_array_equal(out[..., 2], joints[..., 2].numpy())


@pytest.mark.parametrize("zoom", [0.001, 0.5, 30.0])
def test_distance_and_place_in_the_image_do_not_matter(zoom: float) -> None:
    joints = 300 * people(COCO17, 9, 2)
    moved = zoom * joints + torch.tensor([12.0, -400.0])
    torch.testing.assert_close(pose.canonical(moved, COCO17), pose.canonical(joints, COCO17), atol=1e-9, rtol=0)


def test_planar_joints_without_a_torso_are_only_centred() -> None:
    joints = people(COCO17, 3, 1)
    joints[:, 0, 5:7] = joints[:, 0, 11:13]
    torch.testing.assert_close(pose.canonical(joints, COCO17), joints - joints[0, 0, [11, 12]].mean(0))


def test_planar_batches_are_their_rows() -> None:
    joints = people(SCORED, 4, 6, 2)
    joints[1, :2, 0] = torch.nan
    joints[3, :, 0] = torch.nan
    for row, one in zip(pose.canonical(joints, SCORED), joints, strict=True):
        torch.testing.assert_close(row, pose.canonical(one, SCORED), equal_nan=True)


# ---------------------------------------------------------------------- missing joints


@pytest.mark.parametrize("layout", [NTU25, COCO17, SCORED], ids=["space", "plane", "confidence"])
def test_missing_joints_are_interpolated_like_numpy(layout: Layout) -> None:
    joints = people(layout, 30, 2)
    whole = joints.clone()
    generator = torch.Generator().manual_seed(1)
    lost = torch.rand(30, 2, len(layout.joints), generator=generator) < 0.4
    lost[:, 0, 3] = False
    lost[12:15, 1] = True  # a body that is away for a while
    joints[..., : layout.coordinates][lost] = torch.nan
    out = pose.interpolate(joints, layout)
    assert out[12:15, 1, :, : layout.coordinates].isnan().all()
    for body in range(2):
        for joint in range(len(layout.joints)):
            seen = np.flatnonzero(~lost[:, body, joint].numpy())
            for axis in range(layout.coordinates):
                expected = np.interp(np.arange(30), seen, whole[seen, body, joint, axis].numpy())
                expected[12:15] = np.nan if body else expected[12:15]
                np.testing.assert_allclose(out[:, body, joint, axis].numpy(), expected, atol=1e-12)
    torch.testing.assert_close(out[..., layout.coordinates :], whole[..., layout.coordinates :])


def test_a_joint_that_is_never_seen_lies_on_its_nearest_neighbour() -> None:
    joints = people(COCO17, 5, 2)
    whole = joints.clone()
    joints[:, 0, [7, 9, 16]] = torch.nan  # left elbow and wrist, right ankle
    joints[:, 1] = torch.nan  # nobody
    out = pose.interpolate(joints, COCO17)
    torch.testing.assert_close(out[:, 0, [7, 9, 16]], whole[:, 0, [5, 5, 14]])
    torch.testing.assert_close(out[:, 0, :7], whole[:, 0, :7])
    assert out[:, 1].isnan().all()
    assert pose.interpolate(whole, COCO17) is whole
