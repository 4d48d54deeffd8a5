"""Augmentations as a list of operations, each with its parameters' distribution.

Legend: B clips, N bodies of all clips, T frames, V joints, C coordinates.

An operation draws the parameters of B clips at once and writes them into a `Draw`; `pipeline.Pipeline` applies a draw.
So a draw can be replayed and tested clip by clip, whatever the operations add up to costs one pass over the bodies, and
the fused CPU kernel serves every operation that only writes into these fields. What cannot be expressed by them is a
`Finishing` operation: it draws parameters of its own and changes finished clips in plain torch.

An operation of strength zero draws all the same: switching one off moves no other draw.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from bonestrap.bounds import Bounded, Bounds

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bonestrap.layout import Layout

FRACTION = Bounds(0, 1)


def check_ascending(name: str, range_: tuple[float, float]) -> None:
    """ValueError for a range that ends before it begins."""
    if range_[0] > range_[1]:
        raise ValueError(f"{name} must be an ascending range, got {range_}")


class Draw(NamedTuple):
    """The random parameters of B clips, on the CPU: one row a clip."""

    rate: Tensor  # (B,) playback rate
    offset: Tensor  # (B,) cyclic shift as a fraction of T
    begin: Tensor  # (B,) crop position as a fraction of the room there is
    smooth: Tensor  # (B,) bool
    matrix: Tensor  # (B, C, C) applied to every joint
    keep: Tensor  # (B, V) bool; the other joints are zeroed with their bones, those that lead on from them as well
    mirror: Tensor  # (B,) bool; every joint shows what its counterpart on the other side would
    displacement: Tensor  # (B, V, C) added to every frame of the finished joints
    window: Tensor  # (B, 3) fraction of the recording that is seen, its place as `begin`, and its frames at least
    times: Tensor  # (B, T) ascending fractions of what is seen, in place of rate and crop; (B, 0) where none are drawn
    extra: tuple[Tensor, ...] = ()  # one a operation that changes finished clips, in their order

    def rows(self, index: Tensor | slice) -> Draw:
        """The draws of these clips."""
        fields = {name: getattr(self, name)[index] for name in Draw._fields[:-1]}
        return Draw(**fields, extra=tuple(each[index] for each in self.extra))

    def to_device(self, device: torch.device) -> Draw:
        """The fields on `device`; what finishing operations drew stays on the CPU."""
        from bonestrap.clips import to_device

        fields = {name: to_device(getattr(self, name), device) for name in Draw._fields[:-1]}
        return Draw(**fields, extra=self.extra)


class Random:
    """The draws of B clips of so many frames from one generator."""

    def __init__(self, size: int, layout: Layout, frames: int, generator: torch.Generator | None) -> None:
        self.size, self.layout, self.frames, self.generator = size, layout, frames, generator

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1), (B, *shape)."""
        import torch

        return torch.rand(self.size, *shape, generator=self.generator)

    def normal(self, *shape: int) -> Tensor:
        """Numbers of the standard normal distribution, (B, *shape)."""
        import torch

        return torch.randn(self.size, *shape, generator=self.generator)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Operation(Bounded):
    """One random change. A subclass is a frozen dataclass with a `kind`, its name on the command line and in files."""

    kind: ClassVar[str] = ""

    @staticmethod
    def kinds() -> Mapping[str, type[Operation]]:
        """The operations that come with Bonestrap."""
        from bonestrap.augment.operations import OPERATIONS

        return OPERATIONS

    def sample(self, draw: Draw, random: Random) -> Draw:
        """`draw` with this operation's parameters in it."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finishing(Operation):
    """An operation on finished clips, for what a `Draw` has no field for."""

    def parameters(self, random: Random) -> Tensor:
        """Its own draw, (B, ...)."""
        raise NotImplementedError

    def finish(self, joints: Tensor, parameters: Tensor, layout: Layout) -> Tensor:
        """The clips (N, T, V, channels) changed by their rows (N, ...) of the parameters."""
        raise NotImplementedError

    def sample(self, draw: Draw, random: Random) -> Draw:
        return draw._replace(extra=(*draw.extra, self.parameters(random)))


View = tuple[Operation, ...]  # the operations of one view, in the order in which they draw
