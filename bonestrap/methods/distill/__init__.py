"""Settings of distillation. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from bonestrap.augment import CONSERVATIVE, View
from bonestrap.bounds import Bounds
from bonestrap.methods.config import MethodConfig, Task
from bonestrap.options import option

if TYPE_CHECKING:
    from bonestrap.encoders.encoder import Encoder
    from bonestrap.methods.distill.method import Distill


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillConfig(MethodConfig):
    """The student learns a teacher's predictions; `Task.source` is the teacher."""

    kind: ClassVar[str] = "distill"
    temperature: float = option(1.0, "tau of Eq. 6; higher is softer", Bounds(1e-3, 1e3))
    alpha: float = option(0.9, "momentum of the moving batch statistics", Bounds(0, 1, below=True))
    view: View = CONSERVATIVE

    @property
    def views(self) -> Mapping[str, View]:
        return {"view": self.view}

    def build(self, encoder: Encoder, task: Task) -> Distill:
        from bonestrap.augment.pipeline import Pipeline
        from bonestrap.methods.distill.method import Distill
        from bonestrap.methods.supervised.method import Classifier

        teacher = task.source
        if teacher is None or teacher.head is None:
            raise ValueError("distillation needs a teacher with a classifier")
        return Distill(
            Classifier(teacher.encoder, teacher.head),
            Classifier.new(encoder, len(teacher.classes)),
            self,
            teacher_view=Pipeline(task.layout, teacher.description.clip, self.view),
            view=Pipeline(task.layout, task.clip, self.view),
        )

    @property
    def label(self) -> str:
        return "distillation"
