"""Keypoints as pose software writes them: clips in one file or many, persons in frames, the layout by its joints.

Legend: C numbers a joint (coordinates, then confidence), T frames, V joints, M bodies.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bonestrap.layout import Layout
from bonestrap.layouts import BODY25, COCO17, COCO18, COCO23, H36M17, HALPE26
from shards.errors import DataError
from shards.sources.follow import Clip, Detection, Order, bodies
from shards.sources.recorded import Clips
from shards.sources.source import file_stamp

DIGITS = re.compile(r"\d+")
FAULTS = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError)
BODY = {133: 23, 136: 26}  # joints of COCO-WholeBody and Halpe-FullBody, and how many of them are body and feet
LAYOUTS = {(17, 2): COCO17, (18, 2): COCO18, (23, 2): COCO23, (25, 2): BODY25, (26, 2): HALPE26, (17, 3): H36M17}

Read = Callable[[Sequence[Path]], Clip]


class Detections(Clips):
    """Clips, each of some files below `root`. `read` gives one, and may raise anything of `FAULTS`, or DataError.

    Without a layout that of the first person found is taken: by the number of joints, and of coordinates.
    """

    def __init__(self, root: Path, clips: Mapping[str, Sequence[Path]], read: Read, layout: Layout | None) -> None:
        self.root, self.clips, self._read = root, clips, read
        self.names = sorted(clips)
        self.layout = layout or self._guess()

    def stamp(self, name: str) -> str:
        return file_stamp(*self.clips[name])

    def read(self, name: str) -> np.ndarray:
        clip = self._clip(name)
        shape = (len(self.layout.joints), self.layout.coordinates + 1)
        whole = clip.detections
        trimmed = [one if len(one.joints) == shape[0] else one._replace(joints=_body(one.joints)) for one in whole]
        for detection in trimmed:
            if detection.joints.shape != shape:
                found = " x ".join(map(str, detection.joints.shape))
                raise DataError(
                    f"{self.root / name}: a person of {found} numbers where layout {self.layout.name} with confidence "
                    f"has {shape[0]} x {shape[1]}; remove the file, or choose the layout that fits it"
                )
        try:
            return bodies(Clip(clip.frames, trimmed), shape[0])
        except ValueError as error:  # too many frames and persons for memory
            raise DataError(f"{self.root / name}: {error}; cut it into clips, or remove it") from None

    def _clip(self, name: str) -> Clip:
        try:
            return self._read(self.clips[name])
        except FAULTS as error:
            if isinstance(error, DataError):
                raise
            said = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else error
            raise DataError(f"{self.root / name}: not readable ({said!s:.200}); repair or remove it") from None

    def _guess(self) -> Layout:
        for name in self.names:
            try:
                found = next((_body(detection.joints) for detection in self._clip(name).detections), None)
            except DataError:  # it is reported when it is read
                continue
            if found is not None:
                count, numbers = found.shape
                if (count, numbers - 1) not in LAYOUTS:
                    raise DataError(
                        f"{self.root / name}: persons of {count} joints are of no layout that is known; give --layout, "
                        "a file with their names"
                    )
                return LAYOUTS[count, numbers - 1]
        return COCO17  # of nobody


def fill(frames: set[Order]) -> set[Order]:
    """Frames of these numbers, each (number, ...), and those left out between them, in which nobody was seen.

    Numbers of which most are left out do not count frames, such as times: then there are no others.
    """
    numbers = sorted({frame[0] for frame in frames})
    if len(numbers) < 2:
        return frames
    step = math.gcd(*(b - a for a, b in itertools.pairwise(numbers)))
    if (numbers[-1] - numbers[0]) // step + 1 > 2 * len(numbers):
        return frames
    return frames | {(number,) for number in set(range(numbers[0], numbers[-1], step)) - set(numbers)}


def place(name: str) -> Order:
    """The order of a frame in its clip by the last number in its name."""
    digits = DIGITS.findall(name)
    return (int(digits[-1]) if digits else -1, name)


def flat(written: Iterable[Any] | None, numbers: int = 3) -> np.ndarray:
    """(V, numbers) of a flat list. Joints without a number become zero. ValueError for another length."""
    found = np.array(written if written is not None else [], dtype=np.float32)
    if found.ndim != 1 or found.size % numbers:
        raise ValueError(f"{found.size} numbers are not {numbers} a joint")
    return known(found.reshape(-1, numbers))


def known(joints: np.ndarray) -> np.ndarray:
    """Joints (V, C) with zeros where a coordinate is not finite."""
    return np.where(np.isfinite(joints[:, :-1]).all(1, keepdims=True), np.nan_to_num(joints), np.float32(0))


def detection(frame: Order, track: Any, joints: np.ndarray) -> list[Detection]:
    """One person, or none where the software wrote no joints."""
    return [Detection(frame, track, joints)] if len(joints) else []


def _body(joints: np.ndarray) -> np.ndarray:
    return joints[: BODY.get(len(joints), len(joints))]
