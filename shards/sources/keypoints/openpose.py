"""OpenPose's `--write_json`: a JSON file a frame, `NAME_000000000012_keypoints.json`, with the people seen in it.

The files of a folder are a clip; where they differ in what stands before the number, each such name is one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bonestrap.files import read_json
from shards.errors import DataError
from shards.sources.follow import Clip, track
from shards.sources.keypoints.detections import FAULTS, detection, fill, flat, place
from shards.sources.source import listed

NUMBER = re.compile(r"\d*$")


def clips(root: Path) -> dict[str, list[Path]]:
    """The files of each clip below a folder. DataError where there are none."""
    folders: dict[Path, list[Path]] = {}
    for path in listed(root.rglob("*.json")):
        folders.setdefault(path.parent, []).append(path)
    found: dict[str, list[Path]] = {}
    for folder, paths in folders.items():
        name = folder.relative_to(root).as_posix() if folder != root else ""
        videos: dict[str, list[Path]] = {}
        for path in paths:
            videos.setdefault(NUMBER.sub("", _stem(path)).rstrip("_-"), []).append(path)
        for video, members in videos.items():
            alone = len(videos) == 1 and name
            found[name if alone else "/".join(filter(None, (name, video))) or root.name] = members
    if not found:
        raise DataError(f"{root}: no .json files below it; give the folder that --write_json named as --input")
    return found


def read(paths: Sequence[Path]) -> Clip:
    """A clip of one file a frame; frames that have no file between those that have one are frames without anybody."""
    clip = Clip()
    for path in paths:
        try:
            frame = place(_stem(path))
            clip.frames.add(frame)
            for person in read_json(path)["people"]:
                written = person["pose_keypoints_2d"] if "pose_keypoints_2d" in person else person["pose_keypoints"]
                clip.detections += detection(frame, track(person.get("person_id")), flat(written))
        except FAULTS as error:
            said = f"{type(error).__name__} {error!s:.100}"
            raise DataError(f"{path}: not a frame as OpenPose writes it ({said}); repair or remove it") from None
    clip.frames = fill(clip.frames)
    return clip


def _stem(path: Path) -> str:
    return path.stem.removesuffix("_keypoints")
