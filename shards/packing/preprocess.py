"""Cleaning and preparing recordings, once, at packing. Pure functions on joints (T, M, V, C); NaN bodies are absent.

Legend: C numbers a joint (coordinates, then confidence where the layout keeps it), T frames, V joints, M bodies.

The cleaning rules for raw NTU RGB+D files and their constants are those that most published NTU work shares
(CTR-GCN's preparation scripts and their ancestors): a tracker's short-lived and sideways-spread "bodies" are furniture,
the body that moves most is the main one, and a person who was lost and found again under a new id is one person.
A rule applies only among several bodies and never removes the last one.

Keypoint detectors lose single joints: those are repaired first, where a format allows for them. Of any other format, a
body that is there has all of its joints, or the recording is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from bonestrap.layout import Layout
from shards.errors import DataError
from shards.packing.losses import Counted, Loss
from shards.packing.repair import drop_zero_bodies, hide_uncertain, hide_zeros, interpolate_joints, presence

Step = Callable[[np.ndarray], np.ndarray]

STORABLE = {"float16": np.float16, "float32": np.float32}


def check(joints: np.ndarray, layout: Layout, origin: str) -> None:
    """Raise DataError naming `origin` unless joints are (T, M, V, C) of this layout, each body whole or absent."""
    _check_shape(joints, layout, origin, layout.axes)
    broken = ~np.isfinite(joints).all(axis=(2, 3)) & presence(joints)
    if broken.any():
        frame, body = np.argwhere(broken)[0]
        raise DataError(
            f"{origin}: body {body} has NaN or infinite joints in frame {frame}; repair or remove the file, or leave "
            "out all such recordings with --broken drop"
        )


def drop_short_bodies(joints: np.ndarray, *, longest: int) -> np.ndarray:
    """Remove bodies seen in `longest` frames or fewer; keep the longest-lived where all are short."""
    frames = presence(joints).sum(0)
    keep = (frames > longest) if (frames > longest).any() else np.arange(len(frames)) == frames.argmax()
    return joints[:, keep]


def drop_spread_bodies(joints: np.ndarray, *, spread: float, share: float) -> np.ndarray:
    """Remove bodies that lie sideways like furniture.

    A frame is noisy when the body's extent along x exceeds `spread` times its extent along y (up, in camera space); a
    body goes when at least `share` of its frames are noisy. Where all do, the last one stays, as with CTR-GCN.
    """
    present = presence(joints)
    keep = np.ones(joints.shape[1], dtype=bool)
    for body in range(joints.shape[1]):
        seen = joints[present[:, body], body]
        if keep.sum() > 1 and (_noisy(seen, spread).mean() if len(seen) else 1.0) >= share:
            keep[body] = False
    return joints[:, keep]


def order_by_motion(joints: np.ndarray, *, spread: float) -> np.ndarray:
    """Put the body that moves most first: by the variance of its joint positions, summed over the axes.

    Where some frames are noisy (see `drop_spread_bodies`), the smaller of the variances with and without them counts.
    """
    motion = []
    for body in range(joints.shape[1]):
        seen = joints[presence(joints)[:, body], body]
        calm = seen[~_noisy(seen, spread)]
        motion.append(min(_variance(seen), _variance(calm) if len(calm) else np.inf))
    return joints[:, np.argsort(-np.array(motion), kind="stable")]


def merge_bodies(joints: np.ndarray, *, most: int) -> np.ndarray:
    """Join bodies that share at most one frame, in the given order, into at most `most`; drop the rest.

    In a frame that two share the later one is kept. CTR-GCN's rule: there, tracks may touch at their ends.
    """
    seen = presence(joints)
    merged: list[np.ndarray] = []
    taken: list[np.ndarray] = []
    for body in range(joints.shape[1]):
        home = next((i for i, frames in enumerate(taken) if (frames & seen[:, body]).sum() <= 1), None)
        if home is not None:
            merged[home] = np.where(seen[:, body, None, None], joints[:, body], merged[home])
            taken[home] = taken[home] | seen[:, body]
        elif len(merged) < most:
            merged.append(joints[:, body])
            taken.append(seen[:, body])
    return np.stack(merged, axis=1)


def drop_empty_frames(joints: np.ndarray) -> np.ndarray:
    """Remove frames without any body, and bodies that are never seen. May return no frames at all."""
    seen = presence(joints)
    return joints[seen.any(1)][:, seen.any(0)]


def fill_gaps(joints: np.ndarray) -> np.ndarray:
    """Repeat a body's last pose through the frames in which it is absent, and its first pose before it appears."""
    seen = presence(joints)
    frames = np.arange(len(joints))[:, None]
    last = np.maximum.accumulate(np.where(seen, frames, -1), axis=0)
    source = np.where(last < 0, seen.argmax(0), last)  # (T, M)
    return joints[source, np.arange(joints.shape[1])]


