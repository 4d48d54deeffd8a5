"""2D keypoints with confidence, as person detectors write them: COCO's results and annotations in JSON.

A file is a list of detections, `{"image_id": ..., "keypoints": [x, y, confidence, ...]}`, or an object that holds such
a list under `annotations` and, perhaps, the frames, those without anybody too, under `images`. In a folder each file is
a clip; a single file may hold many, told apart by the folders in the names of their frames. Persons are followed by
`track_id` (or `idx`, `person_id`), and from frame to frame by their places where a detection has none, a negative one,
or that of another one in its frame.

Legend: C numbers a joint (x, y, confidence), T frames, V joints, M bodies.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import numpy as np

from bonestrap.files import check_size, read_json
from bonestrap.layout import Layout
from shards.errors import DataError
from shards.packing.preprocess import Step, detected, tracked
from shards.sources.recorded import Clips, Recorded
from shards.sources.source import file_stamp, listed
from shards.sources.table import Table

TRACKS = ("track_id", "idx", "person_id")
NEAR = 0.5  # of a body's size: how far its joints may be, on average, from where they were seen last
DIGITS = re.compile(r"\d+")


Order = tuple[Any, ...]  # frames sort by it


class Detection(NamedTuple):
    """One person in one frame."""

    frame: Order
    track: Hashable | None
    joints: np.ndarray  # (V, 3); zeros where the detector wrote nothing, or what is no number


@dataclass
class Clip:
    """What a file says of one clip."""

    frames: set[Order] = field(default_factory=set)
    detections: list[Detection] = field(default_factory=list)


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
            return _bodies(_clips(self.root, self.joints)[name], self.joints)
        whole = Clip()
        for clip in _read(self.root / name, self.joints).values():
            whole.frames |= clip.frames
            whole.detections += clip.detections
        return _bodies(whole, self.joints)


def keypoints(
    root: Path,
    *,
    name: str,
    layout: Layout,
    table: Table | None = None,
    confidence: Literal["hide", "keep"] = "hide",
    min_confidence: float = 0.1,
    bodies: int = 2,
) -> Recorded:
    """The source of a folder, or a file, of 2D keypoints.

    Joints below `min_confidence`, and those at exactly zero, are interpolated; "keep" hands the confidence on to
    the encoder as well. Tracks that are never seen together are joined; of the persons of a clip the `bodies` that are
    seen longest are kept.
    """
    layout = dataclasses.replace(layout, coordinates=2, confidence=confidence == "keep")
    cleaning: tuple[Step, ...] = (*detected(layout, least=min_confidence), *tracked(layout, most=bodies))
    return Recorded(Keypoints(root, layout), name=name, layout=layout, table=table, cleaning=cleaning)


@functools.lru_cache(maxsize=1)
def _clips(path: Path, joints: int) -> dict[str, Clip]:
    return {name or path.name: clip for name, clip in _read(path, joints).items()}


def _read(path: Path, joints: int) -> dict[str, Clip]:
    """The clips of a file by the folders of their frames. Raises DataError naming it and what is wrong."""
    try:
        content = read_json(path)
        if isinstance(content, dict) and "annotations" not in content:
            _refuse(path, content)
        entries = content["annotations"] if isinstance(content, dict) else content
        images = content.get("images", []) if isinstance(content, dict) else []
        names = {image["id"]: str(image["file_name"]) for image in images}
        track = next((key for key in TRACKS if any(key in entry for entry in entries)), None)
        clips: dict[str, Clip] = {}
        for image in names:
            name, frame = _place(image, names)
            clips.setdefault(name, Clip()).frames.add(frame)
        for entry in entries:
            name, frame = _place(entry["image_id"], names)
            clip = clips.setdefault(name, Clip())
            clip.frames.add(frame)
            found = _joints(entry.get("keypoints"), joints)
            clip.detections.append(Detection(frame, _track(entry.get(track)) if track else None, found))
        return clips
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        said = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else error
        raise DataError(f"{path}: no list of COCO keypoints ({said}); repair or remove the file") from None


def _refuse(path: Path, content: dict[str, Any]) -> None:
    """Raise DataError for an object without annotations, saying what it is."""
    if "people" in content:
        raise DataError(
            f"{path}: one frame as OpenPose writes it, an object with people; put the frames of a clip into one list "
            "of COCO keypoints, or into an array for the format arrays"
        )
    held = f"{', '.join(map(str, content)) or 'nothing':.80}"
    raise DataError(f"{path}: no list of COCO keypoints (an object without annotations, of {held}); remove the file")


def _place(image: Any, names: dict[Any, str]) -> tuple[str, Order]:
    """The clip that an image belongs to, and its order in it: by the numbers in its name, its name, and its id."""
    place = PurePosixPath(names.get(image, str(image)).replace("\\", "/"))
    number = tuple(map(int, DIGITS.findall(place.stem)))
    clip = place.parent.as_posix() if len(place.parts) > 1 else ""
    return clip, (number, str(place), isinstance(image, str), image)


def _joints(written: Any, joints: int) -> np.ndarray:
    """(V, 3) of the numbers of one detection."""
    if not written:
        return np.zeros((joints, 3), dtype=np.float32)
    numbers = np.array(written, dtype=np.float32)
    if numbers.shape != (3 * joints,):
        raise ValueError(f"{numbers.size} numbers where {joints} joints have {3 * joints}")
    numbers = numbers.reshape(joints, 3)
    numbers[~np.isfinite(numbers[:, :2]).all(1)] = 0
    return numbers


def _track(written: Any) -> Hashable | None:
    """The number, or name, of a person: AlphaPose writes 1, [1.0] and [[1.0], [1.0]]. None where it is not known."""
    while isinstance(written, list):
        written = written[0] if written else None
    if isinstance(written, str):
        return written.strip() or None
    known = isinstance(written, int | float) and (isinstance(written, int) or math.isfinite(written)) and written >= 0
    return written if known else None


def _bodies(clip: Clip, count: int) -> np.ndarray:
    """One clip as (T, M, V, 3), NaN where a body is not seen. T counts the frames that the file names."""
    order = {frame: t for t, frame in enumerate(sorted(clip.frames))}
    people: list[list[Detection]] = [[] for _ in order]
    lost: list[list[Detection]] = [[] for _ in order]  # of whom nobody says who they are
    for detection in clip.detections:
        t = order[detection.frame]
        alone = detection.track is not None and detection.track not in [other.track for other in people[t]]
        (people if alone else lost)[t].append(detection)
    followed = _followed([[detection.joints for detection in frame] for frame in lost])
    slots: dict[tuple[str, Hashable], int] = {}
    placed: list[tuple[int, int, np.ndarray]] = []
    for t, (known, unknown, numbers) in enumerate(zip(people, lost, followed, strict=True)):
        named = [(("track", detection.track), detection) for detection in known]
        named += [(("place", number), detection) for number, detection in zip(numbers, unknown, strict=True)]
        placed += [(t, slots.setdefault(name, len(slots)), detection.joints) for name, detection in named]
    check_size((len(order), len(slots), count, 3))
    joints = np.full((len(order), len(slots), count, 3), np.nan, dtype=np.float32)
    for t, slot, found in placed:
        joints[t, slot] = found
    return joints


def _followed(frames: Iterable[list[np.ndarray]]) -> list[list[int]]:
    """A number for each person of each frame: that of the person who was last seen nearest, or a new one."""
    last: list[np.ndarray] = []
    out: list[list[int]] = []
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
    """How far the joints that both have are apart on average, as a fraction of the body's size; confidence weighs."""
    weight = np.nan_to_num(joints[:, 2] * known[:, 2])
    if weight.sum() <= 0:
        return np.inf
    extent = joints[weight > 0, :2]
    size = float(np.linalg.norm(extent.max(0) - extent.min(0)))
    apart = np.linalg.norm(joints[:, :2] - known[:, :2], axis=1)
    return float((weight * apart).sum() / weight.sum()) / max(size, 1e-6)
