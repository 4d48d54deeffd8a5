"""Small files of the formats of pose software and motion capture, as bytes, and which of them is to be damaged how."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.io import savemat

from tests.mutations import changed_json, damaged
from tests.shards.sources import test_bvh as bvh
from tests.shards.sources import test_detections as detections
from tests.shards.sources import test_landmarks as landmarks
from tests.shards.sources import test_markers as markers

Damage = Callable[[bytes, random.Random], bytes]
Case = tuple[dict[str, bytes], str, str, Damage]


def contents(write: Callable[[Path], object]) -> dict[str, bytes]:
    """The files that a function writes into a folder `in`, by their names."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        write(root / "in")
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def mat(name: str, **held: object) -> dict[str, bytes]:
    def write(root: Path) -> None:
        (root / name).parent.mkdir(parents=True)
        savemat(root / name, held)

    return contents(write)


def freemocap(root: Path) -> None:
    output = root / "a" / "output_data"
    output.mkdir(parents=True)
    np.save(output / "mediapipe_body_3d_xyz.npy", markers.walk(33, 5))


FRAMES = detections.together((detections.person(17, 5), range(5)))
BODY = landmarks.landmarks(4)
KINECT = contents(lambda root: landmarks.kinect_wide(root / "a.csv", {"7": landmarks.kinect_body(4)}))
PLANAR = 50 * markers.walk(15, 5)[..., :2] / 1000
PENN = PLANAR[:, :13]
POSES: dict[str, Case] = {
    "openpose": (contents(lambda root: detections.openpose(root / "a", FRAMES)), "openpose --input {}/in",
                 "in/a/video_000000000002_keypoints.json", changed_json),
    "openpose bytes": (contents(lambda root: detections.openpose(root / "a", FRAMES)), "openpose --input {}/in",
                       "in/a/video_000000000000_keypoints.json", damaged),
    "alphapose": (contents(lambda root: detections.alphapose(root / "a", FRAMES)), "alphapose --input {}/in",
                  "in/a/alphapose-results.json", changed_json),
    "alphapose cmu": (contents(lambda root: detections.alphapose(root / "a", FRAMES, "cmu")), "alphapose --input {}/in",
                      "in/a/alphapose-results.json", changed_json),
    "mmpose": (contents(lambda root: detections.mmpose(root / "a", FRAMES)), "mmpose --input {}/in", "in/a/video.json",
               changed_json),
    "mediapipe json": (contents(lambda root: landmarks.tasks(root / "a", BODY)), "mediapipe --input {}/in", "in/a.json",
                       changed_json),
    "mediapipe csv": (contents(lambda root: landmarks.wide_named(root / "a", BODY)), "mediapipe --input {}/in",
                      "in/a.csv", damaged),
    "mediapipe long": (contents(lambda root: landmarks.long_named(root / "a", BODY)), "mediapipe --input {}/in",
                       "in/a.csv", damaged),
    "kinect-csv": (KINECT, "kinect-csv --input {}/in", "in/a.csv", damaged),
    "bvh": (contents(lambda root: bvh.write(root / "a.bvh")), "bvh --input {}/in --rate 20", "in/a.bvh", damaged),
    "c3d": (contents(lambda root: markers.c3d(root / "a.c3d", markers.walk(39, 3), markers.VICON)),
            "c3d --input {}/in", "in/a.c3d", damaged),
    "trc": (contents(lambda root: markers.trc(root / "a.trc", markers.walk(39, 3), markers.VICON)),
            "trc --input {}/in --rate 20", "in/a.trc", damaged),
    "pose2sim": (
        contents(lambda root: markers.trc(root / "T" / "pose-3d" / "T_0-3.trc", markers.walk(22, 3), markers.POSE2SIM)),
        "pose2sim --input {}/in", "in/T/pose-3d/T_0-3.trc", damaged,
    ),
    "freemocap": (contents(freemocap), "freemocap --input {}/in", "in/a/output_data/mediapipe_body_3d_xyz.npy",
                  damaged),
    "mat": (mat("a1_s1_t1_skeleton.mat", d_skel=markers.walk(20, 5).transpose(1, 2, 0) / 1000), "mat --input {}/in",
            "in/a1_s1_t1_skeleton.mat", damaged),
    "jhmdb": (mat("x/b/joint_positions.mat", pos_img=PLANAR.transpose(2, 1, 0)), "jhmdb --input {}/in",
              "in/x/b/joint_positions.mat", damaged),
    "penn-action": (
        mat("0001.mat", action="bowl", train=1, x=PENN[..., 0], y=PENN[..., 1], visibility=np.ones((5, 13))),
        "penn-action --input {}/in", "in/0001.mat", damaged,
    ),
}  # fmt: skip
