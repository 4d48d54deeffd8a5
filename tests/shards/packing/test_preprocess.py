"""Every cleaning rule on recordings made to meet it, against plain loops where there is arithmetic."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bonestrap.layout import Layout
from bonestrap.layouts import COCO17, KINECT20, NTU25
from shards.errors import DataError
from shards.packing import preprocess
from shards.packing.losses import Loss


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


def test_tracks_that_touch_in_one_frame_are_one_person(rng: np.random.Generator) -> None:
    """As CTR-GCN joins them; tracks that share two frames are two persons."""
    joints = bodies(rng, (0, 31), (30, 60), frames=60)
    merged = preprocess.merge_bodies(joints, most=2)
    assert merged.shape[1] == 1
    np.testing.assert_array_equal(merged[:30, 0], joints[:30, 0])
    np.testing.assert_array_equal(merged[30:, 0], joints[30:, 1])
    assert preprocess.merge_bodies(bodies(rng, (0, 31), (29, 60), frames=60), most=2).shape[1] == 2
    losses: list[Loss] = []
    out = preprocess.prepare(joints, preprocess.NTU_CLEANING, NTU25, "", losses)
    assert out.shape[:2] == (60, 1) and [(loss.lost, loss.of, loss.what) for loss in losses] == [(1, 61, "poses")]


def test_of_bodies_that_all_lie_sideways_the_last_stays(rng: np.random.Generator) -> None:
    """CTR-GCN goes through the bodies in their order and stops at the last one."""
    joints = bodies(rng, (0, 30), (0, 30), (0, 30))[..., [1, 0, 2]]
    kept = preprocess.drop_spread_bodies(joints, spread=0.8, share=0.69754)
    np.testing.assert_array_equal(kept, joints[:, [2]])
    joints[:, 0] = joints[:, 0][..., [1, 0, 2]]
    kept = preprocess.drop_spread_bodies(joints, spread=0.8, share=0.69754)
    np.testing.assert_array_equal(kept, joints[:, [0]])


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
    with pytest.raises(DataError, match=r"here\.json: expected .* 20 joints x 3 numbers \(layout kinect20\)"):
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
        {"step": "drop_zero_bodies"},
        {"step": "drop_short_bodies", "longest": 11},
        {"step": "drop_spread_bodies", "spread": 0.8, "share": 0.69754},
        {"step": "order_by_motion", "spread": 0.8},
        {"step": "merge_bodies", "most": 2},
        {"step": "drop_empty_frames"},
        {"step": "fill_gaps"},
        {"step": "canonical", "layout": "ntu25"},
    ]


# ---------------------------------------------------------------------- lost keypoints


def keypoints(rng: np.random.Generator, frames: int = 12, bodies: int = 2) -> np.ndarray:
    """(T, M, 17, 3): pixels and confidence."""
    places = rng.uniform(50, 600, (frames, bodies, 17, 2))
    return np.concatenate([places, rng.uniform(0.3, 1, (frames, bodies, 17, 1))], axis=-1).astype(np.float32)


def test_uncertain_joints_lose_their_place_and_keep_their_confidence(rng: np.random.Generator) -> None:
    raw = keypoints(rng)
    raw[2, 0, 5] = (0, 0, 0.04)
    raw[3, 1] = (0, 0, 0)
    raw[4, 0, 6] = np.nan
    for keep in (False, True):
        found = preprocess.hide_uncertain(raw, least=0.1, keep=keep)
        assert found.dtype == np.float32 and found.shape[-1] == 2 + keep
        lost = np.isnan(found[..., 0])
        assert lost[2, 0, 5] and lost[3, 1].all() and lost[4, 0, 6] and lost.sum() == 19
        np.testing.assert_array_equal(found[~lost][:, :2], raw[~lost][:, :2])
    assert found[2, 0, 5, 2] == np.float32(0.04) and found[4, 0, 6, 2] == 0 and np.isnan(found[3, 1]).all()


@pytest.mark.parametrize("confidence", [False, True])
def test_keypoints_become_whole_bodies(rng: np.random.Generator, confidence: bool) -> None:
    layout = dataclasses.replace(COCO17, confidence=confidence)
    raw = keypoints(rng)
    raw[5, 0, 9] = (0, 0, 0)
    raw[7:, 1] = 0
    raw[:, :, 16] = 0
    out = preprocess.prepare(raw, preprocess.detected(layout, least=0.1), layout, "here.json")
    assert out.shape == (12, 2, 17, layout.axes) and out.dtype == np.float32
    between = (out[4, 0, 9, :2] + out[6, 0, 9, :2]) / 2
    np.testing.assert_allclose(out[5, 0, 9, :2], between, atol=1e-5)
    np.testing.assert_allclose(out[7:, 1], np.broadcast_to(out[6, 1], (5, 17, layout.axes)), atol=1e-6)
    np.testing.assert_array_equal(out[..., 16, :2], out[..., 14, :2])
    np.testing.assert_allclose(out[0, 0, 11:13, :2].sum(0), 0, atol=1e-4)
    if confidence:
        assert out[5, 0, 9, 2] == 0 and out[5, 0, 8, 2] == raw[5, 0, 8, 2]


def test_other_formats_must_bring_whole_bodies(rng: np.random.Generator) -> None:
    raw = keypoints(rng)[..., :2]
    raw[3, 1, 4] = np.nan
    with pytest.raises(DataError, match=r"here\.json: body 1 has NaN or infinite joints in frame 3"):
        preprocess.prepare(raw, (), COCO17, "here.json")
    assert np.isfinite(preprocess.prepare(raw, preprocess.detected(COCO17), COCO17, "here.json")).all()
    with pytest.raises(DataError, match=r"here\.json: expected .* 17 joints x 3 numbers .* found \(12, 2, 17, 2\)"):
        preprocess.prepare(raw, preprocess.detected(COCO17, least=0.1), COCO17, "here.json")


def test_the_longest_seen_bodies_are_kept(rng: np.random.Generator) -> None:
    raw = keypoints(rng, bodies=4)[..., :2]
    for body, last in enumerate((3, 9, 12, 9)):
        raw[last:, body] = np.nan
    np.testing.assert_array_equal(preprocess.keep_longest(raw, most=2), raw[:, [2, 1]])
    np.testing.assert_array_equal(preprocess.keep_longest(raw, most=9), raw[:, [2, 1, 3, 0]])


def test_tracks_never_seen_together_are_joined_where_they_left_off(rng: np.random.Generator) -> None:
    """Two persons whose numbers change together, at another place in the order: each goes on where they were."""
    a, b = (keypoints(rng, frames=60, bodies=1)[:, 0, :, :2] for _ in range(2))
    a, b = a / 100, b / 100 + 500
    raw = np.full((60, 6, 17, 2), np.nan, dtype=np.float32)
    for third in range(3):
        span = slice(20 * third, 20 * (third + 1))
        raw[span, 2 * third + third % 2], raw[span, 2 * third + 1 - third % 2] = a[span], b[span]
    joined = preprocess.join_tracks(raw, layout=COCO17)
    np.testing.assert_array_equal(joined, np.stack([a, b], axis=1))
    raw[19, 2] = raw[20, 2]  # now the second two share a frame with the first two
    assert preprocess.join_tracks(raw, layout=COCO17).shape[1] == 3
    alone = raw[:, :1]
    np.testing.assert_array_equal(preprocess.join_tracks(alone, layout=COCO17), alone)


@pytest.mark.parametrize("layout", [COCO17, NTU25], ids=["image", "space"])
def test_a_joint_at_exactly_zero_is_missing(rng: np.random.Generator, layout: Layout) -> None:
    """Ten frames of sixty, as sensors write what they lost; counted, and on the line between its neighbours."""
    raw = rng.normal(3, 0.4, (60, 1, len(layout.joints), layout.coordinates)).astype(np.float32)
    expected = raw.copy()
    raw[20:30, 0, 9] = 0
    weight = (np.arange(20, 30) - 19)[:, None] / 11
    expected[20:30, 0, 9] = raw[19, 0, 9] * (1 - weight) + raw[30, 0, 9] * weight
    losses: list[Loss] = []
    out = preprocess.prepare(raw, preprocess.detected(layout), layout, "", losses)
    np.testing.assert_allclose(out, preprocess.prepare(expected, (), layout, ""), atol=1e-4)
    (loss,) = losses
    assert str(loss) == f"joints at exactly zero, interpolated: 10 of {60 * len(layout.joints)} joints"


def test_coordinates_that_count_from_a_joint_leave_it_at_zero(rng: np.random.Generator) -> None:
    raw = rng.normal(0, 0.4, (30, 1, 25, 3)).astype(np.float32)
    for origin in (NTU25.root, 20):
        centred = raw - raw[:, :, [origin]]
        np.testing.assert_array_equal(preprocess.hide_zeros(centred, layout=NTU25), centred)
        lost = centred.copy()
        lost[4:9, 0, 7] = 0
        hidden = np.isnan(preprocess.hide_zeros(lost, layout=NTU25))
        assert hidden[4:9, 0, 7].all() and hidden.sum() == 15
    camera = raw + np.array([0, 0, 3], dtype=np.float32)  # metres in front of a sensor: nothing is at its origin
    camera[:, :, NTU25.root] = 0
    assert np.isnan(preprocess.hide_zeros(camera, layout=NTU25)[:, :, NTU25.root]).all()


def test_repairs_are_data(rng: np.random.Generator) -> None:
    described = [preprocess.describe(step) for step in preprocess.detected(COCO17, least=0.1)]
    assert described == [
        {"step": "hide_uncertain", "least": 0.1, "keep": False},
        {"step": "hide_zeros", "layout": "coco17"},
        {"step": "interpolate_joints", "layout": "coco17"},
    ]
