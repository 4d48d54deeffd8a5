"""What a clip's channels are beyond joints and bones as they were recorded: a scale of its own, and motion.

Legend: B clips, N bodies of all clips, T frames, V joints, A coordinates, C channels.

Plain operations that ONNX has, so that an exported model computes the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bonestrap.augment.clip import ClipConfig

SMALLEST = 1e-4  # metres, torsos: half the extent of clips that have none


def described(joints_NTVC: Tensor, keep_NV: Tensor, owner_N: Tensor, size: int, clip: ClipConfig, axes: int) -> Tensor:
    """Clips of joints, bones and confidences with the scale and the channels that `clip` asks for, (N, T, V, C')."""
    if clip.normalise != "none":
        joints_NTVC = normalised(joints_NTVC, keep_NV, owner_N, size, clip, axes)
    return with_motion(joints_NTVC, axes) if clip.motion else joints_NTVC


def normalised(joints_NTVC: Tensor, keep_NV: Tensor, owner_N: Tensor, size: int, clip: ClipConfig, axes: int) -> Tensor:
    """Clips whose joints fill [-1, 1], all bodies of a clip together; bones are divided like joints.

    "axes" stretches every axis on its own, as CTR-GCN's feeder for NW-UCLA does; "size" keeps proportions and fills
    the longest axis alone. Joints that are not kept do not count and stay zero.
    """
    points, bones, rest = joints_NTVC[..., :axes], joints_NTVC[..., axes : 2 * axes], joints_NTVC[..., 2 * axes :]
    keep = keep_NV[:, None, :, None]
    low, high = torch.where(keep, points, torch.inf).amin((1, 2)), torch.where(keep, points, -torch.inf).amax((1, 2))
    owner = owner_N[:, None].expand_as(low)
    low = low.new_full((size, axes), torch.inf).scatter_reduce(0, owner, low, "amin")[owner_N]
    high = high.new_full((size, axes), -torch.inf).scatter_reduce(0, owner, high, "amax")[owner_N]
    known = low <= high  # of clips that keep no joint nothing is
    half = torch.where(known, (high - low) / 2, 1).clamp(min=SMALLEST)
    if clip.normalise == "size":
        half = half.amax(1, keepdim=True).expand_as(half)
    half, middle = half[:, None, None], torch.where(known, (high + low) / 2, 0)[:, None, None]
    return torch.cat((torch.where(keep, (points - middle) / half, 0), bones / half, rest), -1)


def with_motion(joints_NTVC: Tensor, axes: int) -> Tensor:
    """The clips with each joint's way to the next frame as further channels; zero in the last frame."""
    points = joints_NTVC[..., :axes]
    motion = torch.cat((points[:, 1:] - points[:, :-1], torch.zeros_like(points[:, :1])), 1)
    return torch.cat((joints_NTVC, motion), -1)
