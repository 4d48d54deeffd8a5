"""MMPose and RTMPose: a JSON file a video, with the instances of each frame.

The inferencer's `--pred-out-dir` writes a list of `{"frame_id": ..., "instances": [...]}`, the demo scripts'
`--save-predictions` an object that holds it as `instance_info`. An instance has `keypoints`, [x, y] or [x, y, z] each,
and `keypoint_scores`; trackers add `track_id`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bonestrap.files import read_json
from shards.errors import DataError
from shards.sources.follow import Clip, track
from shards.sources.keypoints.detections import detection, fill, known
from shards.sources.source import listed

TRACKS = ("track_id", "instance_id", "id")


def clips(root: Path) -> dict[str, list[Path]]:
    """The file of each clip below a folder. DataError where there are none."""
    found = {path.relative_to(root).as_posix(): [path] for path in listed(root.rglob("*.json"))}
    if not found:
        raise DataError(f"{root}: no .json files below it; give the folder of MMPose's predictions as --input")
    return found


def read(paths: Sequence[Path]) -> Clip:
    """The clip of a file of predictions."""
    (path,) = paths
    content = read_json(path)
    frames = content["instance_info"] if isinstance(content, dict) else content
    if frames and "instances" not in frames[0]:
        raise DataError(
            f"{path}: the prediction of one image, and a clip is a list of frames; run MMPose on the video, or remove "
            "the file"
        )
    clip = Clip()
    for number, written in enumerate(frames):
        frame = (int(written.get("frame_id", number)),)
        clip.frames.add(frame)
        for instance in written["instances"]:
            name = next((instance[key] for key in TRACKS if key in instance), None)
            clip.detections += detection(frame, track(name), _joints(instance))
    clip.frames = fill(clip.frames)
    return clip


def _joints(instance: dict[str, Any]) -> np.ndarray:
    places = np.array(instance["keypoints"], dtype=np.float32)
    places = places[0] if places.ndim == 3 and len(places) == 1 else places
    scores = np.array(instance.get("keypoint_scores", np.ones(len(places))), dtype=np.float32).reshape(-1, 1)
    if places.ndim != 2 or places.shape[1] not in (2, 3) or len(scores) != len(places):
        raise ValueError(f"keypoints of {places.shape} and {len(scores)} scores")
    return known(np.concatenate([places, scores], axis=1))
