"""MediaPipe's smoothing of landmarks over time: the one euro filter (Casiez et al. 2012, CHI), and exponential means.

The numbers are those of the graph of MediaPipe 0.10.21. How fast a landmark moves is measured in sides of the person's
region a second, in space in metres a second.

Legend: L landmarks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

SPEED_CUTOFF = 1.0  # Hz, of the filter of speeds
VISIBILITY = 0.1  # weight of a frame in the mean of visibilities
SMALL = 1e-6  # of a region's side in pixels: below it nothing is smoothed


class OneEuro(NamedTuple):
    """A low-pass filter whose cutoff frequency rises with speed: `cutoff` Hz at rest, `beta` more a unit of it."""

    cutoff: float
    beta: float


REGION, IMAGE, SPACE = OneEuro(0.01, 10.0), OneEuro(0.05, 80.0), OneEuro(0.1, 40.0)


@dataclass
class Filter:
    """A one euro filter of values that come `rate` times a second, each by itself."""

    kind: OneEuro
    rate: float
    raw: np.ndarray | None = None
    speed: np.ndarray | None = None
    smooth: np.ndarray | None = None

    def __call__(self, values: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """The values (...,), smoothed; `scale` turns their differences into the unit of speed."""
        if self.raw is None or self.speed is None or self.smooth is None:
            self.raw, self.speed, self.smooth = values, np.zeros_like(values), values
            return values
        speed = (values - self.raw) * scale * self.rate
        self.speed = self.speed + self._weight(SPEED_CUTOFF) * (speed - self.speed)
        weight = self._weight(self.kind.cutoff + self.kind.beta * np.abs(self.speed))
        self.smooth = self.smooth + weight * (values - self.smooth)
        self.raw = values
        return self.smooth

    def _weight(self, cutoff: np.ndarray | float) -> np.ndarray | float:
        """Of the newest value in a mean with this cutoff frequency in Hz."""
        return 1 / (1 + self.rate / (2 * math.pi * cutoff))


class Smoothing:
    """The filters of one person, who is seen in every frame."""

    def __init__(self, rate: float, *, landmarks: bool) -> None:
        self.region = Filter(REGION, rate)
        self.landmarks = landmarks
        self.image, self.space = Filter(IMAGE, rate), Filter(SPACE, rate)
        self.visible: np.ndarray | None = None

    def __call__(
        self, ends: np.ndarray, joints: np.ndarray, world: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Middle and rim of the region (2, 2), and landmarks in the image (L, 3) and in space (L, 4), smoothed.

        The last column of the landmarks is their visibility; landmarks stay as they are unless they are asked for.
        """
        side = 2 * float(np.hypot(*(ends[1] - ends[0])))
        if side < SMALL:
            return ends, joints, world
        region = self.region(ends, 1 / side)
        if not self.landmarks:
            return region, joints, world
        seen = joints[:, 2:]
        self.visible = seen if self.visible is None else self.visible + VISIBILITY * (seen - self.visible)
        image, space = self.image(joints[:, :2], 1 / side), self.space(world[:, :3])
        return region, np.concatenate([image, self.visible], 1), np.concatenate([space, self.visible], 1)
