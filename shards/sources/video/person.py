"""What every way of finding persons in the frames of a video gives.

Legend: H height, W width, V joints.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

SAME = 0.15  # of a body's size: how far the joints of one person, found twice in a frame, are apart on average
BRIEF = 3  # frames; somebody who was followed through fewer was a mistake of the detector


class Person(NamedTuple):
    """A person in a frame."""

    track: int | None  # None where nobody followed it from frame to frame
    joints: np.ndarray  # (V, 3) float32: x and y in pixels, and confidence
    world: np.ndarray | None = None  # (V, 4) float32: metres around the middle of the hips, and confidence


class Estimator(ABC):
    """Networks that find persons and their joints. It remembers where they were: an estimator serves one video."""

    @abstractmethod
    def __call__(self, image: np.ndarray) -> list[Person]:
        """The persons in the next frame (H, W, 3) uint8 RGB, those that matter most first."""


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """How far the joints (V, 3) of two persons are apart on average, as a fraction of the first one's size."""
    size = float(np.linalg.norm(one[:, :2].max(0) - one[:, :2].min(0)))
    return float(np.linalg.norm(one[:, :2] - other[:, :2], axis=1).mean()) / max(size, 1e-6)


def lasting(frames: Iterable[list[Person]]) -> Iterator[list[Person]]:
    """The persons of each frame, without those who were followed through fewer than `BRIEF` frames in a row."""
    none: list[list[Person]] = [[]] * (BRIEF - 1)
    window = deque(none, maxlen=2 * BRIEF - 1)
    for frame in itertools.chain(frames, none):
        window.append(frame)
        if len(window) == window.maxlen:
            near = [person.track for other in window for person in other]
            yield [one for one in window[BRIEF - 1] if one.track is None or near.count(one.track) >= BRIEF]
