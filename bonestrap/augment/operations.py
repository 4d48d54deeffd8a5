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
from bonestrap.options import option

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bonestrap.layout import Layout

FRACTION = Bounds(0, 1)


class Draw(NamedTuple):
    """The random parameters of B clips, on the CPU: one row a clip."""

    rate: Tensor  # (B,) playback rate
    offset: Tensor  # (B,) cyclic shift as a fraction of T
    begin: Tensor  # (B,) crop position as a fraction of the room there is
    smooth: Tensor  # (B,) bool
    matrix: Tensor  # (B, C, C) applied to every joint
    keep: Tensor  # (B, V) bool; the other joints are zeroed with their bones
    extra: tuple[Tensor, ...] = ()  # one a operation that changes finished clips, in their order

    def rows(self, index: Tensor | slice) -> Draw:
        """The draws of these clips."""
        rate, offset, begin, smooth, matrix, keep = (field[index] for field in self[:6])
        return Draw(rate, offset, begin, smooth, matrix, keep, tuple(each[index] for each in self.extra))

    def to_device(self, device: torch.device) -> Draw:
        """The fields on `device`; what finishing operations drew stays on the CPU."""
        from bonestrap.clips import to_device

        rate, offset, begin, smooth, matrix, keep = (to_device(field, device) for field in self[:6])
        return Draw(rate, offset, begin, smooth, matrix, keep, self.extra)


class Random:
    """The draws of B clips from one generator."""

    def __init__(self, size: int, layout: Layout, generator: torch.Generator | None) -> None:
        self.size, self.layout, self.generator = size, layout, generator

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1), (B, *shape)."""
        import torch

        return torch.rand(self.size, *shape, generator=self.generator)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Operation(Bounded):
    """One random change. A subclass is a frozen dataclass with a `kind`, its name on the command line and in files."""

    kind: ClassVar[str] = ""

    @staticmethod
    def kinds() -> Mapping[str, type[Operation]]:
        """The operations that come with Bonestrap."""
        return OPERATIONS

    def sample(self, draw: Draw, random: Random) -> Draw:
        """`draw` with this operation's parameters in it."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resample(Operation):
    """Play faster or slower (Moliner et al., section 4.2)."""

    kind: ClassVar[str] = "resample"
    rate: tuple[float, float] = option((0.7, 1.3), "range of the playback rate; above 1 is faster", Bounds(1e-3, 1e3))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rate[0] > self.rate[1]:
            raise ValueError(f"rate must be an ascending range, got {self.rate}")

    def sample(self, draw: Draw, random: Random) -> Draw:
        low, high = self.rate
        return draw._replace(rate=low + (high - low) * random.uniform())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shift(Operation):
    """Shift cyclically in time."""

    kind: ClassVar[str] = "shift"
    limit: float = option(1.0, "shift by up to this fraction of the clip", FRACTION)

    def sample(self, draw: Draw, random: Random) -> Draw:
        return draw._replace(offset=random.uniform() * self.limit)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Crop(Operation):
    """Crop long recordings anywhere [ours: the paper does not say where it crops]."""

    kind: ClassVar[str] = "crop"
    anywhere: bool = option(True, "crop anywhere; otherwise in the middle")

    def sample(self, draw: Draw, random: Random) -> Draw:
        begin = random.uniform()
        return draw._replace(begin=begin if self.anywhere else begin * 0 + 0.5)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Smooth(Operation):
    """Savitzky-Golay filter, order 2, window 15, along time."""

    kind: ClassVar[str] = "smooth"
    probability: float = option(0.5, "of filtering a clip", FRACTION)

    def sample(self, draw: Draw, random: Random) -> Draw:
        return draw._replace(smooth=random.uniform() < self.probability)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DropLimbs(Operation):
    """Zero all joints of the left limbs or of the right ones, both equally likely."""

    kind: ClassVar[str] = "drop"
    probability: float = option(0.5, "of zeroing one side of a clip", FRACTION)

    def sample(self, draw: Draw, random: Random) -> Draw:
        chosen, left = random.uniform() < self.probability, random.uniform() >= 0.5
        keep = draw.keep.clone()
        for side, joints in ((chosen & left, random.layout.left), (chosen & ~left, random.layout.right)):
            keep[:, list(joints)] &= ~side[:, None]
        return draw._replace(keep=keep)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shear(Operation):
    """Slant the axes: ones on the diagonal, factors from [-limit, limit] beside it."""

    kind: ClassVar[str] = "shear"
    limit: float = option(1.0, "factors are drawn from [-limit, limit]", Bounds(0, 100))

    def sample(self, draw: Draw, random: Random) -> Draw:
        axes = random.layout.coordinates
        matrix = (random.uniform(axes, axes) * 2 - 1) * self.limit
        matrix.diagonal(dim1=1, dim2=2).fill_(1)
        return draw._replace(matrix=matrix @ draw.matrix)


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
OPERATIONS: dict[str, type[Operation]] = {
    operation.kind: operation for operation in (Resample, Shift, Crop, Smooth, DropLimbs, Shear)
}
