"""Recordings for a page that draws them: few, small, and as they are stored.

Legend: C numbers a joint, M bodies, T frames, V joints.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from bonestrap.augment import AGGRESSIVE, CONSERVATIVE, ClipConfig
from bonestrap.layout import Layout
from reports.findings import Report
from shards.packing.survey import Survey, recordings

MOST_FRAMES = 90  # of a recording; longer ones are thinned out evenly
UNIT = 1000  # numbers are stored as whole thousandths
CLIP_FRAMES = 72
PACE = 30  # frames a second of playback, which is what sensors record at; shards do not say
KINDS = ("trunk", "left-arm", "left-leg", "right-arm", "right-leg")  # of limbs, and their colours in the style sheet
DRAWS = (("conservative", CONSERVATIVE), ("aggressive", AGGRESSIVE), ("aggressive, second sample", AGGRESSIVE))


def chosen(report: Report, count: int) -> list[int]:
    """About `count` views to show: as many typical ones of every class, each of another performance.

    Typical is one of median length among those without any fault; if all have some, among all. Without labels they are
    spread evenly over the data.
    """
    survey, label = report.survey, report.survey.table.views.label
    good = (survey.looks.implausible == 0) & (survey.looks.missing == 0) & ~report.copies.repeats
    good[[row for row, _ in report.empty]] = False
    classes = [c for c in range(len(survey.manifest.classes)) if (label == c).any()]
    if not classes:
        rows = np.flatnonzero(good) if good.any() else np.arange(len(label))
        return [int(row) for row in rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]]
    owner, frames = survey.table.performance, survey.table.frames
    taken: list[list[int]] = []
    for c in classes[:count]:
        rows = np.flatnonzero((label == c) & good)
        rows = rows if len(rows) else np.flatnonzero(label == c)
        middle = rows[np.argsort(np.abs(frames[rows] - np.median(frames[rows])), kind="stable")]
        _, first = np.unique(owner[middle], return_index=True)
        taken.append(middle[np.sort(first)][: max(count // len(classes), 1)].tolist())
    return [row for turn in itertools.zip_longest(*taken) for row in turn if row is not None]


def joints_of(survey: Survey, rows: Sequence[int]) -> dict[int, np.ndarray]:
    """The joints (T, M, V, C) float32 of some views."""
    ordered = np.array(sorted(set(rows)), dtype=np.int64)
    found = recordings(survey.folder, survey.manifest, survey.table, ordered)
    return {int(row): joints.astype(np.float32) for row, joints in zip(ordered, found, strict=True)}


def augmented(joints: np.ndarray, layout: Layout, seed: int) -> list[tuple[str, np.ndarray]]:
    """Clips (T, M, V, C) that the pipelines of training make of one recording, each with its name."""
    import torch

    from bonestrap.augment.pipeline import Pipeline
    from bonestrap.clips import Recordings

    frames, bodies = joints.shape[:2]
    flat = torch.from_numpy(np.ascontiguousarray(joints.swapaxes(0, 1)).reshape(bodies * frames, *joints.shape[2:]))
    recording = Recordings(
        frames=flat,
        start=torch.arange(bodies) * frames,
        length=torch.full((bodies,), frames),
        owner=torch.zeros(bodies, dtype=torch.int64),
        size=1,
    )
    clip = ClipConfig(frames=CLIP_FRAMES)
    out = []
    for number, (name, augment) in enumerate(DRAWS):
        clips = Pipeline(layout, clip, augment)(recording, torch.Generator().manual_seed(seed * len(DRAWS) + number))
        out.append((name, clips.joints[..., : layout.coordinates].permute(1, 0, 2, 3).numpy()))
    return out


def encoded(joints: np.ndarray, layout: Layout) -> dict[str, Any]:
    """Joints (T, M, V, C) as JSON: base64 of int16 thousandths (T', M, V, 3), z up.

    Of `total` frames, every `every`th is there. `hidden` joints lie at zero in all of them: augmentation dropped them.
    """
    every = -(-len(joints) // MOST_FRAMES)
    points = upright(joints[::every].astype(np.float32), layout)
    whole = np.clip(np.rint(points * UNIT), -32767, 32767).astype("<i2")
    return {
        "frames": len(whole),
        "bodies": whole.shape[1],
        "every": every,
        "total": len(joints),
        "hidden": np.flatnonzero((whole == 0).all(axis=(0, 1, 3))).tolist(),
        "joints": base64.b64encode(whole.tobytes()).decode(),
    }


def upright(joints: np.ndarray, layout: Layout) -> np.ndarray:
    """The coordinates (..., 3) of joints (..., C), z up. Planar joints stand in the plane that faces the viewer.

    Images count rows downwards and columns to their right; the viewer stands on the side of +y and sees +x on the left.
    """
    points = joints[..., : layout.coordinates]
    if layout.coordinates == 3:
        return points
    return np.stack((-points[..., 0], np.zeros_like(points[..., 0]), -points[..., 1]), axis=-1)


def drawing(layout: Layout) -> dict[str, Any]:
    """Bones with their colours, the head, and the joints that leave a trail: the ends of limbs."""
    part = {joint: name for name, members in layout.parts.items() for joint in members}
    kinds = [KINDS.index(_kind(part[joint])) for joint in range(len(layout.joints))]
    parents = {parent for _, parent in layout.bones}
    ends = [child for child, _ in layout.bones if child not in parents and kinds[child]]
    heads = [joint for joint, name in enumerate(layout.joints) if name in ("head", "nose")]
    return {
        "bones": [[child, parent, kinds[child]] for child, parent in layout.bones],
        "head": heads[0] if heads else -1,
        "ends": [[joint, kinds[joint]] for joint in ends],
        "colours": KINDS,
        "pace": PACE,
        "planar": layout.coordinates == 2,
    }


def _kind(part: str) -> str:
    side = next((side for side in ("left", "right") if part.startswith(side)), "")
    return f"{side}-{'leg' if 'leg' in part else 'arm'}" if side else "trunk"
