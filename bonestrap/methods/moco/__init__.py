"""Settings of MoCo tuning. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from bonestrap.bounds import WIDE, Bounds
from bonestrap.methods.config import Task
from bonestrap.methods.tuning import QUEUE, TuningConfig, check_queue
from bonestrap.options import option

if TYPE_CHECKING:
    from bonestrap.encoders.encoder import Encoder
    from bonestrap.methods.moco.method import MoCo


@dataclasses.dataclass(frozen=True, kw_only=True)
class MoCoConfig(TuningConfig):
    """MoCo in place of nearest neighbours (Mehraban et al., Tables 6 and 8)."""

    kind: ClassVar[str] = "moco"
    projection: int = option(128, "dimensions that are compared", Bounds(1, WIDE))
    queue: int = option(32_768, "past keys that a query is compared with", QUEUE)
    temperature: float = option(0.07, "of the softmax over similarities", Bounds(1e-3, 1e3))
    momentum: float = option(0.999, "momentum of the key network", Bounds(0, 1))

    def build(self, encoder: Encoder, task: Task) -> MoCo:
        from bonestrap.methods.moco.method import MoCo

        check_queue(self.queue, task)
        return MoCo(encoder, self, task)

    @property
    def label(self) -> str:
        return "MoCo tuning"
