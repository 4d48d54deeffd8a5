"""OpenPose, AlphaPose and MMPose files, written here as their documentation describes them, and files that are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bonestrap.layouts import BODY25, COCO18, COCO23, H36M17, HALPE26
from shards.errors import DataError
from shards.packing.pack import pack
from shards.packing.preprocess import prepare
from shards.sources.names import plain
from shards.sources.pose_formats import AlphaPose, MMPose, OpenPose

# What the documentation of each detector lists, in its order.
OPENPOSE25 = """
Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee LAnkle REye LEye REar LEar
LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel
"""
OPENPOSE18 = """
Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist RHip RKnee RAnkle LHip LKnee LAnkle REye LEye REar LEar
"""
HALPE = """
Nose LEye REye LEar REar LShoulder RShoulder LElbow RElbow LWrist RWrist LHip RHip LKnee RKnee LAnkle RAnkle Head Neck
Hip LBigToe RBigToe LSmallToe RSmallToe LHeel RHeel
"""

Write = Callable[[Path, list[dict[int, np.ndarray]]], None]
Form = OpenPose | AlphaPose | MMPose


def person(joints: int, frames: int, seed: int = 0, at: float = 300.0) -> np.ndarray:
    """(T, V, 3): a person 200 pixels tall who moves by a pixel or two."""
    random = np.random.default_rng(seed)
    places = random.uniform(-100, 100, (1, joints, 2)) + random.normal(0, 1, (frames, joints, 2)).cumsum(0) + at
    return np.concatenate([places, random.uniform(0.5, 1, (frames, joints, 1))], axis=-1).astype(np.float32)


def openpose(folder: Path, frames: list[dict[int, np.ndarray]]) -> None:
    """As --write_json with the JSON version 1.3: no person has a number."""
    folder.mkdir(parents=True)
    for t, people in enumerate(frames):
        written = [
            {"person_id": [-1], "pose_keypoints_2d": joints.ravel().tolist(), "face_keypoints_2d": [],
             "hand_left_keypoints_2d": [], "hand_right_keypoints_2d": [], "pose_keypoints_3d": []}
            for joints in people.values()
        ]  # fmt: skip
        (folder / f"video_{t:012}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": written}))


def alphapose(folder: Path, frames: list[dict[int, np.ndarray]], form: str = "coco") -> None:
    """As demo_inference.py writes it: frames without anybody are left out, the tracker's numbers count from 1."""
    folder.mkdir(parents=True)
    found: list[Any] = []
    images: dict[str, Any] = {}
    for t, people in enumerate(frames):
        for number, joints in people.items():
            flat = joints.ravel().tolist()
            found.append({"image_id": f"{t}.jpg", "category_id": 1, "keypoints": flat, "score": 2.9,
                          "box": [1, 2, 3, 4], "idx": number + 1})  # fmt: skip
            if form == "cmu":
                frame = images.setdefault(f"{t}.jpg", {"version": "AlphaPose v0.3", "bodies": []})
                frame["bodies"].append({"joints": flat})
            else:
                frame = images.setdefault(f"{t}.jpg", {"version": "AlphaPose v0.3", "people": []})
                frame["people"].append({"pose_keypoints_2d": flat})
    (folder / "alphapose-results.json").write_text(json.dumps(found if form == "coco" else images))


def mmpose(folder: Path, frames: list[dict[int, np.ndarray]], form: str = "inferencer") -> None:
    """As the inferencer's --pred-out-dir, or --save-predictions of the demo scripts."""
    folder.mkdir(parents=True)
    found = []
    for t, people in enumerate(frames):
        instances = [
            {"keypoints": joints[:, :-1].tolist(), "keypoint_scores": joints[:, -1].tolist(),
             "bbox": [[1, 2, 3, 4]], "bbox_score": 0.9}
            for joints in people.values()
        ]  # fmt: skip
        found.append({"frame_id": t, "instances": instances})
    (folder / "video.json").write_text(
        json.dumps(found if form == "inferencer" else {"meta_info": {}, "instance_info": found})
    )


FORMATS: dict[str, tuple[Write, Form]] = {
    "openpose": (openpose, OpenPose()),
    "alphapose": (alphapose, AlphaPose()),
    "mmpose": (mmpose, MMPose()),
}
every_format = pytest.mark.parametrize(("write", "form"), FORMATS.values(), ids=FORMATS)


def together(*people: tuple[np.ndarray, range]) -> list[dict[int, np.ndarray]]:
    """Frames in which each person is seen in a range of them."""
    count = max(len(joints) for joints, _ in people)
    return [{n: joints[t] for n, (joints, seen) in enumerate(people) if t in seen} for t in range(count)]


def packed(form: Form, root: Path) -> list[np.ndarray]:
    """Cleaned and oriented joints of each performance."""
    source = form.open(root)
    return [prepare(one.views[0].joints, source.cleaning, source.layout, one.key) for one in source]


def test_layouts_have_the_joints_of_their_detectors() -> None:
    for layout, text in ((BODY25, OPENPOSE25), (COCO18, OPENPOSE18), (HALPE26, HALPE)):
        assert [plain(joint) for joint in layout.joints] == [plain(name) for name in text.split()]