def join_tracks(joints: np.ndarray, *, layout: Layout) -> np.ndarray:
    """Join bodies that are never seen in the same frame: a tracker that loses a person goes on under another number.

    In the order in which they appear, each goes on with the body that was last seen nearest to where it begins. No pose
    is lost, and the bodies are as few as the frames with the most of them allow, where no track is interrupted.
    """
    seen = presence(joints)
    centre = joints[..., : layout.coordinates].mean(2)  # (T, M, coordinates)
    first = seen.argmax(0)
    homes: list[int] = []  # the body that each of the joined ones began as
    joints, seen = joints.copy(), seen.copy()
    for body in np.argsort(first, kind="stable"):
        frames = seen[:, body].copy()
        if not frames.any():
            continue
        free = [home for home in homes if not (seen[:, home] & frames).any()]
        last = {home: centre[: first[body], home][seen[: first[body], home]][-1] for home in free}
        home = min(free, key=lambda home: float(np.linalg.norm(last[home] - centre[first[body], body])), default=None)
        if home is None:
            homes.append(int(body))
            continue
        joints[frames, home], centre[frames, home] = joints[frames, body], centre[frames, body]
        seen[frames, home] = True
    return joints[:, homes] if homes else joints


def keep_longest(joints: np.ndarray, *, most: int) -> np.ndarray:
    """The `most` bodies that are seen in the most frames, the longest-seen first."""
    return joints[:, np.argsort(-presence(joints).sum(0), kind="stable")[:most]]


def canonical(joints: np.ndarray, *, layout: Layout) -> np.ndarray:
    """Centre and orient a whole recording; see `bonestrap.pose`. Computed in float64, returned as float32."""
    import torch

    from bonestrap import pose

    return pose.canonical(torch.from_numpy(joints.astype(np.float64)), layout).numpy().astype(np.float32)


# The published constants.
NTU_CLEANING: tuple[Step, ...] = (
    drop_zero_bodies,
    partial(drop_short_bodies, longest=11),
    partial(drop_spread_bodies, spread=0.8, share=0.69754),
    partial(order_by_motion, spread=0.8),
    partial(merge_bodies, most=2),
)


# What makes single joints and bodies missing, or finds them; done before anything asks whether bodies are whole.
REPAIRS: tuple[Callable[..., np.ndarray], ...] = (drop_zero_bodies, hide_uncertain, hide_zeros, interpolate_joints)

# Why a step leaves out persons. Steps that are not here keep all of them.
PERSONS: dict[Callable[..., np.ndarray], str] = {
    drop_zero_bodies: "persons without a joint",
    hide_uncertain: "persons without a joint of enough confidence",
    hide_zeros: "persons without a joint",
    interpolate_joints: "persons without a joint",
    drop_short_bodies: "persons seen in too few frames",
    drop_spread_bodies: "persons spread sideways",
    merge_bodies: "persons beyond those kept, or seen twice at once",
    keep_longest: "persons beyond those seen longest",
}
EMPTY = "frames without anybody"
EMPTIED = "frames of nobody but persons left out"
ZERO = "joints at exactly zero, interpolated"


def detected(layout: Layout, *, least: float | None = None) -> tuple[Step, ...]:
    """The repair of joints that a detector or a sensor lost: NaN or exactly zero ones and, given `least`, those of less
    confidence.
    """
    hide = () if least is None else (partial(hide_uncertain, least=least, keep=layout.confidence),)
    return (*hide, partial(hide_zeros, layout=layout), partial(interpolate_joints, layout=layout))


def tracked(layout: Layout, *, most: int) -> tuple[Step, ...]:
    """The `most` persons seen longest, of tracks that may be pieces of a person's."""
    return (partial(join_tracks, layout=layout), partial(keep_longest, most=most))


def steps(cleaning: tuple[Step, ...], layout: Layout) -> tuple[Step, ...]:
    """Everything that packing does to a recording of this layout, in order."""
    return (*cleaning, drop_empty_frames, fill_gaps, partial(canonical, layout=layout))


