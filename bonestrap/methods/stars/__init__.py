"""Settings of STARS. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from bonestrap.bounds import Bounds
from bonestrap.methods.config import Task
from bonestrap.methods.tuning import QUEUE, TuningConfig, check_queue
from bonestrap.options import option

if TYPE_CHECKING:
    from bonestrap.encoders.encoder import Encoder
    from bonestrap.methods.stars.method import STARS


@dataclasses.dataclass(frozen=True, kw_only=True)
class STARSConfig(TuningConfig):
    """Nearest-neighbour contrastive tuning as Mehraban et al. state it (section 3.3, algorithm 1)."""

    kind: ClassVar[str] = "stars"
    queue: int = option(32_768, "past projections among which neighbours are sought", QUEUE)
    temperature: float = option(0.07, "tau 2 of Eq. 6", Bounds(1e-3, 1e3))
    pair: bool = option(False, "two views of each clip: the neighbour of one is to be predicted from the other")

    def build(self, encoder: Encoder, task: Task) -> STARS:
        from bonestrap.methods.stars.method import STARS

        check_queue(self.queue, task)
        return STARS(encoder, self, task)

    @property
    def label(self) -> str:
        return "STARS"
