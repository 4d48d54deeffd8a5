"""What a clip's channels are beyond joints and bones as they were recorded: its own scale, the other person, motion.

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
    points_NTVA = joints_NTVC[..., :axes]
    parts = [joints_NTVC]
    if clip.partner:
        parts.append(partners(points_NTVA, owner_N))
    if clip.motion:
        parts.append(motion(points_NTVA))
    return torch.cat(parts, -1) if len(parts) > 1 else joints_NTVC


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


def partners(points_NTVA: Tensor, owner_N: Tensor) -> Tensor:
    """The joints of the other person in the same clip: of its first person the second, of all others the first.

    Zero where a person is alone. A network that sees one body at a time learns from it who stands where to whom.
    """
    number = torch.arange(owner_N.shape[0], device=owner_N.device)
    other = (owner_N[:, None] == owner_N) & (number[:, None] != number)  # (N, N)
    there = other.any(1)[:, None, None, None]
    return torch.where(there, points_NTVA.index_select(0, other.int().argmax(1)), 0)


def motion(points_NTVA: Tensor) -> Tensor:
    """Each joint's way to the next frame; zero in the last frame."""
    return torch.cat((points_NTVA[:, 1:] - points_NTVA[:, :-1], torch.zeros_like(points_NTVA[:, :1])), 1)
