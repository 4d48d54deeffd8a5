"""2D keypoints with confidence, as person detectors write them: COCO's results and annotations in JSON.

A file is a list of detections, `{"image_id": ..., "keypoints": [x, y, confidence, ...]}`, or an object that holds such
a list under `annotations` and, perhaps, the names of the frames under `images`. In a folder each file is a clip; a
single file may hold many, told apart by the folders in the names of their frames. Persons are followed by `track_id`
(or `idx`, `person_id`) where every detection has one, and from frame to frame by their places otherwise.

Legend: C numbers a joint (x, y, confidence), T frames, V joints, M bodies.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import numpy as np

from bonestrap.files import check_size, read_json
from bonestrap.layout import Layout
from shards.errors import DataError
from shards.preprocess import Step, detected, keep_longest
from shards.sources.recorded import Clips, Recorded
from shards.sources.source import file_stamp, listed
from shards.sources.table import Table

TRACKS = ("track_id", "idx", "person_id")
NEAR = 0.5  # of a body's size: how far its joints may be, on average, from where they were seen last
DIGITS = re.compile(r"\d+")


class Detection(NamedTuple):
    """One person in one frame."""

    clip: str
    frame: tuple[Any, ...]  # frames sort by it
    track: int | None
    joints: np.ndarray  # (V, 3)


class Keypoints(Clips):
    """The clips of a folder of JSON files, or of one file."""

    def __init__(self, root: Path, layout: Layout) -> None:
        self.root = Path(root)
        self.joints = len(layout.joints)
        if self.root.is_file():
            self.names: Sequence[str] = sorted(_clips(self.root, self.joints))
        else:
            self.names = sorted(path.relative_to(self.root).as_posix() for path in listed(self.root.rglob("*.json")))
        if not self.names:
            raise DataError(f"{self.root}: no .json files below it; give a folder of them, or one file, as --input")

    def stamp(self, name: str) -> str:
        return file_stamp(self.root if self.root.is_file() else self.root / name)

    def read(self, name: str) -> np.ndarray:
        if self.root.is_file():
            return _bodies(_clips(self.root, self.joints)[name])
        return _bodies(_detections(self.root / name, self.joints))


def keypoints(
    root: Path,
    *,
    name: str,
    layout: Layout,
    table: Table | None = None,
    confidence: Literal["hide", "keep"] = "hide",
    least: float = 0.1,
    bodies: int = 2,
) -> Recorded:
    """The source of a folder, or a file, of 2D keypoints.

    Joints of confidence below `least` are interpolated; "keep" hands the confidence on to the encoder as well. Of the
    persons of a clip the `bodies` that are seen longest are kept.
    """
    layout = dataclasses.replace(layout, coordinates=2, confidence=confidence == "keep")
    cleaning: tuple[Step, ...] = (*detected(layout, least=least), partial(keep_longest, most=bodies))
    return Recorded(Keypoints(root, layout), name=name, layout=layout, table=table, cleaning=cleaning)


@functools.lru_cache(maxsize=1)
def _clips(path: Path, joints: int) -> dict[str, list[Detection]]:
    clips: dict[str, list[Detection]] = {}
    for detection in _detections(path, joints):
        clips.setdefault(detection.clip or path.name, []).append(detection)
    return clips


def _detections(path: Path, joints: int) -> list[Detection]:
    """The detections of a file. Raises DataError naming it and what is wrong."""
    try:
        content = read_json(path)
        entries = content["annotations"] if isinstance(content, dict) else content
        images = content.get("images", []) if isinstance(content, dict) else []
        frames = {image["id"]: str(image["file_name"]) for image in images}
        track = next((key for key in TRACKS if entries and all(key in entry for entry in entries)), None)
        return [_detection(entry, frames, track, joints) for entry in entries if entry.get("keypoints")]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        said = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else error
        raise DataError(f"{path}: no list of COCO keypoints ({said}); repair or remove the file") from None


def _detection(entry: dict[str, Any], frames: dict[Any, str], track: str | None, joints: int) -> Detection:
    numbers = np.array(entry["keypoints"], dtype=np.float32)
    if numbers.shape != (3 * joints,):
        raise ValueError(f"{numbers.size} numbers where {joints} joints have {3 * joints}")
    image = frames.get(entry["image_id"], entry["image_id"])
    place = PurePosixPath(str(image))
    number = tuple(map(int, DIGITS.findall(place.stem)))
    clip = place.parent.as_posix() if len(place.parts) > 1 else ""
    who = entry[track] if track else None
    hash(who)  # TypeError, which the caller puts into words
    return Detection(clip, (number, str(image)), who, numbers.reshape(joints, 3))


def _bodies(detections: Sequence[Detection]) -> np.ndarray:
    """One clip as (T, M, V, 3), NaN where a body is not seen. T counts the frames in which anybody is."""
    order = {frame: t for t, frame in enumerate(sorted({detection.frame for detection in detections}))}
    frames: list[list[Detection]] = [[] for _ in order]
    for detection in detections:
        frames[order[detection.frame]].append(detection)
    tracks = [[detection.track for detection in frame] for frame in frames]
    if any(track is None for people in tracks for track in people):
        tracks = _followed([[detection.joints for detection in frame] for frame in frames])
    slots: dict[int | None, int] = {}
    for people in tracks:
        for track in people:
            slots.setdefault(track, len(slots))
    shape = detections[0].joints.shape if detections else (0, 3)
    check_size((len(frames), len(slots), *shape))
    joints = np.full((len(frames), len(slots), *shape), np.nan, dtype=np.float32)
    for t, (frame, people) in enumerate(zip(frames, tracks, strict=True)):
        for detection, track in zip(frame, people, strict=True):
            joints[t, slots[track]] = detection.joints
    return joints


def _followed(frames: Iterable[list[np.ndarray]]) -> list[list[int | None]]:
    """A number for each person of each frame: that of the person who was last seen nearest, or a new one."""
    last: list[np.ndarray] = []
    out: list[list[int | None]] = []
    for people in frames:
        near = sorted(
            (distance, person, track)
            for person, joints in enumerate(people)
            for track, known in enumerate(last)
            if (distance := _distance(joints, known)) < NEAR
        )
        given: dict[int, int] = {}
        for _, person, track in near:
            if person not in given and track not in given.values():
                given[person] = track
        for person, joints in enumerate(people):
            track = given.setdefault(person, len(last))
            last[track : track + 1] = [joints]
        out.append([given[person] for person in range(len(people))])
    return out


def _distance(joints: np.ndarray, known: np.ndarray) -> float:
    """How far the joints that both have are apart on average, as a share of the body's size; confidence weighs."""
    weight = np.nan_to_num(joints[:, 2] * known[:, 2])
    if weight.sum() <= 0:
        return np.inf
    extent = joints[weight > 0, :2]
    size = float(np.linalg.norm(extent.max(0) - extent.min(0)))
    apart = np.linalg.norm(joints[:, :2] - known[:, :2], axis=1)
    return float((weight * apart).sum() / weight.sum()) / max(size, 1e-6)
