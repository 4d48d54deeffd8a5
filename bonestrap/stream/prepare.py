"""Clips of the windows of several persons: what `Model.prepare` and the pipeline make of the same windows.

Legend: N persons, L frames of a window, T frames of a clip, M bodies, V joints, C numbers a joint or channels.

The canonical pose of a window follows from its first frame, so that every number of a clip changes with every step,
and nothing behind it can be kept. What can be is kept in the tracks: the even grid in time, and of every frame whether
it can be the reference. The T frames of a clip are then two gathered rows each, and one small rotation a person. That
holds for windows in which a person is whole or absent in every frame; others, whose missing joints are interpolated
anew with every window, take the way of `Model.prepare`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bonestrap import pose
from bonestrap.augment.channels import described
from bonestrap.clips import Clips
from bonestrap.model import Model
from bonestrap.stream.track import Track


class Preparation:
    """Windows to clips, for one model."""

    def __init__(self, model: Model) -> None:
        self.model, self.layout, self.clip = model, model.layout, model.description.clip
        self._times: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def alone(self, tracks: Sequence[Track], number: int) -> Clips:
        """The window that ends with grid frame `number` of each person, as recordings of their own."""
        joints, references, torsos = zip(*(self._rows(track, number) for track in tracks), strict=True)
        axes, device = self.layout.coordinates, next(self.model.parameters()).device
        matrix, origin = pose.canonical_motion(torch.from_numpy(np.stack(references))[:, None, None], self.layout)
        if axes == 2:
            matrix = torch.eye(2) / torch.tensor(torsos)[:, None, None]
        x = torch.from_numpy(np.stack(joints))  # (N, T, V, C)
        places, confidence = x[..., :axes], x[..., axes:]
        places = (places - origin[:, None, None]) @ matrix.transpose(1, 2)[:, None]
        x = torch.cat((places, pose.bones(places, self.layout), confidence), -1)
        owner = torch.arange(len(x))
        keep = torch.ones(len(x), x.shape[2], dtype=torch.bool)
        x = described(x, keep, owner, len(x), self.clip, axes)
        return Clips(x.to(device), owner.to(device), len(x))

    def general(self, window_LMVC: np.ndarray) -> Clips:
        """Any window, as a recording. Raises ModelError where no frame holds a whole body."""
        return self.model.pipeline(self.model.prepare(window_LMVC))

    def _rows(self, track: Track, number: int) -> tuple[np.ndarray, np.ndarray, float]:
        """The joints (T, V, C) of a clip as they were seen, the frame that gives the pose, and the median torso."""
        here = track.window(number)
        rows = np.flatnonzero(track.present[here]) + here.start
        low, high, weight = self._positions(len(rows))
        joints = (1 - weight) * track.frames[rows[low]] + weight * track.frames[rows[high]]
        oriented = rows[track.oriented[rows]]
        reference = track.frames[oriented[0] if len(oriented) else rows[0]]
        torso = float(np.partition(track.torso[rows], (len(rows) - 1) // 2)[(len(rows) - 1) // 2])
        return joints, reference, torso if torso > pose.SHORTEST else 1.0

    def _positions(self, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Between which two of `length` frames each frame of a clip lies, (T,), and how far, (T, 1, 1)."""
        if length not in self._times:
            pipeline = self.model.pipeline
            position = pipeline.warp(torch.tensor([length]), pipeline.unchanged(1))[0].clamp(max=length - 1)
            low = position.floor().long()
            high = (low + 1).clamp(max=length - 1)
            self._times[length] = low.numpy(), high.numpy(), (position - low).numpy()[:, None, None]
        return self._times[length]


def together(parts: Sequence[Clips]) -> Clips:
    """Several sets of clips as one, in their order."""
    owners, size = [], 0
    for part in parts:
        owners.append(part.owner + size)
        size += part.size
    return Clips(torch.cat([part.joints for part in parts]), torch.cat(owners), size)


def arranged(clips: Clips) -> Tensor:
    """As the networks of `Encoder.for_inference` take them, (bodies, C, T, V)."""
    return clips.joints.permute(0, 3, 1, 2)
