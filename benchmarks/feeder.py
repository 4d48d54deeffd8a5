"""The usual way to feed a network, as a reference: one recording after another, in NumPy.

Each clip is read, smoothed, resampled, cropped, repeated, shifted, sheared, freed of a side, and joined by its bones
on its own; a batch is a stack of clips. The random parameters are those that the batched pipeline drew, so both make
the same clips.

Legend: C coordinates, M bodies, S frames of a recording, T frames of a clip, V joints.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from bonestrap.augment import ClipConfig, View
from bonestrap.augment.operation import Draw
from bonestrap.augment.pipeline import Pipeline
from bonestrap.augment.rows import savgol_kernel
from bonestrap.layout import Layout

WINDOW, ORDER = 15, 2


class Parameters(NamedTuple):
    """One clip's draw."""

    rate: np.float32
    offset: np.float32
    begin: np.float32
    smooth: bool
    matrix: np.ndarray  # (C, C)
    keep: np.ndarray  # (V,) bool


class Feeder:
    """Recordings, each (M, S, V, C), into batches of clips, each (M, T, V, 2 C)."""

    def __init__(self, recordings: list[np.ndarray], layout: Layout, clip: ClipConfig) -> None:
        self.recordings, self.frames = recordings, clip.frames
        self.parents = np.array(layout.parents)
        self.kernel = savgol_kernel(WINDOW, ORDER).numpy()

    def batch(self, chosen: list[int], draw: Draw) -> list[np.ndarray]:
        """The clips of these recordings."""
        columns = [getattr(draw, name).numpy() for name in Parameters._fields]
        return [self.clip(self.recordings[i], Parameters(*row)) for i, *row in zip(chosen, *columns, strict=True)]

    def clip(self, recording: np.ndarray, draw: Parameters) -> np.ndarray:
        """One recording (M, S, V, C) with one draw: (M, T, V, 2 C)."""
        x = recording.astype(np.float32)
        if draw.smooth:
            x = self.smooth(x)
        position = self.warp(x.shape[1], draw)
        last = x.shape[1] - 1
        low = np.minimum(position.astype(np.int64), last)
        high = np.minimum(low + 1, last)
        fraction = np.clip(position - low, 0, 1).astype(np.float32)[:, None, None]
        x = x[:, low] + fraction * (x[:, high] - x[:, low])
        x = x @ draw.matrix.T
        x = np.concatenate((x, x - x[:, :, self.parents]), axis=3)
        x[:, :, ~draw.keep] = 0
        return x

    def smooth(self, x: np.ndarray) -> np.ndarray:
        """Savitzky-Golay along time; the edges are replicated."""
        half = WINDOW // 2
        padded = np.pad(x, ((0, 0), (half, half), (0, 0), (0, 0)), mode="edge")
        out = self.kernel[0] * padded[:, : x.shape[1]]
        for shift in range(1, WINDOW):
            out += self.kernel[shift] * padded[:, shift : shift + x.shape[1]]
        return out

    def warp(self, length: int, draw: Parameters) -> np.ndarray:
        """The fractional source frame of every output frame, (T,) float32."""
        played = int(np.floor(np.float32(length - 1) / draw.rate)) + 1
        time = (np.arange(self.frames) + int(draw.offset * np.float32(self.frames))) % self.frames
        room = max(played - self.frames, 0)
        begin = min(int(draw.begin * np.float32(room + 1)), room)
        return (begin + time % played).astype(np.float32) * draw.rate


def draws(layout: Layout, clip: ClipConfig, augment: View, size: int, seed: int) -> Draw:
    """What the batched pipeline draws for a batch of this seed."""
    return Pipeline(layout, clip, augment).sample(size, torch.Generator().manual_seed(seed))
