"""Joints in a CSV file with a heading, as recorders of Kinect v2 and MediaPipe, and FreeMoCap, write them.

Wide: a row a frame (and person), with a column for each number: `SpineBase_X`, `nose_x`, `x1`, `LEFT_HIP.visibility`.
Long: a row a joint, with columns that name the joint, by its name or number, and x, y, z. Columns of a frame's number
or time, of a body's number and of a joint's confidence or tracking state are understood where they are; others are
passed over. Without a frame column every row is a frame of its own.

Legend: V joints.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bonestrap.files import content
from bonestrap.layout import Layout
from shards.sources.follow import Clip, Detection
from shards.sources.keypoints.detections import fill
from shards.sources.names import plain
from shards.sources.units import UNITS, Unit, check_size

WORDS = re.compile(r"[^a-z0-9]+")
FRAME = ("frame", "frameid", "framenumber", "frameindex", "frameidx", "framenum", "timestamp", "timestampms", "time")
BODY = ("body", "bodyid", "bodyindex", "person", "personid", "trackingid", "skeletonid", "poseid", "player", "trackid")
JOINT = ("jointname", "joint", "jointtype", "jointid", "landmarkname", "landmark", "landmarkid", "keypoint", "name")
SCORE = "v|c|visibility|confidence|score|likelihood|trackingstate|state"
NUMBER = re.compile(rf"(?P<joint>.*?)[ _.:-]*(?:position|pos)?[ _.:-]*(?P<what>x|y|z|{SCORE})_?(?P<digits>\d*)", re.I)
STATES = {"tracked": 1.0, "inferred": 0.5, "nottracked": 0.0}


class Columns(NamedTuple):
    """Where things are: columns of the frame, the body and the joint (-1 for none), and of the numbers."""

    frame: int
    body: int
    joint: int
    numbers: dict[tuple[str, int], int]  # (joint as written, 0 to 2 for x, y, z and 3 for the confidence)
    state: bool  # whether the confidence is a Kinect's tracking state: 0, 1 or 2


def read(path: Path, layout: Layout) -> Clip:
    """The clip of a file: persons as (V, 4), coordinates and confidence (1 where there is none)."""
    try:
        text = content(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not a text in UTF-8") from None
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=max(",;\t", key=text.partition("\n")[0].count)))
    except csv.Error as error:
        raise ValueError(str(error)) from None
    rows = [row for row in rows if any(field.strip() for field in row)]
    if len(rows) < 2:
        raise ValueError("it has no rows below a heading")
    columns = _columns([field.strip() for field in rows[0]])
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise ValueError(f"row {number} has {len(row)} fields and the heading {len(rows[0])}")
    return _long(rows[1:], columns, layout) if columns.joint >= 0 else _wide(rows[1:], columns, layout)


def read_scaled(paths: Sequence[Path], layout: Layout, unit: Unit) -> Clip:
    """The clip of a file whose coordinates are in this unit, in metres."""
    clip = read(paths[0], layout)
    scale = np.array([*[UNITS[unit]] * 3, 1], dtype=np.float32)
    persons = [person._replace(joints=person.joints * scale) for person in clip.detections]
    if persons:
        check_size(np.stack([person.joints[None, :, :3] for person in persons]), unit, str(paths[0]))
    return Clip(clip.frames, persons)


def _columns(heading: list[str]) -> Columns:
    bare = [WORDS.sub("", name.lower()) for name in heading]
    first = [next((bare.index(name) for name in names if name in bare), -1) for names in (FRAME, BODY, JOINT)]
    numbers: dict[tuple[str, int], int] = {}
    state = False
    for column, name in enumerate(heading):
        match = NUMBER.fullmatch(name)
        if match and column not in first:
            what = match["what"].lower()
            numbers.setdefault((match["joint"] or match["digits"], "xyz".find(what) % 4), column)
            state |= what.endswith("state")
    frame, body, joint = first
    return Columns(frame, body, joint if ("", 0) in numbers else -1, numbers, state)


def _wide(rows: list[list[str]], columns: Columns, layout: Layout) -> Clip:
    place = _places({joint for joint, axis in columns.numbers if axis == 0}, layout)
    clip = Clip()
    for number, row in enumerate(rows):
        joints = np.full((len(layout.joints), 4), np.nan, dtype=np.float32)
        joints[:, 3] = 1
        for (joint, axis), column in columns.numbers.items():
            if joint in place:
                joints[place[joint], axis] = _number(row[column], columns.state and axis == 3)
        _add(clip, row, number, columns, joints)
    return _filled(clip)


def _long(rows: list[list[str]], columns: Columns, layout: Layout) -> Clip:
    axes = {axis: column for (joint, axis), column in columns.numbers.items() if not joint}
    if not {0, 1, 2} <= set(axes) or columns.frame < 0:
        raise ValueError("a row a joint, and no columns x, y, z and frame")
    place = _places({row[columns.joint].strip() for row in rows}, layout)
    found: dict[tuple[str, str], np.ndarray] = {}
    first: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        key = row[columns.frame], row[columns.body] if columns.body >= 0 else ""
        joints = found.setdefault(key, np.full((len(layout.joints), 4), np.nan, dtype=np.float32))
        first.setdefault(key, row)
        joint = row[columns.joint].strip()
        if joint in place:
            joints[place[joint], 3] = 1
            for axis, column in axes.items():
                joints[place[joint], axis] = _number(row[column], columns.state and axis == 3)
    clip = Clip()
    for key, joints in found.items():
        _add(clip, first[key], 0, columns, joints)
    return _filled(clip)


def _places(written: set[str], layout: Layout) -> dict[str, int]:
    """The joint of a layout that each name, or number counted from 0 or 1, means. ValueError where some have none."""
    names = {plain(joint): index for index, joint in enumerate(layout.joints)}
    place = {text: names[plain(text)] for text in written if plain(text) in names}
    if not place:
        digits = {text: int(found[-1]) for text in written if (found := re.findall(r"\d+", text))}
        base = 1 if digits and 0 not in digits.values() else 0
        count = len(layout.joints)
        place = {text: number - base for text, number in digits.items() if 0 <= number - base < count}
    if lost := [joint for index, joint in enumerate(layout.joints) if index not in place.values()]:
        raise ValueError(f"no column of {len(lost)} of {len(layout.joints)} joints, such as {lost[0]}")
    return place


def _number(text: str, state: bool) -> float:
    text = text.strip()
    if state:
        word = STATES.get(WORDS.sub("", text.lower()))
        return word if word is not None else float(text or 0) / 2
    return float(text) if text else np.nan


def _add(clip: Clip, row: list[str], number: int, columns: Columns, joints: np.ndarray) -> None:
    """A person, or nobody where no joint has a place, in the frame of a row."""
    frame = (float(row[columns.frame]),) if columns.frame >= 0 else (float(number),)
    clip.frames.add(frame)
    seen = np.isfinite(joints[:, :3]).all(1)
    if seen.any():
        joints = np.where(seen[:, None], np.nan_to_num(joints), np.float32(0))
        body = row[columns.body].strip() if columns.body >= 0 else ""
        clip.detections.append(Detection(frame, body or None, joints))


def _filled(clip: Clip) -> Clip:
    """Frames that are counted, with those between them in which there was nobody; times stay as they are."""
    if all(float(frame[0]).is_integer() for frame in clip.frames):
        whole = {(int(number),) for (number,) in clip.frames}
        persons = [person._replace(frame=(int(person.frame[0]),)) for person in clip.detections]
        return Clip(fill(whole), persons)
    return clip
