"""Operations that move joints in space: linear maps, left and right exchanged, and joints displaced."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar

from bonestrap.augment.operation import FRACTION, Draw, Finishing, Operation, Random, check_ascending
from bonestrap.bounds import Bounds
from bonestrap.options import option

if TYPE_CHECKING:
    from torch import Tensor

    from bonestrap.layout import Layout

DEGREES = Bounds(0, 180)


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
class Rotate(Operation):
    """Turn the body: by `pitch` about x, which points to its right, `roll` about y, forward, `yaw` about z, upward.

    Each angle is uniform within its limit, and they are applied in this order about the axes of the recording. In an
    image there is `roll` alone. An angle of zero is drawn all the same.
    """

    kind: ClassVar[str] = "rotate"
    yaw: float = option(60.0, "degrees to either side about the vertical axis", DEGREES)
    pitch: float = option(20.0, "degrees forward or backward", DEGREES)
    roll: float = option(20.0, "degrees to either side in the frontal plane, or in the image", DEGREES)

    def sample(self, draw: Draw, random: Random) -> Draw:
        import torch

        axes = random.layout.coordinates
        planes = ((0, 1, self.roll),) if axes == 2 else ((1, 2, self.pitch), (2, 0, self.roll), (0, 1, self.yaw))
        angles = (random.uniform(len(planes)) * 2 - 1) * torch.tensor([math.radians(limit) for *_, limit in planes])
        matrix = draw.matrix
        for (i, j, _), angle in zip(planes, angles.unbind(1), strict=True):
            turn = torch.eye(axes).repeat(random.size, 1, 1)
            turn[:, i, i] = turn[:, j, j] = angle.cos()
            turn[:, i, j], turn[:, j, i] = -angle.sin(), angle.sin()
            matrix = turn @ matrix
        return draw._replace(matrix=matrix)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale(Operation):
    """Enlarge or shrink the body."""

    kind: ClassVar[str] = "scale"
    factor: tuple[float, float] = option((0.75, 1.25), "range of the factor", Bounds(1e-3, 1e3))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ascending("factor", self.factor)

    def sample(self, draw: Draw, random: Random) -> Draw:
        low, high = self.factor
        return draw._replace(matrix=draw.matrix * (low + (high - low) * random.uniform())[:, None, None])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mirror(Operation):
    """Exchange left and right: x changes its sign, and every joint shows what its counterpart would."""

    kind: ClassVar[str] = "mirror"
    probability: float = option(0.5, "of mirroring a clip", FRACTION)

    def sample(self, draw: Draw, random: Random) -> Draw:
        chosen = random.uniform() < self.probability
        matrix = draw.matrix.clone()
        matrix[chosen, 0] *= -1
        return draw._replace(matrix=matrix, mirror=draw.mirror ^ chosen)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Jitter(Operation):
    """Displace every joint by a Gaussian vector of its own, the same in all frames of a clip."""

    kind: ClassVar[str] = "jitter"
    std: float = option(0.02, "of each coordinate, in metres, or in torsos in an image", Bounds(0, 100))

    def sample(self, draw: Draw, random: Random) -> Draw:
        layout = random.layout
        vectors = random.normal(len(layout.joints), layout.coordinates)
        return draw._replace(displacement=draw.displacement + vectors * self.std)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noise(Finishing):
    """Displace every joint by a Gaussian vector of its own in every frame; bones follow. Hidden joints stay hidden."""

    kind: ClassVar[str] = "noise"
    std: float = option(0.03, "of each coordinate, in metres, or in torsos in an image", Bounds(0, 100))

    def parameters(self, random: Random) -> Tensor:
        return random.normal(random.frames, len(random.layout.joints), random.layout.coordinates) * self.std

    def finish(self, joints: Tensor, parameters: Tensor, layout: Layout) -> Tensor:
        import torch

        from bonestrap.clips import to_device

        axes = layout.coordinates
        shown = (joints[..., :axes] != 0).any(3, keepdim=True).any(1, keepdim=True)  # (N, 1, V, 1)
        parents = to_device(torch.tensor(layout.parents), joints.device)
        moves = to_device(parameters, joints.device) * shown  # (N, T, V, A)
        bones = (moves - moves.index_select(2, parents)) * shown * shown.index_select(2, parents)
        return torch.cat((joints[..., :axes] + moves, joints[..., axes : 2 * axes] + bones, joints[..., 2 * axes :]), 3)
