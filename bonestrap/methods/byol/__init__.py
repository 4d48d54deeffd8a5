"""BYOL's settings. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from bonestrap.augment import AGGRESSIVE, CONSERVATIVE, View
from bonestrap.bounds import WIDE, Bounds
from bonestrap.methods.config import WEIGHT, Input, MethodConfig, Task
from bonestrap.options import option

if TYPE_CHECKING:
    from bonestrap.encoders.encoder import Encoder
    from bonestrap.methods.byol.method import BYOL


@dataclasses.dataclass(frozen=True, kw_only=True)
class BYOLConfig(MethodConfig):
    """What Moliner et al. state (views, momentum) and what they leave open (the heads, alpha)."""

    kind: ClassVar[str] = "byol"
    hidden: int = option(1024, "hidden units of projector and predictor", Bounds(1, WIDE))
    projection: int = option(256, "dimensions that the predictor has to predict", Bounds(1, WIDE))
    norm: bool = option(False, "batch-normalise the projector's output as well")
    momentum: float = option(0.99, "initial lambda of Eq. 3; rises to 1 along a cosine", Bounds(0, 1))
    alpha: float = option(0.9, "alpha of momentum batch normalisation, Eq. 4", Bounds(0, 1, below=True))
    statistics: Literal["online", "target"] = option(
        "online", "whose batches the target's statistics follow: online (Eq. 4), or its own"
    )
    predictor_rate: float = option(1.0, "factor of the predictor's learning rate", Bounds(0, 1e3))
    variance: float = option(0.0, "weight of VICReg's variance term on the online projections", WEIGHT)
    covariance: float = option(0.0, "weight of VICReg's covariance term on the online projections", WEIGHT)
    multiview: bool = option(True, "pair the cameras of a performance; otherwise a recording with itself")
    view1: View = AGGRESSIVE
    view2: View = CONSERVATIVE

    @property
    def input(self) -> Input:
        return Input(unit="performance" if self.multiview else "view", pairs=True)

    @property
    def views(self) -> Mapping[str, View]:
        return {"view 1": self.view1, "view 2": self.view2}

    def build(self, encoder: Encoder, task: Task) -> BYOL:
        from bonestrap.augment.pipeline import Pipeline
        from bonestrap.methods.byol.method import BYOL

        view1, view2 = (Pipeline(task.layout, task.clip, view) for view in (self.view1, self.view2))
        return BYOL(encoder, self, view1=view1, view2=view2, steps=task.steps)

    @property
    def label(self) -> str:
        return "BYOL"
