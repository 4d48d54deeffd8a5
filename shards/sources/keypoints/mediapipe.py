"""MediaPipe Pose: landmarks of videos in CSV or JSON, a file a clip.

MediaPipe gives results, not files; what people save has a few shapes. CSV: see `joint_csv` beside this. JSON: a list
of frames (or an object that holds it as `frames`), each a list of 33 landmarks, of several persons' such lists, or a
result with `pose_world_landmarks` and `pose_landmarks`, in the spelling of Python or of JavaScript. A landmark is an
object with x, y, z and, perhaps, visibility. World landmarks are metres around the middle of the hips; the others are
parts of the image's width and height.

Legend: V joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bonestrap.files import read_json
from bonestrap.layouts import MEDIAPIPE33
from shards.errors import DataError
from shards.sources.follow import Clip, Detection
from shards.sources.keypoints import joint_csv
from shards.sources.keypoints.detections import fill, known
from shards.sources.source import listed

Landmarks = Literal["world", "image"]
WORLD = ("pose_world_landmarks", "poseWorldLandmarks", "world_landmarks", "worldLandmarks")
IMAGE = ("pose_landmarks", "poseLandmarks", "landmarks")
FRAME = ("frame", "frame_id", "frame_number", "frame_index", "frameNumber")
HIPS = (MEDIAPIPE33.joints.index("left_hip"), MEDIAPIPE33.joints.index("right_hip"))
CENTRED = 0.05  # metres: how far from the origin the middle of the hips of world landmarks may be


def clips(root: Path) -> dict[str, list[Path]]:
    """The file of each clip below a folder. DataError where there are none."""
    paths = listed(path for path in root.rglob("*") if path.suffix.lower() in (".csv", ".json"))
    if not paths:
        raise DataError(f"{root}: no .csv or .json files below it; give the folder of landmarks as --input")
    return {path.relative_to(root).as_posix(): [path] for path in paths}


def read_world(paths: Sequence[Path]) -> Clip:
    """A clip of world landmarks: persons as (V, 4)."""
    clip = _read(paths[0], (*WORLD, *IMAGE[2:]))
    middles = [person.joints[list(HIPS), :3].mean(0) for person in clip.detections]
    if middles and float(np.median(np.linalg.norm(middles, axis=1))) > CENTRED:
        raise DataError(
            f"{paths[0]}: landmarks in the image, not in the world, whose origin is between the hips; give --landmarks "
            "image with --width and --height, or remove the file"
        )
    return clip


def read_image(paths: Sequence[Path], width: int | None, height: int | None) -> Clip:
    """A clip of landmarks in the image: persons as (V, 3), in pixels, or in other units of one length."""
    clip = _read(paths[0], IMAGE)
    persons = [person._replace(joints=person.joints[:, [0, 1, 3]]) for person in clip.detections]
    if width and height:
        scale = np.array([width, height, 1], dtype=np.float32)
        persons = [person._replace(joints=person.joints * scale) for person in persons]
    elif persons and float(np.median([np.abs(person.joints[:, :2]).max() for person in persons])) < 5:
        raise DataError(
            f"{paths[0]}: landmarks are parts of the image's width and height; give --width and --height, its pixels"
        )
    return Clip(clip.frames, persons)


def _read(path: Path, keys: Sequence[str]) -> Clip:
    if path.suffix.lower() == ".csv":
        return joint_csv.read(path, MEDIAPIPE33)
    written = read_json(path)
    frames = written["frames"] if isinstance(written, dict) else written
    clip = Clip()
    for number, entry in enumerate(frames):
        stated = next((entry[key] for key in FRAME if key in entry), number) if isinstance(entry, dict) else number
        frame = (int(stated),)
        clip.frames.add(frame)
        clip.detections += [Detection(frame, None, joints) for joints in _persons(entry, keys)]
    clip.frames = fill(clip.frames)
    return clip


def _persons(entry: Any, keys: Sequence[str]) -> list[np.ndarray]:
    """(V, 4) of each person of a frame."""
    if isinstance(entry, dict) and "x" not in entry:
        if not any(key in entry for key in keys):
            raise ValueError(f"a frame with {', '.join(entry) or 'nothing':.80}, and no {keys[0]}")
        entry = next(entry[key] for key in keys if key in entry)
        entry = entry.get("landmark", entry) if isinstance(entry, dict) else entry
    if not entry:
        return []
    people = [entry] if isinstance(entry[0], dict) else entry
    return [_joints(person["landmark"] if isinstance(person, dict) else person) for person in people]


def _joints(landmarks: Sequence[dict[str, Any]]) -> np.ndarray:
    if len(landmarks) != len(MEDIAPIPE33.joints):
        raise ValueError(f"{len(landmarks)} landmarks where a person has {len(MEDIAPIPE33.joints)}")
    rows = [(mark["x"], mark["y"], mark["z"], mark.get("visibility", 1.0)) for mark in landmarks]
    return known(np.array(rows, dtype=np.float32))
