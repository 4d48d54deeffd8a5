"""COCO keypoints: clips, frames and persons from detections in any order, and files that are none."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bonestrap.layouts import COCO17
from shards.errors import DataError
from shards.packing.pack import pack
from shards.packing.preprocess import prepare
from shards.reader import Resident
from shards.sources.coco import keypoints
from shards.sources.table import read_table


def person(seed: int, frames: int, *, at: float = 300.0) -> np.ndarray:
    """(T, V, 3): a person 200 pixels tall who moves by a pixel or two."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(-100, 100, (1, 17, 2)) + rng.normal(0, 1, (frames, 17, 2)).cumsum(0) + at
    return np.concatenate([places, rng.uniform(0.5, 1, (frames, 17, 1))], axis=-1).astype(np.float32)


def detection(image: Any, joints: np.ndarray, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": 1, "keypoints": joints.ravel().tolist(), "score": 0.9, **more}


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def shuffled(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return random.Random(0).sample(entries, len(entries))


def read(root: Path, **options: Any) -> dict[str, np.ndarray]:
    source = keypoints(root, name="clips", layout=COCO17, **options)
    return {performance.key: performance.views[0].joints for performance in source}


def test_a_folder_holds_a_clip_a_file(tmp_path: Path) -> None:
    a, b = person(0, 12), person(1, 7)
    frames = [f"{t}.jpg" for t in range(12)]  # 10.jpg comes after 9.jpg
    write(tmp_path / "x" / "a.json", shuffled([detection(frame, a[t]) for t, frame in enumerate(frames)]))
    write(tmp_path / "b.json", shuffled([detection(t, b[t]) for t in range(7)]))
    found = read(tmp_path)
    assert list(found) == ["b", "x-a"]
    np.testing.assert_array_equal(found["x-a"][:, 0], a)
    np.testing.assert_array_equal(found["b"][:, 0], b)


def test_one_file_may_hold_many_clips(tmp_path: Path) -> None:
    a, b = person(0, 5), person(1, 4)
    entries = [detection(f"run/{t:04}.png", a[t]) for t in range(5)]
    entries += [detection(f"day2/sit/{t:04}.png", b[t]) for t in range(4)]
    found = read(write(tmp_path / "results.json", shuffled(entries)))
    assert sorted(found) == ["day2-sit", "run"]
    np.testing.assert_array_equal(found["run"][:, 0], a)
    images = [{"id": 90 - n, "file_name": entry["image_id"]} for n, entry in enumerate(entries)]
    numbered = [{**entry, "image_id": image["id"]} for entry, image in zip(entries, images, strict=True)]
    annotated = read(write(tmp_path / "annotations.json", {"images": images, "annotations": shuffled(numbered)}))
    for name, joints in found.items():
        np.testing.assert_array_equal(annotated[name], joints)


@pytest.mark.parametrize("field", ["track_id", "idx", "person_id"])
def test_tracks_tell_persons_apart(tmp_path: Path, field: str) -> None:
    a, b = person(0, 6), person(1, 6)
    a[3:], b[3:] = b[3:].copy(), a[3:].copy()  # who is where says nothing
    entries = [detection(t, a[t], **{field: 7}) for t in range(6)]
    entries += [detection(t, b[t], **{field: 3}) for t in range(2, 5)]
    joints = read(write(tmp_path / "a.json", shuffled(entries)).parent)["a"]
    by_length = sorted(joints.swapaxes(0, 1), key=lambda body: int(np.isnan(body).any((1, 2)).sum()))
    np.testing.assert_array_equal(by_length[0], a)
    np.testing.assert_array_equal(by_length[1][2:5], b[2:5])
    assert np.isnan(by_length[1][[0, 1, 5]]).all()


@pytest.mark.parametrize("form", [lambda n: n, float, lambda n: [float(n)], lambda n: [[float(n)], [float(n)]], str])
def test_alphapose_numbers_persons_in_many_forms(tmp_path: Path, form: Callable[[int], Any]) -> None:
    a, b = person(0, 6), person(1, 6)
    a[3:], b[3:] = b[3:].copy(), a[3:].copy()  # who is where says nothing
    entries = [detection(f"{t}.jpg", one[t], idx=form(n)) for t in range(6) for n, one in ((0, a), (1, b))]
    joints = read(write(tmp_path / "a.json", shuffled(entries)).parent)["a"]
    assert joints.shape == (6, 2, 17, 3)
    np.testing.assert_array_equal(joints[:, joints[0, :, 0, 0] == a[0, 0, 0]], a[:, None])


def test_a_number_that_two_persons_have_in_a_frame_loses_none(tmp_path: Path) -> None:
    a, b = person(0, 8), person(1, 8, at=1500)
    for repeated in ({"track_id": 5}, {"track_id": -1}, {"track_id": None}, {}):
        entries = [detection(t, one[t], **repeated) for t in range(8) for one in (a, b)]
        joints = read(write(tmp_path / "a.json", shuffled(entries)).parent)["a"]
        found = sorted(joints[~np.isnan(joints).all((2, 3))][:, 0, 0].tolist())
        assert found == sorted([*a[:, 0, 0].tolist(), *b[:, 0, 0].tolist()])


def test_frames_without_anybody_are_frames(tmp_path: Path) -> None:
    a = person(0, 10)
    images = [{"id": t, "file_name": f"walk/{t:04}.jpg"} for t in range(-2, 10)]
    images += [{"id": 90, "file_name": "nobody/0.jpg"}]
    entries = [detection(t, a[t]) for t in range(10) if t not in (4, 5)]
    path = write(tmp_path / "a.json", {"images": images, "annotations": entries})
    manifest = pack(keypoints(path, name="clips", layout=COCO17), tmp_path / "out")
    assert manifest.frames == 8
    assert manifest.dropped == (
        ("nobody", "no body in any frame"),
        ("walk", "frames without anybody: 4 of 12 frames"),
    )


def test_paths_of_windows_are_folders(tmp_path: Path) -> None:
    people = [person(n, 30) for n in range(3)]
    entries = [detection(f"clip{n}\\{t + 1:03}.jpg", people[n][t]) for n in range(3) for t in range(30)]
    found = read(write(tmp_path / "a.json", shuffled(entries)))
    assert sorted(found) == ["clip0", "clip1", "clip2"]
    np.testing.assert_array_equal(found["clip1"][:, 0], people[1])


def test_without_tracks_persons_are_followed_by_their_places(tmp_path: Path) -> None:
    a, b, c = person(0, 9), person(1, 9, at=600), person(2, 9, at=1500)
    entries = []
    for t in range(9):
        seen = [c[t]] * (t > 5) + [a[t]] * (t != 4) + [b[t]]
        entries += [detection(t, joints) for joints in (seen if t % 2 == 0 else seen[::-1])]
    joints = read(write(tmp_path / "a.json", entries).parent)["a"]
    assert joints.shape == (9, 3, 17, 3)
    bodies = {tuple(body[8, 0]): body for body in joints.swapaxes(0, 1)}
    found_a, found_b, found_c = (bodies[tuple(one[8, 0])] for one in (a, b, c))
    np.testing.assert_array_equal(found_b, b)
    np.testing.assert_array_equal(np.delete(found_a, 4, 0), np.delete(a, 4, 0))
    assert np.isnan(found_a[4]).all() and np.isnan(found_c[:6]).all()
    np.testing.assert_array_equal(found_c[6:], c[6:])


def test_a_joint_of_no_confidence_does_not_lead_the_tracker_astray(tmp_path: Path) -> None:
    a, b = person(0, 5, at=2000), person(1, 5, at=2300)
    a[2:, :14] = 0
    entries = [detection(t, joints) for t in range(5) for joints in ((a[t], b[t]) if t % 2 else (b[t], a[t]))]
    joints = read(write(tmp_path / "a.json", entries).parent)["a"]
    np.testing.assert_array_equal(joints[:, joints[0, :, 0, 0] == a[0, 0, 0]], a[:, None])


def test_the_persons_seen_longest_are_kept_and_prepared(tmp_path: Path) -> None:
    people = [person(n, 10, at=400.0 * (n + 1)) for n in range(4)]
    people[1][3, 9] = 0
    spans = [range(3), range(10), range(2, 9), range(1)]
    entries = [detection(t, people[n][t], track_id=n) for n, span in enumerate(spans) for t in span]
    write(tmp_path / "in" / "a.json", entries)
    for confidence in ("hide", "keep"):
        source = keypoints(tmp_path / "in", name="clips", layout=COCO17, confidence=confidence)
        out = prepare(source[0].views[0].joints, source.cleaning, source.layout, "a.json")
        assert out.shape == (10, 2, 17, source.layout.axes) and np.isfinite(out).all()
        np.testing.assert_allclose(out[3, 0, 9, :2], out[[2, 4], 0, 9, :2].mean(0), atol=1e-5)
    np.testing.assert_allclose(out[2:9, 1, :, 2], people[2][2:9, :, 2], atol=1e-6)
    pack(source, tmp_path / "shards")
    data = Resident.load(tmp_path / "shards")
    assert (data.manifest.layout.coordinates, data.manifest.layout.confidence, data.manifest.unit) == (2, True, "torso")


def test_a_table_names_classes(tmp_path: Path) -> None:
    for n in range(3):
        write(tmp_path / "in" / f"{n}.json", [detection(t, person(n, 4)[t]) for t in range(4)])
    (tmp_path / "t.csv").write_text("file,label\n0.json,run\n1,sit\n2.json,run\n")
    source = keypoints(tmp_path / "in", name="clips", layout=COCO17, table=read_table(tmp_path / "t.csv"))
    assert (source.classes, [performance.label for performance in source]) == (("run", "sit"), [0, 1, 0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"image_id": 1, "keypoints": [1, 2, 3]}], "3 numbers where 17 joints have 51"),
        ([{"keypoints": [0] * 51}], "KeyError 'image_id'"),
        ([{"image_id": 1, "keypoints": ["a"] * 51}], "could not convert"),
        ({"people": []}, "one frame as OpenPose writes it, .*; pack the folder with the format openpose"),
        ({"bodies": []}, "an object without annotations, of bodies"),
        ([1, 2], "no list of COCO keypoints"),
        (3, "no list of COCO keypoints"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, content: Any, message: str) -> None:
    write(tmp_path / "a.json", content)
    with pytest.raises(DataError, match=rf"a\.json: no list of COCO keypoints .*{message}|a\.json: {message}"):
        read(tmp_path)
    (tmp_path / "a.json").write_text("[{")
    with pytest.raises(DataError, match=r"a\.json: no list of COCO keypoints"):
        read(tmp_path)


def test_a_clip_without_anybody_is_dropped_and_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.json files below it"):
        read(tmp_path)
    write(tmp_path / "in" / "a.json", [])
    write(tmp_path / "in" / "b.json", [detection(t, person(0, 3)[t]) for t in range(3)])
    manifest = pack(keypoints(tmp_path / "in", name="clips", layout=COCO17), tmp_path / "out")
    assert (manifest.performances, manifest.dropped) == (1, (("a.json", "no body in any frame"),))
