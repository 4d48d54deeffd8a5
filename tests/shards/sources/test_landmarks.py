"""MediaPipe's landmarks and Kinect v2's joints in CSV and JSON, in the shapes that people save them in."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bonestrap.layouts import MEDIAPIPE33, NTU25
from shards.errors import DataError
from shards.packing.pack import pack
from shards.packing.preprocess import prepare
from shards.sources.pose_formats import KinectCsv, MediaPipe

# As Microsoft's and MediaPipe's documentation number them.
KINECT_NAMES = """
SpineBase SpineMid Neck Head ShoulderLeft ElbowLeft WristLeft HandLeft ShoulderRight ElbowRight WristRight HandRight
HipLeft KneeLeft AnkleLeft FootLeft HipRight KneeRight AnkleRight FootRight SpineShoulder HandTipLeft ThumbLeft
HandTipRight ThumbRight
"""
POSE_NAMES = """
NOSE LEFT_EYE_INNER LEFT_EYE LEFT_EYE_OUTER RIGHT_EYE_INNER RIGHT_EYE RIGHT_EYE_OUTER LEFT_EAR RIGHT_EAR MOUTH_LEFT
MOUTH_RIGHT LEFT_SHOULDER RIGHT_SHOULDER LEFT_ELBOW RIGHT_ELBOW LEFT_WRIST RIGHT_WRIST LEFT_PINKY RIGHT_PINKY LEFT_INDEX
RIGHT_INDEX LEFT_THUMB RIGHT_THUMB LEFT_HIP RIGHT_HIP LEFT_KNEE RIGHT_KNEE LEFT_ANKLE RIGHT_ANKLE LEFT_HEEL RIGHT_HEEL
LEFT_FOOT_INDEX RIGHT_FOOT_INDEX
"""
KINECT, POSE = KINECT_NAMES.split(), POSE_NAMES.split()


def landmarks(frames: int, seed: int = 0) -> np.ndarray:
    """(T, 33, 4): world landmarks, the middle of the hips at the origin, and visibility."""
    random = np.random.default_rng(seed)
    places = random.uniform(-0.8, 0.8, (1, 33, 3)) + random.normal(0, 0.01, (frames, 33, 3)).cumsum(0)
    places -= places[:, [23, 24]].mean(1, keepdims=True)
    return np.concatenate([places, random.uniform(0.5, 1, (frames, 33, 1))], -1).astype(np.float32)


def table(path: Path, heading: list[str], rows: list[list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([heading, *rows])


def marks(joints: np.ndarray) -> list[dict[str, float]]:
    names = ("x", "y", "z", "visibility")
    return [{name: float(number) for name, number in zip(names, row, strict=True)} for row in joints]


def wide_named(path: Path, body: np.ndarray) -> None:
    heading = ["frame", *(f"{name}_{what}" for name in POSE for what in ("x", "y", "z", "visibility"))]
    table(path.with_suffix(".csv"), heading, [[t, *frame.ravel()] for t, frame in enumerate(body)])


def wide_numbered(path: Path, body: np.ndarray) -> None:
    heading = ["class", *(f"{what}{n}" for n in range(1, 34) for what in "xyzv")]
    table(path.with_suffix(".csv"), heading, [["wave", *frame.ravel()] for frame in body])


def long_named(path: Path, body: np.ndarray) -> None:
    heading = ["frame_id", "landmark_id", "landmark_name", "x", "y", "z", "visibility"]
    rows = [[t, n, POSE[n], *body[t, n]] for t in range(len(body)) for n in range(33)]
    table(path.with_suffix(".csv"), heading, rows)


def long_numbered(path: Path, body: np.ndarray) -> None:
    rows = [[t, n, *body[t, n]] for t in range(len(body)) for n in range(33)]
    table(path.with_suffix(".csv"), ["frame", "landmark", "x", "y", "z", "visibility"], rows)


def tasks(path: Path, body: np.ndarray) -> None:
    """The results of PoseLandmarker: lists of persons."""
    frames = [{"pose_landmarks": [marks(frame * 0.1 + 0.5)], "pose_world_landmarks": [marks(frame)]} for frame in body]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(frames))


def javascript(path: Path, body: np.ndarray) -> None:
    frames = [{"frame": t, "poseWorldLandmarks": marks(frame)} for t, frame in enumerate(body)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps({"fps": 30, "frames": frames}))


def plain_lists(path: Path, body: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps([marks(frame) for frame in body]))


@pytest.mark.parametrize(
    "write",
    [wide_named, wide_numbered, long_named, long_numbered, tasks, javascript, plain_lists],
    ids=lambda f: f.__name__,
)
def test_world_landmarks_come_back(tmp_path: Path, write: Any) -> None:
    body = landmarks(5)
    write(tmp_path / "wave" / "a", body)
    source = MediaPipe().open(tmp_path)
    assert (len(source), source.layout, source.classes) == (1, MEDIAPIPE33, ("wave",))
    joints = source[0].views[0].joints
    assert joints.shape == (5, 1, 33, 4)
    np.testing.assert_allclose(joints[:, 0], body, atol=1e-6)


def test_landmarks_in_the_image_need_its_size(tmp_path: Path) -> None:
    body = landmarks(4)
    tasks(tmp_path / "a", body)
    source = MediaPipe(landmarks="image", width=640, height=480).open(tmp_path)
    joints = source[0].views[0].joints
    np.testing.assert_allclose(joints[:, 0, :, :2], (body[..., :2] * 0.1 + 0.5) * [640, 480], rtol=1e-5)
    assert source.layout.coordinates == 2 and joints.shape[-1] == 3
    with pytest.raises(DataError, match=r"a\.json: landmarks are parts of the image's width and height; give --width"):
        MediaPipe(landmarks="image").open(tmp_path)[0]
    wide_named(tmp_path / "b" / "b", body * 0.1 + 0.5)
    with pytest.raises(DataError, match=r"b\.csv: landmarks in the image, not in the world.*give --landmarks image"):
        MediaPipe().open(tmp_path / "b")[0]


def test_landmarks_of_seven_persons_of_nobody_and_unseen(tmp_path: Path) -> None:
    people = [landmarks(6, seed) for seed in range(7)]
    people[0][2, 15, 3] = 0  # not visible: wherever it is
    people[0][2, 15, :3] = 9
    spans = [range(6), range(5), range(1), range(2), range(1), range(1), range(1)]
    frames: list[dict[str, Any]] = [
        {"pose_world_landmarks": [marks(body[t]) for body, span in zip(people, spans, strict=True) if t in span]}
        for t in range(6)
    ]
    frames += [{"pose_world_landmarks": []}, {"pose_world_landmarks": None}]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_text(json.dumps(frames))
    (tmp_path / "in" / "b.json").write_text(json.dumps(frames[6:]))
    source = MediaPipe().open(tmp_path / "in")
    raw = source[0].views[0].joints
    assert raw.shape == (8, 7, 33, 4)
    out = prepare(raw, source.cleaning, source.layout, "a")
    assert out.shape[1] == 2 and np.isfinite(out).all()
    manifest = pack(source, tmp_path / "out")
    assert (manifest.performances, manifest.frames) == (1, 6)
    reasons = {reason for _, reason in manifest.dropped}
    assert {"no body in any frame", "frames without anybody: 2 of 8 frames"} < reasons


def kinect_wide(path: Path, bodies: dict[str, np.ndarray], state: bool = True) -> None:
    """A row a frame and body: SpineBase_X, SpineBase_Y, SpineBase_Z, SpineBase_TrackingState."""
    whats = ("X", "Y", "Z", *(["TrackingState"] if state else []))
    heading = ["Time", "TrackingId", *(f"{name}_{what}" for name in KINECT for what in whats)]
    rows = []
    for t in range(max(map(len, bodies.values()))):
        for number, body in bodies.items():
            joints = body[t]
            if np.isfinite(joints).any():
                line = [value for joint in joints for value in ([*joint, "Tracked"] if state else joint)]
                rows.append([f"{t / 30:.4f}", number, *line])
    table(path, heading, rows)


def kinect_body(frames: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.uniform(-0.9, 0.9, (1, 25, 3)) + random.normal(0, 0.01, (frames, 25, 3)).cumsum(0) + [0, 0, 3]


def test_kinect_joints_come_back_in_both_shapes(tmp_path: Path) -> None:
    one = kinect_body(5)
    kinect_wide(tmp_path / "sit" / "a.csv", {"72057594037928017": one})
    kinect_wide(tmp_path / "sit" / "b.csv", {"72057594037928017": one * 1000}, state=False)
    heading = [
        "Timestamp",
        "JointID",
        "Position.X",
        "Position.Y",
        "Position.Z",
        "Orientation.X",
        "Orientation.W",
        "State",
    ]
    rows = [[t * 33, v, *one[t, v], 0.5, 0.5, 2] for t in range(5) for v in range(25)]
    rows[7][-1] = 0  # joint 7 of the first frame is not tracked
    table(tmp_path / "sit" / "c.csv", heading, rows)
    source = KinectCsv().open(tmp_path)
    assert (source.layout, source.classes, len(source)) == (NTU25, ("sit",), 3)
    for n in (0, 2):
        joints = source[n].views[0].joints
        assert joints.shape == (5, 1, 25, 4)
        np.testing.assert_allclose(joints[:, 0, :, :3], one, atol=1e-6)
    assert source[2].views[0].joints[0, 0, 7, 3] == 0 and (source[0].views[0].joints[..., 3] == 1).all()
    (tmp_path / "mm").mkdir()
    (tmp_path / "sit" / "b.csv").rename(tmp_path / "mm" / "b.csv")
    scaled = KinectCsv(unit="millimetre").open(tmp_path / "mm")[0].views[0].joints
    np.testing.assert_allclose(scaled[:, 0, :, :3], one, atol=1e-6)


def test_a_body_that_the_kinect_lost_goes_on(tmp_path: Path) -> None:
    one, two = kinect_body(9), kinect_body(9, 1) + 2
    before, after = one.copy(), one.copy()
    before[4:], after[:6] = np.nan, np.nan
    kinect_wide(tmp_path / "a.csv", {"1": before, "2": two, "7": after})
    source = KinectCsv().open(tmp_path)
    raw = source[0].views[0].joints
    assert raw.shape[:2] == (9, 3)
    assert prepare(raw, source.cleaning, source.layout, "a").shape[:2] == (9, 2)


def test_broken_tables_are_named_or_dropped(tmp_path: Path) -> None:
    one = kinect_body(4)
    kinect_wide(tmp_path / "in" / "a.csv", {"1": one})
    kinect_wide(tmp_path / "in" / "b.csv", {"1": one})
    path = tmp_path / "in" / "a.csv"
    whole = path.read_text()
    faults = {
        "": "it has no rows below a heading",
        whole.splitlines()[0]: "it has no rows below a heading",
        whole[:-300]: r"row 5 has \d+ fields and the heading 102",
        whole.replace("Head_X", "Hat_X"): "no column of 1 of 25 joints, such as head",
        whole.replace("Tracked", "x" * 200_000, 1): "field larger than field limit",
        whole.replace("Tracked", "maybe", 1): "could not convert string to float: 'maybe'",
    }
    for text, message in faults.items():
        path.write_text(text)
        with pytest.raises(DataError, match=rf"a\.csv: not readable \({message}.*repair or remove it") as caught:
            KinectCsv().open(tmp_path / "in")[0]
        assert "\n" not in str(caught.value)
    assert pack(KinectCsv().open(tmp_path / "in"), tmp_path / "out", broken="drop").performances == 1
    with pytest.raises(DataError, match=r"no \.csv files below it"):
        KinectCsv().open(tmp_path / "none")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.json").write_text(json.dumps([marks(landmarks(1)[0])[:20]]))
    with pytest.raises(DataError, match=r"x\.json: not readable \(20 landmarks where a person has 33"):
        MediaPipe().open(tmp_path / "other")[0]
