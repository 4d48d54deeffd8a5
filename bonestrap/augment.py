"""The two augmentation pipelines of document 001 (sections 3.2, 3.3 and 4.2), batched on the data's device.

Legend: B clips, N bodies of all clips, T frames of a clip, S frames of a recording, V joints, C numbers a joint.

Sampling a pipeline's parameters is apart from applying them, so a draw can be replayed and tested clip by clip. All
time warps (resampling, crop, repetition, cyclic shift) compose into one fractional frame index and one gather.
Smoothing comes before the warps, because the noise that it removes lives at the sensor's frame rate; bones are taken
before the left/right drop, so that a dropped limb leaves no trace of itself. Bodies of one clip share every draw.
A joint's confidence, where the layout keeps it, is warped in time with its joint and dropped with it, nothing else.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bonestrap import pose
from bonestrap.clips import Clips, Recordings
from bonestrap.layout import Layout


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """How a recording of any length becomes a clip of T frames."""

    frames: int = dataclasses.field(default=150, metadata={"help": "frames of a clip, T"})
    fit: bool = dataclasses.field(
        default=False,
        metadata={"help": "stretch every recording to T frames; otherwise crop long ones and repeat short ones"},
    )

    own_pose: bool = dataclasses.field(
        default=False,
        metadata={"help": "centre and orient every body by its own first frame, not by the main body's"},
    )

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise ValueError(f"frames must be at least 2, got {self.frames}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Which augmentations are drawn, and from what range. The defaults change nothing."""

    resample: tuple[float, float] = dataclasses.field(
        default=(1.0, 1.0), metadata={"help": "range of the playback rate; above 1 is faster"}
    )
    crop: bool = dataclasses.field(default=False, metadata={"help": "crop long recordings anywhere, not in the middle"})
    smooth: float = dataclasses.field(
        default=0.0, metadata={"help": "probability of a Savitzky-Golay filter (order 2, window 15)"}
    )
    shear: float = dataclasses.field(default=0.0, metadata={"help": "shear factors are drawn from [-shear, shear]"})
    shift: bool = dataclasses.field(default=False, metadata={"help": "shift cyclically by 0 to T frames"})
    drop: float = dataclasses.field(default=0.0, metadata={"help": "probability of zeroing the left or right limbs"})

    def __post_init__(self) -> None:
        if not 0 < self.resample[0] <= self.resample[1]:
            raise ValueError(f"resample must be a positive, ascending range, got {self.resample}")
        if self.shear < 0:
            raise ValueError(f"shear must not be negative, got {self.shear}")
        for name in ("smooth", "drop"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a probability, got {getattr(self, name)}")


PLAIN = AugmentConfig()
# T2 of section 3.3: random resampling only. Cropping anywhere is ours: the paper does not say where it crops.
CONSERVATIVE = AugmentConfig(resample=(0.7, 1.3), crop=True)
# T1 of section 3.3 with the values of section 4.2.
AGGRESSIVE = dataclasses.replace(CONSERVATIVE, smooth=0.5, shear=1.0, shift=True, drop=0.5)


class Draw(NamedTuple):
    """The random parameters of B clips, on the CPU: one row a clip."""

    rate: Tensor  # (B,) playback rate
    offset: Tensor  # (B,) cyclic shift as a fraction of T
    begin: Tensor  # (B,) crop position as a fraction of the room there is
    smooth: Tensor  # (B,) bool
    shear: Tensor  # (B, 3, 3), or (B, 2, 2) for planar joints; the diagonal is one
    side: Tensor  # (B,) 0 keeps all joints, 1 drops the left limbs, 2 the right


class Pipeline:
    """Recordings at their own lengths in, clips of T frames with joint, bone and confidence channels out."""

    def __init__(self, layout: Layout, clip: ClipConfig, augment: AugmentConfig = PLAIN):
        self.clip = clip
        self.augment = augment
        self.layout = layout
        self.parents = torch.tensor(layout.parents)
        self.keep = torch.ones(3, len(layout.joints))  # row: side
        self.keep[1, list(layout.left)] = 0
        self.keep[2, list(layout.right)] = 0

    def __call__(self, recordings: Recordings, generator: torch.Generator | None = None) -> Clips:
        return self.apply(recordings, self.sample(recordings.size, generator))

    def sample(self, size: int, generator: torch.Generator | None = None) -> Draw:
        """Draw the parameters of `size` clips. Every kind is always drawn, so switching one off moves no other."""
        c = self.augment
        coordinates = self.layout.coordinates
        uniform = torch.rand(6, size, generator=generator)
        low, high = c.resample
        shear = (torch.rand(size, coordinates, coordinates, generator=generator) * 2 - 1) * c.shear
        diagonal = torch.eye(coordinates, dtype=torch.bool)
        return Draw(
            rate=low + (high - low) * uniform[0],
            offset=uniform[1] if c.shift else torch.zeros(size),
            begin=uniform[2] if c.crop else torch.full((size,), 0.5),
            smooth=uniform[3] < c.smooth,
            shear=torch.where(diagonal, torch.ones(()), shear),
            side=torch.where(uniform[4] < c.drop, 1 + (uniform[5] < 0.5).long(), 0),
        )

    @torch.no_grad()
    def apply(self, recordings: Recordings, draw: Draw) -> Clips:
        """Apply one draw: the same draw and recordings give the same clips. Always in float32."""
        device = recordings.frames.device
        with torch.autocast(device.type, enabled=False):
            return self._apply(recordings, draw, device)

    def _apply(self, recordings: Recordings, draw: Draw, device: torch.device) -> Clips:
        draw = Draw(*(field.to(device)[recordings.owner] for field in draw))  # from clips to bodies
        x = dense(recordings)  # (N, S, V, C)
        matrix = draw.shear
        if self.clip.own_pose:
            # Smoothing and warping commute with a rigid motion: it is applied to T frames and not to S.
            motion, origin = pose.canonical_motion(self._own_frames(x, recordings.length), self.layout)
            matrix = matrix @ motion
        x = smooth_some(x, draw.smooth, self.layout.coordinates)
        position = self.warp(recordings.length, draw)
        x = gather_frames(x, position, recordings.length)  # (N, T, V, C)
        x, confidence = x[..., : self.layout.coordinates], x[..., self.layout.coordinates :]
        if self.clip.own_pose:
            x = x - origin[:, None, None]
        x = torch.einsum("ntvc,ndc->ntvd", x, matrix)
        bones = x - x[:, :, self.parents.to(device)]  # bones follow shear: it is linear
        x = torch.cat([x, bones, confidence] if self.layout.confidence else [x, bones], dim=3)
        x = x * self.keep.to(device)[draw.side][:, None, :, None]
        return Clips(x, recordings.owner, recordings.size)

    def _own_frames(self, x_NSVC: Tensor, length_N: Tensor) -> Tensor:
        """Every body as a recording of its own, (N, S, 1, V, C)."""
        if self.layout.coordinates == 2:  # the median torso must not count a held last frame again and again
            held = torch.arange(x_NSVC.shape[1], device=x_NSVC.device) >= length_N[:, None]
            x_NSVC = x_NSVC.masked_fill(held[:, :, None, None], torch.nan)
        return x_NSVC[:, :, None]

    def warp(self, length: Tensor, draw: Draw) -> Tensor:
        """The fractional source frame (N, T) of every output frame: shift, then repetition, then crop, then rate.

        With `fit`, the first and the last output frame at a rate of one are the recording's first and last.
        """
        frames = self.clip.frames
        # Output frames, and source frames an output frame, from the first source frame to the last at a rate of one.
        span = torch.full_like(length, frames - 1) if self.clip.fit else length - 1
        stretch = (length - 1) / (frames - 1) if self.clip.fit else torch.ones_like(draw.rate)
        played = (span / draw.rate).floor().long() + 1
        shift = (draw.offset * frames).long()
        time = (torch.arange(frames, device=length.device) + shift[:, None]) % frames
        room = (played - frames).clamp(min=0)
        begin = (draw.begin * (room + 1)).long().clamp(max=room)
        return (begin[:, None] + time % played[:, None]) * (draw.rate * stretch)[:, None]


def dense(recordings: Recordings) -> Tensor:
    """The bodies' frames as (N, S, V, C) float32, S the longest length; past its end a body holds its last frame."""
    time = torch.arange(int(recordings.length.max()), device=recordings.frames.device)
    rows = recordings.start[:, None] + torch.minimum(time, recordings.length[:, None] - 1)
    return recordings.frames[rows].float()


def gather_frames(x_NSVC: Tensor, position_NT: Tensor, length_N: Tensor) -> Tensor:
    """Linear interpolation at fractional frames, (N, T, V, C); positions past the last frame hold it."""
    last = length_N[:, None] - 1
    low = torch.minimum(position_NT.floor().long(), last)
    high = torch.minimum(low + 1, last)
    body = torch.arange(len(x_NSVC), device=x_NSVC.device)[:, None]
    fraction = (position_NT - low).clamp(0, 1)[:, :, None, None]
    return torch.lerp(x_NSVC[body, low], x_NSVC[body, high], fraction)


def savgol_kernel(window: int, order: int) -> Tensor:
    """The weights (window,) of the Savitzky-Golay filter: least-squares fit of a polynomial, read at its centre."""
    time = torch.arange(window, dtype=torch.float64) - window // 2
    powers = time[:, None] ** torch.arange(order + 1, dtype=torch.float64)
    return torch.linalg.pinv(powers)[0].float()


def smooth_some(x_NSVC: Tensor, chosen_N: Tensor, channels: int, window: int = 15, order: int = 2) -> Tensor:
    """Savitzky-Golay filter the chosen bodies' first `channels` along time; the edges are replicated."""
    if not bool(chosen_N.any()):
        return x_NSVC
    chosen = x_NSVC[chosen_N]
    n, s, v, c = chosen.shape
    half = window // 2
    padded = F.pad(chosen.view(n, 1, s, v * c), (0, 0, half, half), mode="replicate")
    kernel = savgol_kernel(window, order).to(padded.device).view(1, 1, window, 1)
    smooth = F.conv2d(padded, kernel).view(n, s, v, c)
    if channels < c:
        smooth[..., channels:] = chosen[..., channels:]
    return x_NSVC.index_put((chosen_N,), smooth)
