"""Untrimmed recordings made of the recordings of shards, one after the other, for data sets that have none.

A stream is of one performer and one camera. Each piece begins where the last one ended, at the same pelvis and turned
to the same side, and the way between their poses is interpolated: the pose between two actions of NW-UCLA is not known.
Pieces of classes that the model does not know, and the ways between pieces, show nothing. The same shards, recordings
and seed give the same streams.

Legend: T frames, V joints, C numbers a joint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bonestrap.layout import Layout, Point, points
from evaluation.streams.untrimmed import Segment, Untrimmed
from shards.reader import Resident

PIECES = 10  # of a stream, at most
BETWEEN = (0.4, 1.2)  # seconds from one piece to the next
SHORTEST = 0.3  # seconds; a shorter piece cannot be recognised by anybody, and is left out


def streams(
    data: Resident, classes: Mapping[int, int], rate: float, seed: int, limit: int | None = None
) -> list[Untrimmed]:
    """Streams of all recordings, in an order of `seed`; with `limit` that many, spread evenly over the performers.

    `classes` maps labels of the shards to classes of the model. Of recordings with several bodies the first is taken.
    """
    random = np.random.default_rng(seed)
    views = data.views
    usable = np.flatnonzero((data.view_length >= SHORTEST * rate) & ~views.copy)
    groups = sorted({(int(views.subject[row]), int(views.camera[row])) for row in usable})
    out = []
    for subject, camera in groups:
        rows = usable[(views.subject[usable] == subject) & (views.camera[usable] == camera)]
        rows = random.permutation(rows)
        for number, first in enumerate(range(0, len(rows), PIECES)):
            name = f"s{subject:02}-c{camera}-{number}"
            out.append(_stream(name, data, rows[first : first + PIECES], classes, rate, random))
    if limit is None or limit >= len(out):
        return out
    return [out[place] for place in np.linspace(0, len(out) - 1, limit).round().astype(int)]


def _stream(
    name: str, data: Resident, rows: np.ndarray, classes: Mapping[int, int], rate: float, random: np.random.Generator
) -> Untrimmed:
    parts: list[np.ndarray] = []
    segments, length = [], 0
    for row in rows:
        piece = _piece(data, int(row))
        if parts:
            piece = moved(piece, parts[-1][-1], data.layout)
            way = between(parts[-1][-1], piece[0], round(random.uniform(*BETWEEN) * rate))
            parts.append(way)
            length += len(way)
        label = int(data.performance_label[data.view_performance[row]])
        if label in classes:
            segments.append(Segment(length, length + len(piece), classes[label]))
        parts.append(piece)
        length += len(piece)
    return Untrimmed(name, np.concatenate(parts)[:, None], rate, segments)


def _piece(data: Resident, row: int) -> np.ndarray:
    """The joints of a recording's first body, (T, V, C) float32."""
    start = int(data.view_start[row])
    joints: np.ndarray = data.frames[start : start + int(data.view_length[row])].float().numpy()
    return joints


def moved(piece_TVC: np.ndarray, end_VC: np.ndarray, layout: Layout) -> np.ndarray:
    """The piece with its first root at that of the pose `end_VC` and, in space, turned about z to face as it does."""
    out, axes = piece_TVC.copy(), layout.coordinates
    out[..., :axes] -= _point(piece_TVC[0], layout.root)[:axes]
    if axes == 3:
        angle = _heading(end_VC, layout) - _heading(piece_TVC[0], layout)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
        out[..., :2] = out[..., :2] @ turn.T
    out[..., :axes] += _point(end_VC, layout.root)[:axes]
    return out


def between(from_VC: np.ndarray, to_VC: np.ndarray, frames: int) -> np.ndarray:
    """The frames between two poses, on straight lines, (frames, V, C)."""
    weights = (np.arange(1, frames + 1, dtype=np.float32) / (frames + 1))[:, None, None]
    way: np.ndarray = (1 - weights) * from_VC + weights * to_VC
    return way


def _heading(pose_VC: np.ndarray, layout: Layout) -> float:
    """The angle of the line between the shoulders about z."""
    right, left = layout.shoulders
    across = pose_VC[right] - pose_VC[left]
    return float(np.arctan2(across[1], across[0]))


def _point(pose_VC: np.ndarray, where: Point) -> np.ndarray:
    mean: np.ndarray = pose_VC[list(points(where))].mean(0)
    return mean


def known(classes: Sequence[str], of_model: Sequence[str], left_out: Sequence[int]) -> dict[int, int]:
    """The labels of shards that a model knows, and its classes: those of the same name that its training has seen."""
    numbers = {name: label for label, name in enumerate(of_model)}
    return {label: numbers[name] for label, name in enumerate(classes) if name in numbers and label not in left_out}
