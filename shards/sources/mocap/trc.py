"""TRC: marker positions as text, of Motion Analysis, OpenSim, Pose2Sim. Tabs separate fields; empty ones are missing.

Legend: T frames, V markers.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from bonestrap.files import content, opened
from shards.sources.mocap.motion import Format, Head
from shards.sources.units import Unit

HEAD = 2**18  # bytes that hold the heading of any file
UNITS: dict[str, Unit] = {"m": "metre", "meters": "metre", "cm": "centimetre", "mm": "millimetre", "in": "inch"}


class Track(NamedTuple):
    """The numbers of a file."""

    frames: np.ndarray  # (T,) int: as numbered in the file
    joints: np.ndarray  # (T, V, 3) float64, NaN where a marker is missing


def head(path: Path) -> Head:
    """Marker names, rate and unit."""
    with opened(path) as file:
        return _head(file.read(HEAD).decode("utf-8", "replace").splitlines())


def joints(path: Path) -> np.ndarray:
    """(T, V, 3) in the file's unit."""
    return track(path).joints


def track(path: Path) -> Track:
    """Frame numbers and markers."""
    lines = content(path).decode("utf-8", "replace").splitlines()
    names, stated = _head(lines).names, _stated(lines)
    width = 2 + 3 * len(names)
    rows: list[list[float]] = []
    widths: list[int] = []
    for number, line in enumerate(lines[5:], 6):
        fields = line.split("\t")
        if not any(field.strip() for field in fields):
            continue
        if len(fields) > width and any(field.strip() for field in fields[width:]):
            raise ValueError(f"line {number} has {len(fields)} fields and {len(names)} markers have {width}")
        widths.append(len(fields))
        fields = (fields + [""] * width)[:width]
        rows.append([float(field) if field.strip() else np.nan for field in fields])
    if len(rows) != int(stated["NumFrames"]):
        raise ValueError(f"{len(rows)} frames where its heading states {stated['NumFrames']}")
    numbers = np.array(rows, dtype=np.float64).reshape(len(rows), width)
    if widths[-1:] < [min(widths[:-1], default=0)] or np.isnan(numbers[:, 0]).any():
        raise ValueError("its last line is cut, or one has no frame number")
    return Track(numbers[:, 0].astype(int), numbers[:, 2:].reshape(len(rows), -1, 3))


TRC = Format(".trc", head, joints)


def _stated(lines: list[str]) -> dict[str, str]:
    if len(lines) < 5 or not lines[0].startswith("PathFileType"):
        raise ValueError("no heading of a TRC file")
    return dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=False))


def _head(lines: list[str]) -> Head:
    stated = _stated(lines)
    missing = [name for name in ("DataRate", "NumFrames", "NumMarkers", "Units") if not stated.get(name, "").strip()]
    if missing:
        raise ValueError(f"its heading does not state {', '.join(missing)}")
    names = tuple(name.strip() for name in lines[3].split("\t")[2:] if name.strip())
    if len(names) != int(stated["NumMarkers"]):
        raise ValueError(f"{len(names)} markers where its heading states {stated['NumMarkers']}")
    unit = UNITS.get(stated["Units"].strip().lower())
    if unit is None:
        raise ValueError(f"the unit {stated['Units']!r:.20}, which is none of {', '.join(UNITS)}")
    rate = float(stated["DataRate"])
    return Head(names, rate if 0 < rate < np.inf else 0.0, unit)
