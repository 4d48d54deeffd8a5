"""What flows from a reader to a method: recordings of ragged length, and the fixed-length clips made of them.

Legend: B clips, N bodies of all clips, F frames of all bodies, T frames of a clip, V joints, C coordinates.

Bodies are packed densely: a clip with one person brings one body, one with two brings two. A person who is not there
costs no arithmetic and touches no statistic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Recordings(NamedTuple):
    """B recordings at their own lengths. Body n owns rows `start[n] : start[n] + length[n]` of `frames`.

    The frames are on any device, all else on the CPU: sizes follow from it, and a GPU would have to be waited for.
    """

    frames: Tensor  # (F, V, C) floating point; may hold more rows than these bodies use
    start: Tensor  # (N,) int64
    length: Tensor  # (N,) int64, at least 1; bodies of one recording share it
    owner: Tensor  # (N,) int64, ascending: which recording, 0..size-1, the body belongs to
    size: int  # B


def concatenated(parts: Sequence[Recordings]) -> Recordings:
    """All recordings of several sets, set after set. Of more than one, the rows in use are copied together."""
    if len(parts) == 1:
        return parts[0]
    frames = [part.frames.index_select(0, to_device(_rows(part), part.frames.device)) for part in parts]
    length = torch.cat([part.length for part in parts])
    sizes = torch.tensor([part.size for part in parts])
    before = (sizes.cumsum(0) - sizes).tolist()
    owner = torch.cat([part.owner + first for part, first in zip(parts, before, strict=True)])
    return Recordings(torch.cat(frames), length.cumsum(0) - length, length, owner, int(sizes.sum()))


def _rows(recordings: Recordings) -> Tensor:
    """The rows of the frames that bodies own, body after body."""
    length = recordings.length
    within = recordings.start - (length.cumsum(0) - length)
    return torch.arange(int(length.sum())) + within.repeat_interleave(length)


class Clips(NamedTuple):
    """B clips of T frames each. Body n belongs to clip `owner[n]`."""

    joints: Tensor  # (N, T, V, C) float32
    owner: Tensor  # (N,) int64, ascending
    size: int  # B

    def followed_by(self, other: Clips) -> Clips:
        """These clips, then the other's, as one set."""
        return Clips(
            torch.cat((self.joints, other.joints)),
            torch.cat((self.owner, other.owner + self.size)),
            self.size + other.size,
        )

    def mean_over_bodies(self, features: Tensor) -> Tensor:
        """Average the bodies' features (N, D) into one row a clip, (B, D), over the bodies that are there."""
        total = features.new_zeros(self.size, features.shape[1]).index_add_(0, self.owner, features)
        ones = features.new_ones(len(self.owner))  # summed, as `bincount` waits for the device
        return total / features.new_zeros(self.size).index_add_(0, self.owner, ones).clamp_(min=1)[:, None]


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on `device`; the host does not wait, as a GPU copies pinned memory when its turn comes."""
    return x if device.type == "cpu" else x.pin_memory().to(device, non_blocking=True)


class Batch(NamedTuple):
    """One normalisation group: the clips that share batch statistics.

    `views` holds one `Recordings` for supervised work and two for methods that compare views. `labels` is None wherever
    labels must not shape the weights. `seed` belongs to this group alone, a function of (run seed, step, group), so
    every random draw is the same whichever rank holds the group and whatever ran before.
    """

    views: tuple[Recordings, ...]
    labels: Tensor | None  # (B,) int64
    seed: int
