"""Persons in frames, from a detector or a sensor, brought together to bodies that last.

A detection that says whose it is stays with that number. One that does not, or whose number another one in its frame
has, goes on with the person who was last seen nearest.

Legend: C numbers a joint (coordinates, then confidence), T frames, V joints, M bodies.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bonestrap.files import check_size

NEAR = 0.5  # of a body's size: how far its joints may be, on average, from where they were seen last

Order = tuple[Any, ...]  # frames sort by it


class Detection(NamedTuple):
    """One person in one frame."""

    frame: Order
    track: Hashable | None
    joints: np.ndarray  # (V, C); zeros where the detector wrote nothing, or what is no number


@dataclass
class Clip:
    """What a file says of one clip."""

    frames: set[Order] = field(default_factory=set)
    detections: list[Detection] = field(default_factory=list)


def track(written: Any) -> Hashable | None:
    """The number, or name, of a person: AlphaPose writes 1, [1.0] and [[1.0], [1.0]]. None where it is not known."""
    while isinstance(written, list):
        written = written[0] if written else None
    if isinstance(written, str):
        return written.strip() or None
    known = isinstance(written, int | float) and (isinstance(written, int) or math.isfinite(written)) and written >= 0
    return written if known else None


def bodies(clip: Clip, count: int) -> np.ndarray:
    """One clip of `count` joints as (T, M, V, C), NaN where a body is not seen. T counts the frames that it names."""
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
    numbers_each = len(placed[0][2][0]) if placed else 3
    check_size((len(order), len(slots), count, numbers_each))
    joints = np.full((len(order), len(slots), count, numbers_each), np.nan, dtype=np.float32)
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
    weight = np.nan_to_num(joints[:, -1] * known[:, -1])
    if weight.sum() <= 0:
        return np.inf
    extent = joints[weight > 0, :-1]
    size = float(np.linalg.norm(extent.max(0) - extent.min(0)))
    apart = np.linalg.norm(joints[:, :-1] - known[:, :-1], axis=1)
    return float((weight * apart).sum() / weight.sum()) / max(size, 1e-6)
