"""Operations that hide joints."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from bonestrap.augment.operation import FRACTION, Draw, Operation, Random
from bonestrap.options import option


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
class MaskJoints(Operation):
    """Zero joints at random, each on its own."""

    kind: ClassVar[str] = "mask"
    probability: float = option(0.1, "of zeroing each joint of a clip", FRACTION)

    def sample(self, draw: Draw, random: Random) -> Draw:
        return draw._replace(keep=draw.keep & (random.uniform(len(random.layout.joints)) >= self.probability))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskPart(Operation):
    """Zero all joints of one part of the body, such as an arm or the trunk; all parts are equally likely."""

    kind: ClassVar[str] = "part"
    probability: float = option(0.5, "of zeroing a part of a clip", FRACTION)

    def sample(self, draw: Draw, random: Random) -> Draw:
        import torch

        chosen, which = random.uniform() < self.probability, random.uniform()
        layout = random.layout
        parts = torch.zeros(len(layout.parts), len(layout.joints), dtype=torch.bool)
        for row, joints in zip(parts, layout.parts.values(), strict=True):
            row[list(joints)] = True
        masked = parts[(which * len(parts)).long()] & chosen[:, None]
        return draw._replace(keep=draw.keep & ~masked)
