"""VICReg's settings. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from bonestrap.augment import AGGRESSIVE, View
from bonestrap.bounds import WIDE, Bounds
from bonestrap.methods.config import WEIGHT, Input, MethodConfig, Task
from bonestrap.options import option

if TYPE_CHECKING:
    from bonestrap.encoders.encoder import Encoder
    from bonestrap.methods.vicreg.method import VICReg


@dataclasses.dataclass(frozen=True, kw_only=True)
class VICRegConfig(MethodConfig):
    """Variance, invariance and covariance of embeddings (Bardes et al., 2022), on skeletons.

    The weights are the paper's, 25, 25 and 1, divided by 25: learning rates then have the size that they have for BYOL.
    """

    kind: ClassVar[str] = "vicreg"
    hidden: int = option(1024, "hidden units of the projector", Bounds(1, WIDE))
    projection: int = option(256, "dimensions of the embeddings that are compared", Bounds(1, WIDE))
    invariance: float = option(1.0, "weight of the squared distance of both views, per dimension", WEIGHT)
    variance: float = option(1.0, "weight of the term that keeps every dimension's std at one or above", WEIGHT)
    covariance: float = option(0.04, "weight of the term that decorrelates dimensions", WEIGHT)
    alpha: float = option(0.9, "momentum of the moving batch statistics", Bounds(0, 1, below=True))
    multiview: bool = option(True, "pair the cameras of a performance; otherwise a recording with itself")
    view1: View = AGGRESSIVE
    view2: View = AGGRESSIVE

    @property
    def input(self) -> Input:
        return Input(unit="performance" if self.multiview else "view", pairs=True)

    @property
    def views(self) -> Mapping[str, View]:
        return {"view 1": self.view1, "view 2": self.view2}

    def build(self, encoder: Encoder, task: Task) -> VICReg:
        from bonestrap.augment.pipeline import Pipeline
        from bonestrap.methods.vicreg.method import VICReg

        view1, view2 = (Pipeline(task.layout, task.clip, view) for view in (self.view1, self.view2))
        return VICReg(encoder, self, view1=view1, view2=view2)

    @property
    def label(self) -> str:
        return "VICReg"