def describe(step: Step) -> dict[str, Any]:
    """A step as data, for the manifest: its name and constants."""
    if not isinstance(step, partial):
        return {"step": step.__name__}
    constants = {name: value.name if isinstance(value, Layout) else value for name, value in step.keywords.items()}
    return {"step": step.func.__name__, **constants}


def prepare(
    joints: np.ndarray, cleaning: tuple[Step, ...], layout: Layout, origin: str, losses: list[Loss] | None = None
) -> np.ndarray:
    """Clean, fill and orient one recording: (T, M, V, C) with gaps to (T', M', V, C) without, float32.

    What is left out is appended to `losses`: a frame or pose of `joints` is in the result or is counted there. Raises
    DataError naming `origin` for a wrong shape or broken joints. A recording in which no body was ever seen comes back
    with no frames, for the caller to drop and report.
    """
    repairs = [step for step in cleaning if _function(step) in REPAIRS]
    hidden = any(_function(step) is hide_uncertain for step in repairs)
    _check_shape(joints, layout, origin, layout.coordinates + 1 if hidden else layout.axes)
    progress = _Tally(joints, layout, losses if losses is not None else [])
    for step in repairs:
        joints = progress(step, joints)
    check(joints, layout, origin)
    joints = progress(drop_empty_frames, joints, EMPTY)
    if not len(joints):
        return joints
    for step in cleaning:
        joints = joints if step in repairs else progress(step, joints)
    joints = progress(drop_empty_frames, joints, EMPTIED)
    return canonical(fill_gaps(joints), layout=layout)


class _Tally:
    """Does steps and counts what they leave out of one recording."""

    def __init__(self, joints: np.ndarray, layout: Layout, losses: list[Loss]) -> None:
        self.layout, self.losses = layout, losses
        self.read: dict[Counted, int] = self._count(joints)

    def __call__(self, step: Step, joints: np.ndarray, empty: str = "") -> np.ndarray:
        before, out = self._count(joints), step(joints)
        after, function = self._count(out), _function(step)
        if empty:
            self._add(empty, before["frames"] - after["frames"], "frames")
        if function in PERSONS:
            self._add(PERSONS[function], before["poses"] - after["poses"], "poses")
        if function is hide_zeros:
            there = presence(out)
            self._add(ZERO, int((self._seen(joints) & ~self._seen(out))[there].sum()), "joints")
        return out

    def _count(self, joints: np.ndarray) -> dict[Counted, int]:
        return {"frames": len(joints), "poses": int(presence(joints).sum()), "joints": int(self._seen(joints).sum())}

    def _seen(self, joints: np.ndarray) -> np.ndarray:
        return np.isfinite(joints[..., : self.layout.coordinates]).all(-1)

    def _add(self, reason: str, lost: int, what: Counted) -> None:
        if lost:
            self.losses.append(Loss(reason=reason, lost=lost, of=self.read[what], what=what))


def store(joints: np.ndarray, dtype: str, origin: str) -> np.ndarray:
    """Round to the stored type; raise DataError naming `origin` where a coordinate does not fit."""
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(joints, dtype=STORABLE[dtype])
    if not np.isfinite(stored).all():
        raise DataError(f"{origin}: coordinates beyond the range of {dtype}; are they in metres? pack them as float32")
    return stored


def _check_shape(joints: np.ndarray, layout: Layout, origin: str, numbers: int) -> None:
    count = len(layout.joints)
    if joints.ndim != 4 or joints.shape[2:] != (count, numbers) or 0 in joints.shape:
        raise DataError(
            f"{origin}: expected frames x bodies x {count} joints x {numbers} numbers (layout {layout.name}), found "
            f"{joints.shape}; repair or remove the file, or choose the source or layout that fits it"
        )


def _function(step: Step) -> Step:
    return step.func if isinstance(step, partial) else step


def _noisy(frames: np.ndarray, spread: float) -> np.ndarray:
    """(T, V, C) to (T,) bool: wider along x than `spread` times the height along y."""
    extent = frames.max(1) - frames.min(1) if len(frames) else np.zeros((0, 3))
    return extent[:, 0] > spread * extent[:, 1]


def _variance(frames: np.ndarray) -> float:
    return float(frames.reshape(-1, frames.shape[-1]).var(0).sum()) if len(frames) else 0.0
