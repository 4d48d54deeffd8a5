"""Bodies on a page: where the lines and dots of still skeletons are drawn, in pixels. SVG, as all charts of a page.

Legend: M bodies, V joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bonestrap.layout import Layout

TILE = 96  # pixels of one pose of a strip
TALL = 330  # pixels of the large body


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """A bone."""

    start: tuple[float, float]
    end: tuple[float, float]
    title: str = ""
    red: float = 0.0  # percent
    marked: bool = False


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A joint."""

    x: float
    y: float
    title: str = ""
    red: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Bones and joints in a box."""

    width: float
    height: float
    strokes: tuple[Stroke, ...]
    dots: tuple[Dot, ...]


def body(pose: np.ndarray, layout: Layout, bones: np.ndarray, joints: np.ndarray) -> Drawing:
    """One body (V, 3) from the front. `bones` and `joints` are fractions of poses with a fault, shown in red."""
    flat = project(pose)
    low, high = flat.min(0), flat.max(0)
    scale = TALL / max(float((high - low)[1]), 1e-6)
    places = ((flat - low) * (scale, -scale) + (20, TALL + 20)).tolist()
    strokes = [
        Stroke(
            start=places[bone[0]],
            end=places[bone[1]],
            title=f"{layout.joints[bone[0]]} – {layout.joints[bone[1]]}: {fraction:.2%} implausible",
            red=_red(fraction),
        )
        for bone, fraction in zip(layout.bones, bones, strict=True)
    ]
    dots = [
        Dot(x=x, y=y, title=f"{name}: {fraction:.2%} missing", red=_red(fraction))
        for (x, y), name, fraction in zip(places, layout.joints, joints, strict=True)
    ]
    width = float((high - low)[0]) * scale + 40
    return Drawing(width=width, height=TALL + 40, strokes=tuple(strokes), dots=tuple(dots))


def strip(poses: Sequence[np.ndarray], layout: Layout, bone: int, middle: int) -> Drawing:
    """Poses (M, V, 3) side by side, from the front, with one bone marked in the pose at `middle`."""
    flat = [project(pose) for pose in poses]
    points = np.concatenate([pose.reshape(-1, 2) for pose in flat])
    low, high = points.min(0), points.max(0)
    head = layout.joints.index("head") if "head" in layout.joints else None
    scale = 0.875 * TILE / max(float((high - low).max()), 1e-6)
    strokes, dots = [], []
    for number, bodies in enumerate(flat):
        for person in bodies:
            centre = (TILE * (number + 0.5), TILE / 2)
            places = ((person - (low + high) / 2) * (scale, -scale) + centre).tolist()
            if head is not None:
                dots.append(Dot(x=places[head][0], y=places[head][1]))
            strokes += [
                Stroke(start=places[child], end=places[parent], marked=index == bone and number == middle)
                for index, (child, parent) in enumerate(layout.bones)
            ]
    return Drawing(width=TILE * len(flat), height=TILE, strokes=tuple(strokes), dots=tuple(dots))


def _red(fraction: float) -> float:
    """Percent of red: none below a hundredth of a percent, all of it at a tenth of the poses, logarithmic between."""
    return float(np.clip(100 * (np.log10(max(fraction, 1e-9)) + 4) / 3, 0, 100))


def project(points: np.ndarray) -> np.ndarray:
    """(..., 3), z up, facing +y, to (..., 2) as a viewer a little beside the front sees it."""
    angle = np.deg2rad(20.0)
    x, y, z = np.moveaxis(np.asarray(points, dtype=np.float64), -1, 0)
    return np.stack((-x * np.cos(angle) + y * np.sin(angle), z), axis=-1)
