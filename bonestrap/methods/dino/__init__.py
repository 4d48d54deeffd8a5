"""Settings of DINO tuning. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from bonestrap.bounds import WIDE, Bounds
from bonestrap.methods.config import Task
from bonestrap.methods.tuning import TuningConfig
from bonestrap.options import option

if TYPE_CHECKING:
    from bonestrap.encoders.encoder import Encoder
    from bonestrap.methods.dino.method import DINO

TEMPERATURE = Bounds(1e-3, 1e3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DINOConfig(TuningConfig):
    """DINO in place of nearest neighbours (Mehraban et al., Tables 6 and 10): two global views, no local ones."""

    kind: ClassVar[str] = "dino"
    projection: int = option(256, "dimensions in which prototypes lie", Bounds(1, WIDE))
    prototypes: int = option(1024, "soft classes that student and teacher assign clips to", Bounds(2, WIDE))
    student_temperature: float = option(0.1, "of the student's softmax", TEMPERATURE)
    teacher_temperature: float = option(0.04, "of the teacher's assignments", TEMPERATURE)
    momentum: float = option(0.996, "initial momentum of the teacher; rises to 1 along a cosine", Bounds(0, 1))
    koleo: float = option(0.1, "weight of the regulariser that spreads features", Bounds(0, 1e3))

    def build(self, encoder: Encoder, task: Task) -> DINO:
        from bonestrap.methods.dino.method import DINO

        return DINO(encoder, self, task)

    @property
    def label(self) -> str:
        return "DINO tuning"
