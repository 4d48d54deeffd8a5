"""AlphaPose: `alphapose-results.json`, a file a video, in any of its three formats.

The default is a list of detections, each with the `image_id` of its frame, `keypoints` and, from a tracker, `idx`;
`--format cmu` and `--format open` write an object of frames with `bodies` or `people`. Frames in which nobody was
found are not written: their numbers are missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from bonestrap.files import read_json
from shards.errors import DataError
from shards.sources.follow import Clip, track
from shards.sources.keypoints.detections import detection, fill, flat, place
from shards.sources.source import listed

RESULTS = "alphapose-results.json"
FRAMES = "sep-json"  # the folder in which --format cmu and open write all frames once more


def clips(root: Path) -> dict[str, list[Path]]:
    """The file of each clip below a folder. DataError where there are none."""
    paths = [path for path in root.rglob("*.json") if FRAMES not in path.relative_to(root).parts]
    found = {_name(path.relative_to(root)): [path] for path in listed(paths)}
    if not found:
        raise DataError(f"{root}: no .json files below it; give the folder of AlphaPose's results as --input")
    return found


def read(paths: Sequence[Path]) -> Clip:
    """The clip of a file of results."""
    content = read_json(paths[0])
    clip = Clip()
    for image, written, name in _persons(content):
        frame = place(str(image))
        clip.frames.add(frame)
        clip.detections += detection(frame, track(name), flat(written))
    clip.frames = fill(clip.frames)
    return clip


def _name(path: PurePath) -> str:
    """The clip that a file is of: the folder of results that AlphaPose named, or what a user named them."""
    named = path.parent if path.name == RESULTS and path.parent.parts else path
    return named.as_posix()


def _persons(content: Any) -> list[tuple[Any, Any, Any]]:
    """(image, numbers, track) of each detection."""
    if isinstance(content, list):
        return [(entry["image_id"], entry["keypoints"], entry.get("idx")) for entry in content]
    found = []
    for image, frame in content.items():
        found += [(image, person["pose_keypoints_2d"], person.get("idx")) for person in frame.get("people", ())]
        found += [(image, body["joints"], body.get("idx")) for body in frame.get("bodies", ())]
        if not {"people", "bodies"} & set(frame):
            raise ValueError("a frame without people or bodies")
    return found