@pytest.mark.parametrize(
    "names", ["RHip", "hip.R", "HipRight", "right_hip", "RIGHT_HIP", "Name:RHip", "hip_r", "rightHip"]
)
def test_names_of_many_fashions_are_one(names: str) -> None:
    assert plain(names) == "right hip"


@every_format
@pytest.mark.parametrize("joints", [17, 18, 25, 26])
def test_a_person_comes_back(tmp_path: Path, write: Write, form: Form, joints: int) -> None:
    one = person(joints, 5)
    write(tmp_path / "run" / "a", together((one, range(5))))
    source = form.open(tmp_path)
    assert (len(source), len(source.layout.joints), source.layout.coordinates, source.classes) == (
        1,
        joints,
        2,
        ("run",),
    )
    view = source[0].views[0]
    assert view.joints.shape == (5, 1, joints, 3)
    np.testing.assert_allclose(view.joints[:, 0], one, rtol=1e-6)


@pytest.mark.parametrize("form", ["cmu", "open"])
def test_the_other_formats_of_alphapose(tmp_path: Path, form: str) -> None:
    one = person(18, 5)
    alphapose(tmp_path / "run" / "a", together((one, range(5))), form)
    (tmp_path / "run" / "a" / "sep-json").mkdir()
    (tmp_path / "run" / "a" / "sep-json" / "0.json").write_text("{}")
    source = AlphaPose().open(tmp_path)
    assert (len(source), source.layout) == (1, COCO18)
    np.testing.assert_allclose(source[0].views[0].joints[:, 0], one, rtol=1e-6)


def test_mmpose_writes_space_whole_bodies_and_predictions_of_its_demos(tmp_path: Path) -> None:
    space, whole = np.random.default_rng(0).uniform(0, 1, (4, 17, 4)).astype(np.float32), person(133, 4)
    mmpose(tmp_path / "3d", [{0: joints} for joints in space])
    mmpose(tmp_path / "2d", [{0: joints} for joints in whole], "demo")
    found = MMPose().open(tmp_path / "3d")
    assert found.layout == H36M17
    np.testing.assert_allclose(found[0].views[0].joints[:, 0], space, rtol=1e-6)
    found = MMPose().open(tmp_path / "2d")
    assert found.layout == COCO23
    np.testing.assert_allclose(found[0].views[0].joints[:, 0], whole[:, :23], rtol=1e-6)


@every_format
def test_a_person_lost_and_found_elsewhere_is_one(tmp_path: Path, write: Write, form: Form) -> None:
    one, far = person(17, 12), person(17, 12)
    far[..., 0] += 900  # further than any step of a tracker
    two = person(17, 12, 1, at=1500)
    frames = together((one, range(0, 4)), (two, range(12)), (far, range(7, 12)))
    write(tmp_path / "a", frames)
    raw = form.open(tmp_path)[0].views[0].joints
    assert raw.shape[:2] == (12, 3)
    (joints,) = packed(form, tmp_path)
    assert joints.shape[:2] == (12, 2)
    assert [index for index in range(2) if (joints[6, index] == joints[3, index]).all()]  # who was away kept a pose


@every_format
def test_seven_persons_are_the_two_seen_longest(tmp_path: Path, write: Write, form: Form) -> None:
    spans = [range(9), range(3), range(4), range(10), range(2, 8), range(1, 6), range(2)]
    people = [(person(17, 10, n, at=400.0 * n + 300), span) for n, span in enumerate(spans)]
    write(tmp_path / "in" / "a", together(*people))
    raw = form.open(tmp_path / "in")[0].views[0].joints
    assert raw.shape == (10, 7, 17, 3)
    manifest = pack(form.open(tmp_path / "in"), tmp_path / "out")
    assert (manifest.frames, manifest.performances) == (10, 1)
    ((_, reason),) = manifest.dropped
    lost = sum(len(spans[n]) for n in (1, 2, 4, 5, 6))
    assert reason == f"persons beyond those seen longest: {lost} of {sum(map(len, spans))} poses"


@every_format
def test_frames_without_anybody_count_and_are_reported(tmp_path: Path, write: Write, form: Form) -> None:
    one = person(17, 9)
    write(tmp_path / "in" / "walk" / "a", [{} if t in (3, 4) else {0: one[t]} for t in range(9)])
    write(tmp_path / "in" / "walk" / "b", [{} for _ in range(3)])
    manifest = pack(form.open(tmp_path / "in"), tmp_path / "out")
    assert (manifest.frames, manifest.classes) == (7, ("walk",))
    reasons = sorted(reason for _, reason in manifest.dropped)
    assert reasons == ["frames without anybody: 2 of 9 frames", "no body in any frame"]


