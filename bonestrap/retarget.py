"""Recordings of one joint layout in another: joint by joint, then posed anew, and at another frame rate.

A joint of the wanted layout is made of the joints that are declared for it or lie at the same landmark
(`bonestrap.layouts.landmarks`). One that has none is the mean of its neighbours along the bones: between two joints
that are known it lies evenly on the way, and beyond the last one it lies on it.

Legend: C coordinates, F frames of all bodies, M bodies, N bodies of all recordings, T frames, V joints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bonestrap import pose
from bonestrap.clips import Recordings
from bonestrap.layout import Layout, Point, points
from bonestrap.layouts.landmarks import landmarks

Joints = Mapping[str, Sequence[str]]  # of a joint of the wanted layout: the recorded joints whose mean it is


def correspondence(wanted: Layout, recorded: Layout, declared: Joints | None = None) -> Tensor:
    """What each wanted joint is made of, (V wanted, V recorded): rows of weights that sum to one, float32.

    `declared` goes before landmarks. Raises ValueError where layouts have other coordinates, where `declared` names
    joints that are not there, and where too few joints match for a body to be told from them.
    """
    if (wanted.coordinates, wanted.confidence) != (recorded.coordinates, recorded.confidence):
        raise ValueError(
            f"layout {wanted.name} has {wanted.axes} numbers a joint ({wanted.coordinates} coordinates) and "
            f"{recorded.name} has {recorded.axes} ({recorded.coordinates} coordinates): no joint can stand for another"
        )
    declared = declared or {}
    if wanted.joints == recorded.joints and not declared:
        return torch.eye(len(wanted.joints))
    made_of = matches(wanted, recorded) | {joint: tuple(sources) for joint, sources in declared.items()}
    _check_names(wanted, recorded, declared)
    weights = np.zeros((len(wanted.joints), len(recorded.joints)))
    for joint, names in made_of.items():
        for name in names:
            weights[wanted.joints.index(joint), recorded.joints.index(name)] = 1 / len(names)
    lacking = np.array([joint not in made_of for joint in wanted.joints])
    if 2 * lacking.sum() <= len(lacking):
        weights[lacking] = _between(wanted, lacking) @ weights[~lacking]
    if 2 * lacking.sum() > len(lacking) or not _stands(wanted, weights):
        absent = ", ".join(joint for joint, lacks in zip(wanted.joints, lacking, strict=True) if lacks)
        raise ValueError(
            f"layout {recorded.name} has no joint that matches {absent} of layout {wanted.name}; say in a file of "
            "joints what they are made of (docs/data.md), or choose another skeleton"
        )
    return torch.from_numpy(weights).float()


def matches(wanted: Layout, recorded: Layout) -> dict[str, tuple[str, ...]]:
    """The wanted joints that lie at a landmark of the recorded layout, and the joints there."""
    there = landmarks(recorded)
    at = {joints[0]: name for name, joints in landmarks(wanted).items() if len(joints) == 1}
    return {joint: there[at[joint]] for joint in wanted.joints if at.get(joint) in there}


def _check_names(wanted: Layout, recorded: Layout, declared: Joints) -> None:
    for joint, sources in declared.items():
        if joint not in wanted.joints:
            raise ValueError(f"{recorded.name}: {joint} is declared and is no joint of layout {wanted.name}")
        absent = [source for source in sources if source not in recorded.joints]
        if absent or not sources:
            named = absent[0] if absent else "nothing"
            raise ValueError(f"{recorded.name}: {joint} is made of {named}, which is no joint of that layout")


def _between(layout: Layout, lacking: np.ndarray) -> np.ndarray:
    """Each lacking joint as a mean of the others, (lacking, others): every one is the mean of its neighbours.

    That is the harmonic extension on the tree of bones: linear along a chain, constant beyond a known end.
    """
    laplacian = np.zeros((len(layout.joints),) * 2)
    for child, parent in layout.bones:
        laplacian[[child, parent], [child, parent]] += 1
        laplacian[[child, parent], [parent, child]] -= 1
    inner, outer = laplacian[np.ix_(lacking, lacking)], laplacian[np.ix_(lacking, ~lacking)]
    between: np.ndarray = np.linalg.solve(inner, -outer)
    return between


def _stands(layout: Layout, weights: np.ndarray) -> bool:
    """Whether the ends of the spine and the shoulders are made of different joints: a pose needs both lines."""

    def place(where: Point) -> np.ndarray:
        mean: np.ndarray = weights[list(points(where))].mean(0)
        return mean

    lines = (layout.spine, layout.shoulders)
    return all(not np.allclose(place(low), place(high)) for low, high in lines)


@dataclasses.dataclass(frozen=True)
class Retarget:
    """Recordings of one layout and frame rate into another."""

    layout: Layout  # of the result
    weights: Tensor | None  # of `correspondence`; None: the layouts are the same
    step: float = 1.0  # recorded frames from one frame of the result to the next

    @classmethod
    def of(cls, wanted: Layout, recorded: Layout, declared: Joints | None = None, step: float = 1.0) -> Retarget:
        """Raises ValueError; see `correspondence`."""
        return cls(wanted, None if wanted == recorded else correspondence(wanted, recorded, declared), step)

    @property
    def changes(self) -> bool:
        """Whether anything is done to a recording."""
        return self.weights is not None or self.step != 1

    def __call__(self, recordings: Recordings) -> Recordings:
        """The same recordings, bodies and owners, in the type of their frames.

        The pose is taken anew because layouts differ in what their root and spine are.
        """
        if not self.changes:
            return recordings
        bodies: list[Tensor] = []
        weights = None if self.weights is None else self.weights.to(recordings.frames.device)
        spans = zip(recordings.owner.tolist(), recordings.start.tolist(), recordings.length.tolist(), strict=True)
        together: dict[int, list[Tensor]] = {}
        for owner, start, length in spans:
            together.setdefault(owner, []).append(recordings.frames[start : start + length])
        for each in together.values():
            joints = resampled(torch.stack(each, 1).float(), self.step)  # (T, M, V, C)
            bodies.extend((joints if weights is None else pose.canonical(weights @ joints, self.layout)).unbind(1))
        length = torch.tensor([len(body) for body in bodies])
        frames = torch.cat(bodies).to(recordings.frames.dtype)
        return Recordings(frames, length.cumsum(0) - length, length, recordings.owner, recordings.size)


def resampled(frames: Tensor, step: float) -> Tensor:
    """The recording (T, ...) at every `step` frames from its first on, by linear interpolation."""
    if step == 1 or len(frames) == 1:
        return frames
    place = torch.arange(int((len(frames) - 1) / step + 1e-6) + 1, device=frames.device) * step
    low = place.long().clamp(max=len(frames) - 1)
    high = (low + 1).clamp(max=len(frames) - 1)
    fraction = (place - low).view(-1, *[1] * (frames.ndim - 1)).to(frames.dtype)
    return torch.lerp(frames[low], frames[high], fraction)
