"""Operations that choose when a recording is seen: its rate, its part, its frames, and how smooth they are."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from bonestrap.augment.operation import FRACTION, Draw, Finishing, Operation, Random, check_ascending
from bonestrap.bounds import FRAMES, Bounds
from bonestrap.options import option

if TYPE_CHECKING:
    from torch import Tensor

    from bonestrap.layout import Layout


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resample(Operation):
    """Play faster or slower (Moliner et al., section 4.2)."""

    kind: ClassVar[str] = "resample"
    rate: tuple[float, float] = option((0.7, 1.3), "range of the playback rate; above 1 is faster", Bounds(1e-3, 1e3))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ascending("rate", self.rate)

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
class Window(Operation):
    """Take a window of the recording for the whole of it; `fit` then stretches it to the clip (crop-resize).

    A window has whole frames, at most those of the recording. Both bounds of its length at 1 leave the recording.
    """

    kind: ClassVar[str] = "window"
    fraction: tuple[float, float] = option((0.5, 1.0), "range of the window's length, in recordings", FRACTION)
    frames: int = option(1, "frames that a window has at least", Bounds(1, FRAMES))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ascending("fraction", self.fraction)

    def sample(self, draw: Draw, random: Random) -> Draw:
        import torch

        low, high = self.fraction
        length, place = random.uniform(), random.uniform()
        least = torch.full_like(length, float(self.frames))
        return draw._replace(window=torch.stack((low + (high - low) * length, place, least), 1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomFrames(Operation):
    """Show the recording at T random times in their order, in place of a playback rate and a crop.

    The times of a clip are uniform in the recording and sorted, as in CTR-GCN's feeder for NW-UCLA. A `randomness`
    below 1 draws each of them towards its place in an even spacing.
    """

    kind: ClassVar[str] = "frames"
    randomness: float = option(1.0, "0 spaces the times evenly over the recording", FRACTION)

    def sample(self, draw: Draw, random: Random) -> Draw:
        import torch

        times = random.uniform(random.frames).sort(1).values
        return draw._replace(times=torch.lerp(torch.linspace(0, 1, random.frames), times, self.randomness))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reverse(Finishing):
    """Play clips backwards: what ReL-SAR's code calls a vertical flip."""

    kind: ClassVar[str] = "reverse"
    probability: float = option(0.5, "of reversing a clip", FRACTION)

    def parameters(self, random: Random) -> Tensor:
        return random.uniform() < self.probability

    def finish(self, joints: Tensor, parameters: Tensor, layout: Layout) -> Tensor:
        import torch

        from bonestrap.clips import to_device

        return torch.where(to_device(parameters, joints.device)[:, None, None, None], joints.flip(1), joints)
