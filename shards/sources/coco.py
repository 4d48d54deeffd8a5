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
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from bonestrap.files import read_json
from bonestrap.layout import Layout
from shards.errors import DataError
from shards.packing.preprocess import Step, detected, tracked
from shards.sources.follow import Clip, Detection, Order, bodies, track
from shards.sources.recorded import Clips, Recorded
from shards.sources.source import file_stamp, listed
from shards.sources.table import Table

TRACKS = ("track_id", "idx", "person_id")
DIGITS = re.compile(r"\d+")


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
            return bodies(_clips(self.root, self.joints)[name], self.joints)
        whole = Clip()
        for clip in _read(self.root / name, self.joints).values():
            whole.frames |= clip.frames
            whole.detections += clip.detections
        return bodies(whole, self.joints)


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
        numbered = next((key for key in TRACKS if any(key in entry for entry in entries)), None)
        clips: dict[str, Clip] = {}
        for image in names:
            name, frame = _place(image, names)
            clips.setdefault(name, Clip()).frames.add(frame)
        for entry in entries:
            name, frame = _place(entry["image_id"], names)
            clip = clips.setdefault(name, Clip())
            clip.frames.add(frame)
            found = _joints(entry.get("keypoints"), joints)
            clip.detections.append(Detection(frame, track(entry.get(numbered)) if numbered else None, found))
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
            f"{path}: one frame as OpenPose writes it, an object with people; pack the folder with the format openpose"
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