@every_format
def test_confidence_zero_is_missing(tmp_path: Path, write: Write, form: Form) -> None:
    one = person(17, 5)
    one[2, 9] = (7, 7, 0)  # a place that means nothing
    nobody = np.zeros((5, 17, 3), np.float32)
    write(tmp_path / "a", together((one, range(5)), (nobody, range(5))))
    (joints,) = packed(form, tmp_path)
    assert joints.shape[:2] == (5, 1)
    np.testing.assert_allclose(joints[2, 0, 9], joints[[1, 3], 0, 9].mean(0), atol=1e-5)


def test_a_folder_from_the_wild(tmp_path: Path) -> None:
    """Names in any script, a clip of one frame, a still image, a broken clip: packed, or dropped with the reason."""
    openpose(tmp_path / "in" / "Kniebeuge groß" / "Übung 1", together((person(25, 5), range(5))))
    openpose(tmp_path / "in" / "ходьба" / "один", together((person(25, 1), range(1))))
    openpose(tmp_path / "in" / "ходьба" / "два", together((person(25, 3), range(3))))
    next((tmp_path / "in" / "ходьба" / "два").iterdir()).write_bytes(b"\xff\xd8\xff\xe0 an image")
    (tmp_path / "in" / "ходьба" / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    manifest = pack(OpenPose().open(tmp_path / "in"), tmp_path / "out", broken="drop")
    assert (manifest.classes, manifest.performances, manifest.frames) == (("Kniebeuge groß", "ходьба"), 2, 6)
    ((_, reason),) = manifest.dropped
    assert "два" in reason and "not a frame as OpenPose writes it" in reason


def test_a_missing_file_of_openpose_is_a_frame_without_anybody(tmp_path: Path) -> None:
    openpose(tmp_path / "in" / "a", together((person(25, 8), range(8))))
    (tmp_path / "in" / "a" / f"video_{3:012}_keypoints.json").unlink()
    manifest = pack(OpenPose().open(tmp_path / "in"), tmp_path / "out")
    assert (manifest.frames, manifest.dropped) == (7, (("a", "frames without anybody: 1 of 8 frames"),))


def test_numbers_that_are_times_leave_no_gaps(tmp_path: Path) -> None:
    openpose(tmp_path / "a", together((person(25, 4), range(4))))
    for t, time in enumerate((1000, 34033, 66067, 100101)):
        (tmp_path / "a" / f"video_{t:012}_keypoints.json").rename(tmp_path / "a" / f"{time}_keypoints.json")
    assert OpenPose().open(tmp_path)[0].views[0].joints.shape[0] == 4


def test_one_folder_of_openpose_may_hold_several_videos(tmp_path: Path) -> None:
    one, two = person(25, 4), person(25, 6, 1)
    openpose(tmp_path / "a", together((one, range(4))))
    openpose(tmp_path / "b", together((two, range(6))))
    for path in (tmp_path / "b").iterdir():
        path.rename(tmp_path / "a" / path.name.replace("video", "other"))
    source = OpenPose(labels="none").open(tmp_path / "a")
    assert {source.key(n): len(source[n].views[0].joints) for n in range(2)} == {"other": 6, "video": 4}


@every_format
def test_a_broken_file_is_named_in_a_line_or_dropped(tmp_path: Path, write: Write, form: Form) -> None:
    for name in ("a", "b"):
        write(tmp_path / "in" / name, together((person(17, 4), range(4))))
    source = form.open(tmp_path / "in")
    path = sorted((tmp_path / "in" / "a").glob("*.json"))[-1]
    whole = path.read_text()
    other = json.dumps(json.loads(whole)).replace("[[", "[").replace("]]", "]")
    for text in (whole[:-9], "", "[1, 2]", '{"a": {"b": 1}}', other.replace(", ", ", 1, ", 20)):
        path.write_text(text)
        with pytest.raises(DataError, match=r"in/a.*(repair or remove it|remove the file)") as caught:
            form.open(tmp_path / "in")[0]
        assert "\n" not in str(caught.value)
    manifest = pack(source, tmp_path / "out", broken="drop")
    assert (manifest.performances, [name for name, _ in manifest.dropped]) == (1, [source.key(0)])


@every_format
def test_other_numbers_of_joints_are_named(tmp_path: Path, write: Write, form: Form) -> None:
    write(tmp_path / "a", together((person(17, 4), range(4))))
    write(tmp_path / "b", together((person(25, 4), range(4))))
    source = form.open(tmp_path)
    with pytest.raises(
        DataError, match=r"b.*: a person of 25 x 3 numbers where layout coco17 with confidence has 17 x 3"
    ):
        source[1]
    write(tmp_path / "other" / "c", together((person(19, 4), range(4))))
    with pytest.raises(DataError, match=r"c.*: persons of 19 joints are of no layout that is known; give --layout"):
        form.open(tmp_path / "other")


@every_format
def test_an_empty_folder_is_named(tmp_path: Path, write: Write, form: Form) -> None:
    with pytest.raises(DataError, match=r"no \.json files below it"):
        form.open(tmp_path)


def test_an_image_of_mmpose_is_no_clip(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"keypoints": [[1, 2]] * 17, "keypoint_scores": [1] * 17}]))
    with pytest.raises(DataError, match=r"a\.json: the prediction of one image"):
        MMPose().open(tmp_path)[0]
