"""Square regions of an image, turned as a person stands in it: cropping, and the way back.

The pixel in column i and row j lies at (i, j), and a crop of N columns has its columns at the multiples of 1 / N of the
region's side, as in MediaPipe.

Legend: H height, W width, N side of a crop.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

Border = Literal["zero", "repeat"]

GRID = 32  # parts of a pixel


class Region(NamedTuple):
    """A square by its centre and side in pixels, turned by `angle` radians, clockwise as it is seen."""

    x: float
    y: float
    side: float
    angle: float

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Places in the region (..., 2), from 0 to 1, in pixels of the image."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        across, down = (points[..., 0] - 0.5) * self.side, (points[..., 1] - 0.5) * self.side
        return np.stack([self.x + cos * across - sin * down, self.y + sin * across + cos * down], axis=-1)

    def from_image(self, points: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) as places in the region; the inverse of `to_image`."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        x, y = points[..., 0] - self.x, points[..., 1] - self.y
        return np.stack([(cos * x + sin * y) / self.side + 0.5, (cos * y - sin * x) / self.side + 0.5], axis=-1)


def around(centre: np.ndarray, rim: np.ndarray, scale: float) -> Region:
    """The region of a person whose middle of the hips is at `centre` and who, upright, has `rim` above it.

    `rim` (2,) lies on the circle around the body; the side is `scale` times its diameter.
    """
    x, y = rim - centre
    angle = math.pi / 2 - math.atan2(-y, x)
    turned = angle - 2 * math.pi * math.floor((angle + math.pi) / (2 * math.pi))
    return Region(float(centre[0]), float(centre[1]), 2 * scale * math.hypot(x, y), turned)


def whole(image: np.ndarray) -> Region:
    """The smallest square with all of an image (H, W, 3) in its middle."""
    height, width = image.shape[:2]
    return Region(width / 2, height / 2, float(max(width, height)), 0.0)


def parts(image: np.ndarray) -> list[Region]:
    """The squares of an image's shorter side at both ends of the longer one and in the middle."""
    height, width = image.shape[:2]
    side = float(min(height, width))
    places = (0.5,) if height == width else (0.5, 0.0, 1.0)
    return [Region(side / 2 + at * (width - side), side / 2 + at * (height - side), side, 0.0) for at in places]


def crop(image: np.ndarray, region: Region, size: int, border: Border) -> np.ndarray:
    """A region of an image (H, W, 3) uint8 as (N, N, 3) float32, whole numbers from 0 to 255, linear between pixels.

    Beyond the image it is zero, or the nearest pixel of the rim. Places are rounded to `GRID`, as OpenCV does: what the
    networks find then differs from MediaPipe's by half as much.
    """
    steps = np.arange(size) / size
    grid = np.stack(np.meshgrid(steps, steps), axis=-1)
    places = np.rint(region.to_image(grid) * GRID) / GRID
    return np.rint(sample(image, places.astype(np.float32), border))


def sample(image: np.ndarray, places: np.ndarray, border: Border) -> np.ndarray:
    """An image (H, W, 3) at places (..., 2) in pixels, float32; see `crop`."""
    if border == "zero":
        image = np.pad(image, ((1, 1), (1, 1), (0, 0)))
        places = places + np.float32(1)
    height, width = image.shape[:2]
    x = np.clip(places[..., 0], 0, width - 1)
    y = np.clip(places[..., 1], 0, height - 1)
    left, top = x.astype(np.int32), y.astype(np.int32)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    part_x, part_y = (x - left)[..., None], (y - top)[..., None]
    flat = image.reshape(-1, image.shape[2])
    upper = _mixed(flat, top * width + left, top * width + right, part_x)
    lower = _mixed(flat, bottom * width + left, bottom * width + right, part_x)
    return upper + (lower - upper) * part_y


def _mixed(flat: np.ndarray, first: np.ndarray, second: np.ndarray, part: np.ndarray) -> np.ndarray:
    before = flat.take(first, axis=0).astype(np.float32)
    return before + (flat.take(second, axis=0) - before) * part
