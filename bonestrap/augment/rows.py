"""Rows of ragged recordings in torch: gathered, interpolated in time, and smoothed.

Legend: N bodies, R rows of all of them, Q rows of a result, K rows that one is made of, T frames, V joints, C numbers a
joint.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bonestrap.clips import to_device

WINDOW, ORDER = 15, 2  # of the Savitzky-Golay filter: frames, and the degree of the polynomial


class Rows(NamedTuple):
    """The frames of some bodies and nothing else, in float32. Body n owns length[n] rows from start[n] on.

    As in `Recordings`, start and length are on the CPU, until nothing is left to be sized by them.
    """

    frames: Tensor  # (R, V, C)
    start: Tensor  # (N,)
    length: Tensor  # (N,)

    @classmethod
    def of(cls, frames_FVC: Tensor, start: Tensor, length: Tensor) -> Rows:
        """Those of bodies that own rows of `frames_FVC`, one body after the other."""
        end = length.cumsum(0)
        first, total = end - length, int(end[-1])
        device = frames_FVC.device
        row = torch.arange(total, device=device)
        row += torch.repeat_interleave(to_device(start - first, device), to_device(length, device), output_size=total)
        chosen = frames_FVC.flatten(1).index_select(0, row)
        return cls(chosen.float().view(-1, *frames_FVC.shape[1:]), first, length)

    def to_device(self) -> Rows:
        """The same with all on the device of the frames."""
        return Rows(self.frames, to_device(self.start, self.frames.device), to_device(self.length, self.frames.device))


def combined(frames_RVC: Tensor, rows_QK: Tensor, weights_QK: Tensor) -> Tensor:
    """Sums of K weighted frames each, (Q, V, C), in one pass over memory."""
    flat = frames_RVC.flatten(1)
    return F.embedding_bag(rows_QK, flat, per_sample_weights=weights_QK, mode="sum").view(-1, *frames_RVC.shape[1:])


def interpolated(rows: Rows, position_NT: Tensor) -> Tensor:
    """Linear interpolation at fractional frames, (N, T, V, C); positions past the last frame hold it."""
    last = rows.length[:, None] - 1
    low = torch.minimum(position_NT.floor().long(), last)
    high = torch.minimum(low + 1, last)
    fraction = (position_NT - low).clamp(0, 1)
    ends = torch.stack((low, high), 2) + rows.start[:, None, None]
    weights = torch.stack((1 - fraction, fraction), 2)
    x = combined(rows.frames, ends.flatten(0, 1), weights.flatten(0, 1))
    return x.reshape(*position_NT.shape, *x.shape[1:])


@functools.cache
def savgol_kernel(window: int, order: int) -> Tensor:
    """The weights (window,) of the Savitzky-Golay filter: least-squares fit of a polynomial, read at its centre."""
    time = torch.arange(window, dtype=torch.float64) - window // 2
    powers = time[:, None] ** torch.arange(order + 1, dtype=torch.float64)
    weights: Tensor = torch.linalg.pinv(powers)[0].float()
    return weights


def smooth_some(rows: Rows, chosen_N: Tensor, channels: int, window: int = WINDOW, order: int = ORDER) -> None:
    """Savitzky-Golay filter the chosen bodies' first `channels` along time, in place; the edges are replicated."""
    length, start = rows.length[chosen_N], rows.start[chosen_N]
    total, device = int(length.sum()), rows.frames.device
    length, start = to_device(length, device), to_device(start, device)
    body = torch.repeat_interleave(length, output_size=total)
    row = torch.arange(total, device=device) + (start + length - length.cumsum(0))[body]
    taps = row[:, None] + torch.arange(-(window // 2), window // 2 + 1, device=device)
    taps.clamp_(start[body][:, None], (start + length - 1)[body][:, None])
    kernel = to_device(savgol_kernel(window, order), device).expand(total, window).contiguous()
    smooth = combined(rows.frames, taps, kernel)
    if channels < smooth.shape[2]:
        smooth[..., channels:] = rows.frames[row, :, channels:]
    rows.frames.index_copy_(0, row, smooth)
