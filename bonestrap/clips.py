"""What flows from a reader to a method: recordings of ragged length, and the fixed-length clips made of them.

Legend: B clips, N bodies of all clips, F frames of all bodies, T frames of a clip, V joints, C coordinates.

Bodies are packed densely: a clip with one person brings one body, one with two brings two. A person who is not there
costs no arithmetic and touches no statistic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
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

    def places(self, device: torch.device) -> dict[str, tuple[Tensor, torch.device]]:
        """Every tensor by name, and where it has to be in a run on `device`."""
        host = torch.device("cpu")
        return {
            "frames": (self.frames, device),
            "start": (self.start, host),
            "length": (self.length, host),
            "owner": (self.owner, host),
        }


def unpacked(recordings: Recordings) -> list[np.ndarray]:
    """The recordings one by one, each (T, M, V, C) float32."""
    found: list[list[Tensor]] = [[] for _ in range(recordings.size)]
    for start, length, owner in zip(recordings.start, recordings.length, recordings.owner, strict=True):
        found[owner].append(recordings.frames[start : start + length].float().cpu())
    return [torch.stack(bodies, 1).numpy() for bodies in found]


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
    """B clips of T frames each. Body n belongs to clip `owner[n]`.

    The last bodies may be padding, which makes shapes recur: they are zeros and owned by the clip after the last.
    """

    joints: Tensor  # (N, T, V, C) float32
    owner: Tensor  # (N,) int64, ascending
    size: int  # B
    there: Tensor | None = None  # (N,) bool, False for padding; None: there is none

    def padded(self, bodies: int) -> Clips:
        """The same clips with padding, `bodies` in all."""
        more = bodies - len(self.owner)
        return Clips(
            torch.cat((self.joints, self.joints.new_zeros(more, *self.joints.shape[1:]))),
            torch.cat((self.owner, self.owner.new_full((more,), self.size))),
            self.size,
            torch.arange(bodies, device=self.owner.device) < len(self.owner),
        )

    def followed_by(self, other: Clips) -> Clips:
        """These clips, then the other's, as one set. Padding belongs to the clip after the last of both."""
        size, owner, there = self.size + other.size, self.owner, None
        if self.there is not None and other.there is not None:
            owner = torch.where(self.there, owner, size)
            there = torch.cat((self.there, other.there))
        return Clips(
            torch.cat((self.joints, other.joints)),
            torch.cat((owner, other.owner + self.size)),
            size,
            there,
        )

    def mean_over_bodies(self, features: Tensor) -> Tensor:
        """Average the bodies' features (N, D) into one row a clip, (B, D), over the bodies that are there."""
        rows = self.size + (self.there is not None)  # one more for padding
        total = features.new_zeros(rows, features.shape[1]).index_add_(0, self.owner, features)
        ones = features.new_ones(len(self.owner))  # summed, as `bincount` waits for the device
        mean = total / features.new_zeros(rows).index_add_(0, self.owner, ones).clamp_(min=1)[:, None]
        return mean[: self.size]


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
    items: Tensor | None = None  # (B,) int64 on the CPU: which performance or recording of the run each clip is of
    group: int = 0  # of the step's, 0..groups-1

    def misplaced(self, device: torch.device) -> list[str]:
        """The names of tensors that are not where they have to be in a run on `device`: a wrapper has moved them."""
        places = {
            f"views[{number}].{name}": place
            for number, view in enumerate(self.views)
            for name, place in view.places(device).items()
        }
        if self.labels is not None:
            places["labels"] = self.labels, device
        return [name for name, (tensor, place) in places.items() if tensor.device.type != place.type]
