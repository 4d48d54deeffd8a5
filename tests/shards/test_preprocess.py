"""Every cleaning rule on recordings made to meet it, against plain loops where there is arithmetic."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bonestrap.layouts import KINECT20, NTU25
from shards import preprocess
from shards.errors import DataError


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def bodies(rng: np.random.Generator, *spans: tuple[int, int], frames: int = 30) -> np.ndarray:
    """(T, M, 25, 3): body m is there from spans[m][0] up to spans[m][1], twice as tall as wide."""
    joints = rng.normal(0, (0.2, 0.4, 0.2), (frames, len(spans), 25, 3)).astype(np.float32)
    for body, (start, end) in enumerate(spans):
        joints[:start, body] = np.nan
        joints[end:, body] = np.nan
    return joints


def test_bodies_of_eleven_frames_or_fewer_go(rng: np.random.Generator) -> None:
    joints = bodies(rng, (0, 30), (0, 11), (4, 16))
    np.testing.assert_array_equal(preprocess.drop_short_bodies(joints, longest=11), joints[:, [0, 2]])


def test_the_longest_of_only_short_bodies_stays(rng: np.random.Generator) -> None:
    joints = bodies(rng, (0, 5), (5, 14))
    np.testing.assert_array_equal(preprocess.drop_short_bodies(joints, longest=11), joints[:, [1]])


def test_a_body_that_lies_sideways_goes(rng: np.random.Generator) -> None:
    joints = bodies(rng, (0, 30), (0, 30), (0, 30))
    joints[:21, 1] = joints[:21, 1][..., [1, 0, 2]]  # 21 of 30 frames: .7, above .69754
    joints[:20, 2] = joints[:20, 2][..., [1, 0, 2]]  # 20 of 30 frames: .667
    kept = preprocess.drop_spread_bodies(joints, spread=0.8, share=0.69754)
    np.testing.assert_array_equal(kept, joints[:, [0, 2]])


def test_the_last_body_stays_even_sideways(rng: np.random.Generator) -> None:
    joints = bodies(rng, (0, 30))[..., [1, 0, 2]]
    np.testing.assert_array_equal(preprocess.drop_spread_bodies(joints, spread=0.8, share=0.69754), joints)


def test_the_body_that_moves_most_comes_first(rng: np.random.Generator) -> None:
    joints = bodies(rng, (0, 30), (0, 30), (10, 30))
    joints[:, 1] *= 2
    joints[:, 2] *= 3
    ordered = preprocess.order_by_motion(joints, spread=0.8)
    np.testing.assert_array_equal(ordered, joints[:, [2, 1, 0]])


def test_motion_in_noisy_frames_does_not_count(rng: np.random.Generator) -> None:
    joints = bodies(rng, (0, 30), (0, 30))
    joints[:, 0] *= 2
    joints[5:10, 1] = 20 * joints[5:10, 1][..., [1, 0, 2]]  # a burst that is wider than tall
    np.testing.assert_array_equal(preprocess.order_by_motion(joints, spread=0.8), joints)


def test_a_person_found_again_is_one_person(rng: np.random.Generator) -> None:
    joints = bodies(rng, (0, 30), (0, 12), (12, 30), (6, 20), (20, 26))  # the last two find no room
    merged = preprocess.merge_bodies(joints, most=2)
    assert merged.shape == (30, 2, 25, 3)
    np.testing.assert_array_equal(merged[:, 0], joints[:, 0])
    np.testing.assert_array_equal(merged[:12, 1], joints[:12, 1])
    np.testing.assert_array_equal(merged[12:, 1], joints[12:, 2])


def test_frames_without_anybody_go(rng: np.random.Generator) -> None:
    joints = bodies(rng, (5, 12), (9, 20), (0, 0))
    np.testing.assert_array_equal(preprocess.drop_empty_frames(joints), joints[5:20, :2])
    assert len(preprocess.drop_empty_frames(bodies(rng, (0, 0)))) == 0


def test_gaps_hold_the_last_pose_and_the_start_takes_the_first(rng: np.random.Generator) -> None:
    joints = bodies(rng, (0, 30), (4, 20))
    joints[8:11, 1] = np.nan
    expected = joints.copy()
    for body in range(2):
        seen = [t for t in range(30) if not np.isnan(joints[t, body]).any()]
        for t in range(30):
            before = [s for s in seen if s <= t]
            expected[t, body] = joints[before[-1] if before else seen[0], body]
    np.testing.assert_array_equal(preprocess.fill_gaps(joints), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_joints_are_named(rng: np.random.Generator, value: float) -> None:
    joints = bodies(rng, (0, 30), (0, 30))
    joints[7, 1, 3, 2] = value
    with pytest.raises(DataError, match=r"here\.skeleton: body 1 has NaN or infinite joints in frame 7; .*remove"):
        preprocess.prepare(joints, (), NTU25, "here.skeleton")


def test_another_layout_is_named(rng: np.random.Generator) -> None:
    with pytest.raises(DataError, match=r"here\.json: expected .* 20 joints x 3 coordinates \(layout kinect20\)"):
        preprocess.prepare(bodies(rng, (0, 30)), (), KINECT20, "here.json")


def test_a_coordinate_too_large_for_the_type_is_named(rng: np.random.Generator) -> None:
    with pytest.raises(DataError, match=r"here: coordinates beyond the range of float16"):
        preprocess.store(bodies(rng, (0, 30)) * 1e6, "float16", "here")


def test_prepared_recordings_do_not_depend_on_the_camera(rng: np.random.Generator) -> None:
    joints = bodies(rng, (3, 30), (6, 28))
    moved = (joints @ Rotation.random(rng=1).as_matrix().T + [0.5, 1.0, 3.0]).astype(np.float32)
    cleaning = (partial(preprocess.merge_bodies, most=2),)
    a, b = (preprocess.prepare(x, cleaning, NTU25, "here") for x in (joints, moved))
    assert a.dtype == np.float32 and a.shape == (27, 2, 25, 3)
    np.testing.assert_allclose(a, b, atol=2e-6)


def test_steps_are_described_as_data() -> None:
    described = [preprocess.describe(step) for step in preprocess.steps(preprocess.NTU_CLEANING, NTU25)]
    assert described == [
        {"step": "drop_short_bodies", "longest": 11},
        {"step": "drop_spread_bodies", "spread": 0.8, "share": 0.69754},
        {"step": "order_by_motion", "spread": 0.8},
        {"step": "merge_bodies", "most": 2},
        {"step": "drop_empty_frames"},
        {"step": "fill_gaps"},
        {"step": "canonical", "layout": "ntu25"},
    ]
