"""Clips from recordings: the operations of a view, batched on the data's device.

Legend: B clips, N bodies of all clips, T frames of a clip, S frames of a recording, V joints, C numbers a joint.

Sampling a pipeline's parameters is apart from applying them, so a draw can be replayed and tested clip by clip. All
time warps (resampling, crop, repetition, random times, cyclic shift) compose into one fractional frame index and one
gather; a window of a recording is a recording of its own.
Smoothing comes before the warps, because the noise that it removes lives at the sensor's frame rate; bones are taken
before joints are hidden, and hidden at both their ends, so that a hidden joint leaves no trace of itself. Bodies of one
clip share every draw.
A joint's confidence, where the layout keeps it, is warped in time with its joint and dropped with it, nothing else.

On a CPU with numba, `bonestrap.augment.fused` makes the same clips in a fraction of the time; the torch below is the
reference.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bonestrap import pose
from bonestrap.augment import fused
from bonestrap.augment.channels import described
from bonestrap.augment.clip import ClipConfig
from bonestrap.augment.operation import Draw, Finishing, Random, View
from bonestrap.augment.rows import ORDER, WINDOW, Rows, interpolated, savgol_kernel, smooth_some
from bonestrap.augment.views import PLAIN
from bonestrap.clips import Clips, Recordings, to_device
from bonestrap.layout import Layout

PART = 64  # bodies that torch works on at a time on a CPU: what is made on the way stays in its cache


class Timing(NamedTuple):
    """When each body is seen: output frame t shows the source frame (begin + (t + shift) % T % played) * rate."""

    begin: Tensor  # (N,) int64
    played: Tensor  # (N,) int64
    shift: Tensor  # (N,) int64
    rate: Tensor  # (N,) float32


class Kinds(NamedTuple):
    """What any clip of a draw needs, known without asking the device."""

    smooth: bool
    turn: bool  # a matrix, or a pose of its own
    mirror: bool
    displace: bool
    drop: bool

    @classmethod
    def of(cls, draw: Draw, *, own_pose: bool) -> Kinds:
        turned = bool((draw.matrix != torch.eye(draw.matrix.shape[1])).any())
        return cls(
            smooth=bool(draw.smooth.any()),
            turn=own_pose or turned,
            mirror=bool(draw.mirror.any()),
            displace=bool(draw.displacement.any()),
            drop=not bool(draw.keep.all()),
        )


class Pipeline:
    """Recordings at their own lengths in, clips of T frames with the channels of their `ClipConfig` out."""

    def __init__(self, layout: Layout, clip: ClipConfig, view: View = PLAIN):
        self.clip = clip
        self.view = view
        self.fuses = True  # by numba where it is installed; its first call compiles, for a minute on busy cores
        self.layout = layout
        self.finishing = [operation for operation in view if isinstance(operation, Finishing)]
        joints, axes = len(layout.joints), layout.coordinates
        # Where a number of a parent stands among the V * C of the coordinates, and where a number of the result stands
        # among coordinates, bones and confidences, which are computed one after the other.
        place = torch.arange(joints * axes).view(joints, axes)
        self.above = place[list(layout.parents)].flatten()
        parts = [place, joints * axes + place]
        if layout.confidence:
            parts.append(2 * joints * axes + torch.arange(joints)[:, None])
        self.order = torch.cat(parts, 1).flatten()
        self.opposite = counterparts(layout)
        self.shared = fused.Shared(
            axes=tuple(range(axes)),
            parents=np.array(layout.parents, np.uint32),
            opposite=self.opposite.numpy().astype(np.uint32),
            weights=savgol_kernel(WINDOW, ORDER).numpy(),
        )

    def __call__(self, recordings: Recordings, generator: torch.Generator | None = None) -> Clips:
        return self.apply(recordings, self.sample(recordings.size, generator))

    def sample(self, size: int, generator: torch.Generator | None = None) -> Draw:
        """Draw the parameters of `size` clips, one operation of the view after the other."""
        draw = self.unchanged(size)
        random = Random(size, self.layout, self.clip.frames, generator)
        with torch.autocast("cpu", enabled=False):  # a product of matrices would be rounded to bf16
            for operation in self.view:
                draw = operation.sample(draw, random)
        return draw

    def unchanged(self, size: int) -> Draw:
        """The draw of `size` clips that changes nothing."""
        axes, joints = self.layout.coordinates, len(self.layout.joints)
        return Draw(
            rate=torch.ones(size),
            offset=torch.zeros(size),
            begin=torch.full((size,), 0.5),
            smooth=torch.zeros(size, dtype=torch.bool),
            matrix=torch.eye(axes).repeat(size, 1, 1),
            keep=torch.ones(size, joints, dtype=torch.bool),
            mirror=torch.zeros(size, dtype=torch.bool),
            displacement=torch.zeros(size, joints, axes),
            window=torch.tensor([1.0, 0.0, 1.0]).repeat(size, 1),
            times=torch.zeros(size, 0),
        )

    @torch.no_grad()
    def apply(self, recordings: Recordings, draw: Draw) -> Clips:
        """Apply one draw: the same draw and recordings give the same clips. Always in float32.

        Raises ValueError where the frames or the draw do not fit the layout.
        """
        owner, device = recordings.owner, recordings.frames.device
        drawn = draw.rows(owner)  # from clips to bodies
        recordings = windowed(recordings, drawn.window)
        shape = len(owner), self.clip.frames, len(self.layout.joints), self.layout.channels
        joints = recordings.frames.new_empty(shape, dtype=torch.float32)
        kernel = fused.kernel() if self.fuses and device.type == "cpu" else None
        with torch.autocast(device.type, enabled=False):
            if kernel and len(owner):
                self._fuse(kernel, joints, recordings, drawn)
            else:
                self._batch(joints, recordings, drawn, Kinds.of(draw, own_pose=self.clip.own_pose))
            keep, bodies = to_device(drawn.keep, device), to_device(owner, device)
            joints = described(joints, keep, bodies, recordings.size, self.clip, self.layout.coordinates)
            for operation, parameters in zip(self.finishing, drawn.extra, strict=True):
                joints = operation.finish(joints, parameters, self.layout)
        return Clips(joints, bodies, recordings.size)

    def _fuse(self, kernel: fused.Kernel, out: Tensor, recordings: Recordings, draw: Draw) -> None:
        """Write the clips, (N, T, V, channels), body by body."""
        frames, start, length, matrix = recordings.frames, recordings.start, recordings.length, draw.matrix
        if (start < 0).any() or (length < 1).any() or (start + length > len(frames)).any():
            raise IndexError("a body lies outside the frames")  # where the kernel would read them nevertheless
        self._check(frames, draw)
        known = frames.dtype in (torch.float16, torch.float32) and frames.is_contiguous()
        rows = Rows(frames, start, length) if known and not self.clip.own_pose else Rows.of(frames, start, length)
        if self.clip.own_pose:
            motion, origin = pose.canonical_motion(self._own_frames(rows), self.layout)
            rows.frames[..., : self.layout.coordinates] -= origin.repeat_interleave(length, 0)[:, None]
            matrix = matrix @ motion
        turn = (matrix != torch.eye(self.layout.coordinates)).flatten(1).any(1)
        columns = {
            **dict(start=rows.start, length=rows.length, **self.timing(length, draw)._asdict()),
            **dict(smooth=draw.smooth, turn=turn, matrix=matrix, mirror=draw.mirror, keep=draw.keep),
            **dict(displace=draw.displacement.flatten(1).any(1), displacement=draw.displacement),
            "place": draw.times * (length - 1)[:, None],
        }
        bodies = fused.Bodies(**{name: column.contiguous().numpy() for name, column in columns.items()})
        numbers = rows.frames.flatten(1).numpy()
        kernel(out.numpy(), numbers.view(np.uint16) if numbers.dtype == np.float16 else numbers, bodies, self.shared)

    def _check(self, frames: Tensor, draw: Draw) -> None:
        """ValueError where the kernel, which knows no bounds, would read or write beside its arrays."""
        joints, axes, bodies = len(self.layout.joints), self.layout.coordinates, len(draw.rate)
        times = self.clip.frames if draw.times.shape[-1] else 0
        shape = (joints, self.layout.axes)
        if frames.shape[1:] != shape:
            raise ValueError(
                f"layout {self.layout.name} needs frames of {joints} joints x {shape[1]} numbers, "
                f"got {tuple(frames.shape[1:])}"
            )
        expected = {
            **dict(rate=(), offset=(), begin=(), smooth=(), matrix=(axes, axes), keep=(joints,), mirror=()),
            **dict(displacement=(joints, axes), window=(3,), times=(times,)),
        }
        for name, each in expected.items():
            field, wanted = getattr(draw, name), (bodies, *each)
            if field.shape != wanted:
                raise ValueError(f"an operation drew {name} of shape {tuple(field.shape)} for {wanted}")
        if not (draw.rate.isfinite() & (draw.rate > 0)).all() or not ((draw.begin >= 0) & (draw.begin <= 1)).all():
            raise ValueError("an operation drew a rate that is not positive, or a begin outside [0, 1]")
        ends = torch.cat((draw.times[:, :1] * 0, draw.times, draw.times[:, :1] * 0 + 1), 1)
        if not (ends.diff(dim=1) >= 0).all():
            raise ValueError("an operation drew times that do not ascend from 0 to 1")

    def _batch(self, out: Tensor, recordings: Recordings, draw: Draw, kinds: Kinds) -> None:
        """Write the clips, (N, T, V, channels), all bodies at a time, or on a CPU a part of them."""
        frames, start, length = recordings.frames, recordings.start, recordings.length
        part = PART if frames.device.type == "cpu" else len(length)
        for first in range(0, len(length), part):
            here = slice(first, first + part)
            rows = Rows.of(frames, start[here], length[here])
            self._fill(out[here].flatten(2), rows, draw.rows(here), kinds)

    def _fill(self, out: Tensor, rows: Rows, draw: Draw, kinds: Kinds) -> None:
        """Write the clips of some bodies, (N, T, V * channels)."""
        axes, device = self.layout.coordinates, out.device
        if self.clip.own_pose:
            # Smoothing and warping commute with a rigid motion: it is applied to T frames and not to S.
            motion, origin = pose.canonical_motion(self._own_frames(rows), self.layout)
        if kinds.smooth:
            smooth_some(rows, draw.smooth, axes)
        rows, draw = rows.to_device(), draw.to_device(device)
        matrix = draw.matrix @ motion if self.clip.own_pose else draw.matrix
        x = interpolated(rows, self.warp(rows.length, draw))  # (N, T, V, C)
        if kinds.mirror:
            x = torch.where(draw.mirror[:, None, None, None], x[:, :, to_device(self.opposite, device)], x)
        x, confidence = x[..., :axes], x[..., axes:]
        if self.clip.own_pose:
            x = x - origin[:, None, None]
        if kinds.turn:
            x = torch.bmm(x.flatten(1, 2), matrix.transpose(1, 2)).view(x.shape)
        if kinds.displace:
            x = x + draw.displacement[:, None]
        x = x.flatten(2).flatten(0, 1)  # (N T, V C)
        bones = x - x.index_select(1, to_device(self.above, device))  # they follow shear: it is linear
        parts = [x, bones, confidence.flatten(2).flatten(0, 1)] if self.layout.confidence else [x, bones]
        torch.index_select(torch.cat(parts, 1), 1, to_device(self.order, device), out=out.view(len(x), -1))
        if kinds.drop:
            joint = draw.keep[:, :, None].expand(-1, -1, axes)
            bone = draw.keep.index_select(1, to_device(torch.tensor(self.layout.parents), device))[:, :, None] & joint
            parts = [joint, bone, joint[..., :1]] if self.layout.confidence else [joint, bone]
            out *= torch.cat(parts, 2).flatten(1)[:, None]

    def _own_frames(self, rows: Rows) -> Tensor:
        """Every body as a recording of its own, (N, S, 1, V, C); past its end it holds its last frame."""
        time = torch.arange(int(rows.length.max()), device=rows.frames.device)
        rows = rows.to_device()
        x = rows.frames[rows.start[:, None] + torch.minimum(time, rows.length[:, None] - 1)]
        if self.layout.coordinates == 2:  # the median torso must not count a held last frame again and again
            x = x.masked_fill((time >= rows.length[:, None])[:, :, None, None], torch.nan)
        return x[:, :, None]

    def warp(self, length: Tensor, draw: Draw) -> Tensor:
        """The fractional source frame (N, T) of every output frame: shift, then repetition, then crop, then rate."""
        frames = self.clip.frames
        begin, played, shift, rate = self.timing(length, draw)
        time = (torch.arange(frames, device=length.device) + shift[:, None]) % frames
        if draw.times.shape[1]:
            return draw.times.gather(1, time) * (length - 1)[:, None]
        return (begin[:, None] + time % played[:, None]) * rate[:, None]

    def timing(self, length: Tensor, draw: Draw) -> Timing:
        """The four numbers of every body's time warp.

        With `fit`, the first and the last output frame at a rate of one are the recording's first and last.
        """
        frames = self.clip.frames
        # Output frames, and source frames an output frame, from the first source frame to the last at a rate of one.
        span = torch.full_like(length, frames - 1) if self.clip.fit else length - 1
        stretch = (length - 1) / (frames - 1) if self.clip.fit else torch.ones_like(draw.rate)
        played = (span / draw.rate).floor().long() + 1
        room = (played - frames).clamp(min=0)
        begin = (draw.begin * (room + 1)).long().clamp(max=room)
        return Timing(begin, played, (draw.offset * frames).long(), draw.rate * stretch)


def windowed(recordings: Recordings, window: Tensor) -> Recordings:
    """The recordings with the window (N, 3) of each body for the whole of it; see `Draw.window`."""
    fraction, place, least = window.unbind(1)
    if not (fraction < 1).any():
        return recordings
    length = torch.maximum((recordings.length * fraction).long(), least.long().clamp(min=1))
    length = torch.minimum(length, recordings.length)
    room = recordings.length - length
    begin = torch.minimum((place * (room + 1)).long(), room)
    return recordings._replace(start=recordings.start + begin, length=length)


def counterparts(layout: Layout) -> Tensor:
    """For each joint the one on the other side of the body, (V,) int64; a joint in the middle is its own."""
    opposite = torch.arange(len(layout.joints))
    for left, right in layout.sides:
        opposite[left], opposite[right] = right, left
    return opposite
