"""Looking at recordings: every figure against a plain loop, and every fault that was put in is found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bonestrap.layouts import KINECT20
from shards.columns import Strings
from shards.errors import DataError
from shards.index import Splits, Views
from shards.packing.duplicates import Copies, contaminations, protocols_of
from shards.packing.pack import pack
from shards.packing.parallel import Processes
from shards.packing.survey import Survey, survey
from shards.splits import SPLITS

BONES = [(KINECT20.joints[child], KINECT20.joints[parent]) for child, parent in KINECT20.bones]


FOOT, ANKLE = KINECT20.joints.index("left_foot"), KINECT20.joints.index("left_ankle")
BODY = np.random.default_rng(99).normal(0, 0.3, (20, 3))
BODY[FOOT] = BODY[ANKLE] + (0.08, 0, 0)


def standing(frames: int, seed: int) -> np.ndarray:
    """(T, 1, 20, 3): a body of fixed bones whose joints jitter by millimetres."""
    return (BODY + np.random.default_rng(seed).normal(0, 0.002, (frames, 1, 20, 3))).astype(np.float32)


def packed(people: Callable, folder: Path, change: Callable[[list], None] = lambda views: None) -> Survey:
    """A survey of nine performances of one person who stands still, after `change` to the list of all joints."""
    source = people(9)
    arrays = [standing(12, seed) for seed in range(sum(len(p.views) for p in source.performances))]
    change(arrays)
    fresh = iter(arrays)
    for number, performance in enumerate(source.performances):
        views = tuple(dataclasses.replace(view, joints=next(fresh)) for view in performance.views)
        source.performances[number] = dataclasses.replace(performance, views=views)
    pack(source, folder / "shards", dtype="float32", shard_bytes=9000)
    return survey(folder / "shards")


def test_a_clean_folder_has_no_faults(people: Callable, tmp_path: Path) -> None:
    found = packed(people, tmp_path)
    looks = found.looks
    assert len(looks.missing) == found.manifest.views == 18
    assert not looks.missing.any() and not looks.implausible.any() and not looks.repeated.any()
    assert not found.joint_missing.any() and not found.bone_implausible.any()
    assert not Copies.of(looks.content).repeats.any()
    expected = np.ptp(standing(12, 4), axis=0)  # a rigid motion keeps no ranges along axes, but their size
    assert 0.5 < looks.extent[4] / np.linalg.norm(expected, axis=-1).max() < 2


def test_workers_see_the_same(people: Callable, tmp_path: Path) -> None:
    alone = packed(people, tmp_path)
    seen: list[tuple[int, int]] = []
    together = survey(
        tmp_path / "shards",
        spread=Processes(2, eager=True),
        progress=lambda done, total: seen.append((done, total)),
    )
    for field in dataclasses.fields(alone.looks):
        np.testing.assert_array_equal(getattr(alone.looks, field.name), getattr(together.looks, field.name))
    assert seen[-1] == (len(alone.manifest.shards),) * 2


def test_usual_lengths_are_those_of_the_body(people: Callable, tmp_path: Path) -> None:
    found = packed(people, tmp_path)
    expected = [np.linalg.norm(BODY[child] - BODY[parent]) for child, parent in KINECT20.bones]
    np.testing.assert_allclose(found.usual, expected, atol=0.002)


def test_a_bone_of_another_length_is_named(people: Callable, tmp_path: Path) -> None:
    hand, wrist = KINECT20.joints.index("left_hand"), KINECT20.joints.index("left_wrist")

    def stretch(arrays: list[np.ndarray]) -> None:
        bone = arrays[7][:, :, hand] - arrays[7][:, :, wrist]
        arrays[7][3:6, :, hand] += 2 * bone[3:6]
        arrays[7][5, :, hand] += bone[5]

    found = packed(people, tmp_path, stretch)
    (wrong,) = np.flatnonzero(found.looks.implausible)
    assert wrong == 7
    assert found.looks.implausible[7] == pytest.approx(3 / (12 * 19))
    assert BONES[found.looks.bone[7]] == ("left_hand", "left_wrist")
    assert found.looks.frame[7] == 5 and found.looks.ratio[7] == pytest.approx(4, rel=0.05)
    assert found.bone_implausible[found.looks.bone[7]] == pytest.approx(3 / (18 * 12))
    assert np.count_nonzero(found.bone_implausible) == 1


def test_a_short_bone_is_found_but_a_little_noise_is_none(people: Callable, tmp_path: Path) -> None:
    knee, hip = KINECT20.joints.index("left_knee"), KINECT20.joints.index("left_hip")

    def shrink(arrays: list[np.ndarray]) -> None:
        arrays[2][0, :, knee] = 0.8 * arrays[2][0, :, hip] + 0.2 * arrays[2][0, :, knee]
        for frame, length in ((0, 0.02), (1, 0.17)):  # a short bone that errs by less than a sensor does
            arrays[3][frame, :, FOOT] = arrays[3][frame, :, ANKLE] + (length, 0, 0)

    found = packed(people, tmp_path, shrink)
    assert 2 in np.flatnonzero(found.looks.implausible) and 3 not in np.flatnonzero(found.looks.implausible)
    assert found.looks.ratio[2] < 0.3


def test_joints_that_were_not_measured_are_counted(people: Callable, tmp_path: Path) -> None:
    hand, wrist = KINECT20.joints.index("right_hand"), KINECT20.joints.index("right_wrist")

    def collapse(arrays: list[np.ndarray]) -> None:
        arrays[0][:9, :, hand] = arrays[0][:9, :, wrist]

    found = packed(people, tmp_path, collapse)
    assert found.looks.missing[0] == pytest.approx(9 / (12 * 20)) and not found.looks.missing[1:].any()
    assert found.joint_missing[hand] == pytest.approx(9 / (18 * 12))
    assert not found.looks.implausible.any(), "a joint that is missing has no implausible bone besides"


def test_repeated_frames_are_counted(people: Callable, tmp_path: Path) -> None:
    def freeze(arrays: list[np.ndarray]) -> None:
        arrays[4][5:8] = arrays[4][4]
        arrays[5][1:] = arrays[5][0]

    looks = packed(people, tmp_path, freeze).looks
    assert looks.repeated[4] == pytest.approx(3 / 11) and looks.repeated[5] == 1
    assert looks.extent[5] == 0 < looks.extent[4]


def test_copies_are_found_across_everything(people: Callable, tmp_path: Path) -> None:
    def copy(arrays: list[np.ndarray]) -> None:
        arrays[9] = arrays[2].copy()  # of another performance, subject and class
        arrays[17] = arrays[2].copy()
        arrays[4] = arrays[3].copy()  # of the same performance
        arrays[12] = arrays[2].copy()
        arrays[12][-1, 0, 5, 0] += 1e-3  # nearly, and at the very end

    found = packed(people, tmp_path, copy)
    copies, table = Copies.of(found.looks.content), found.table
    assert [group.tolist() for group in copies.groups()] == [[2, 9, 17], [3, 4]]
    assert np.flatnonzero(copies.repeats).tolist() == [4, 9, 17]
    assert (copies.differing(table.performance), copies.differing(table.views.subject)) == (2, 1)
    expected = sum(table.camera[view] != table.camera[original] for view, original in ((4, 3), (9, 2), (17, 2)))
    assert copies.differing(table.camera) == expected > 0


def test_a_damaged_shard_is_refused(people: Callable, tmp_path: Path) -> None:
    packed(people, tmp_path)
    path = tmp_path / "shards" / "shard-00001.tar"
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(DataError, match=r"shard-00001\.tar is truncated"):
        survey(tmp_path / "shards")


def views(**columns: list[int]) -> Views:
    size = len(next(iter(columns.values())))
    unknown = np.full(size, -1)
    table = {name: np.array(columns[name]) if name in columns else unknown for name in Views._fields[:5]}
    keys = Strings.of(f"k{number}" for number in range(size))
    return Views(**table, copy=np.zeros(size, dtype=bool), key=keys, splits=Splits.of([""] * size))


def test_contamination_is_counted_on_the_right_side() -> None:
    # Cameras 1 and 2 train, 3 tests in the published protocol of NW-UCLA.
    content = np.array([[0, 0], [1, 1], [1, 1], [2, 2], [2, 2], [3, 3], [3, 3]], dtype=np.uint64)
    seen = views(camera=[1, 2, 3, 1, 2, 3, 3], subject=[1, 1, 1, 9, 1, 2, 3])
    by_name = {
        found.protocol.name: found
        for found in contaminations(seen, Copies.of(content), list(SPLITS["nw-ucla"].values()))
    }
    published = by_name["cross-view-published"]
    assert (published.train, published.test, published.copied, published.share) == (4, 3, 1, 1 / 3)
    assert (published.held_out, published.held_out_copied) == (1, 1), "camera 1 of subject 9 is camera 2 of subject 1"
    assert published.test_twice == 1
    assert (by_name["cross-view"].copied, by_name["cross-view"].test_twice) == (1, 0)
    assert by_name["cross-subject"].copied == 1


def test_every_data_set_has_its_protocols(people: Callable, tmp_path: Path) -> None:
    table = packed(people, tmp_path).table
    assert [protocol.name for protocol in protocols_of("nw-ucla", table)] == list(SPLITS["nw-ucla"])
    assert [protocol.name for protocol in protocols_of("people", table)] == ["other", "split"], "those declared"


def test_nw_uclas_copies_are_found(ucla: Path) -> None:
    """95 recordings of camera 3 repeat camera 2, and one published protocol tests on what it trained on."""
    found = survey(ucla)
    copies = Copies.of(found.looks.content)
    assert copies.repeats.sum() == 95
    seen = found.table.views
    pairs = np.array(list(copies.groups()))
    assert {tuple(seen.camera[pair]) for pair in pairs} == {(2, 3)}
    assert np.bincount(seen.label[pairs[:, 1]]).tolist() == [0, 50, 45]
    protocols = protocols_of(found.manifest.name, found.table)
    assert {c.protocol.name: c.copied for c in contaminations(seen, copies, protocols)} == {
        "cross-view": 0,
        "cross-subject": 0,
        "cross-view-published": 95,
        "cross-view-nodup": 0,
    }
