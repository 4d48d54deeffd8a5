"""Settings of learning from labels. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from bonestrap.augment import CONSERVATIVE, View
from bonestrap.bounds import Bounds
from bonestrap.methods.config import Input, MethodConfig, Task
from bonestrap.options import option

if TYPE_CHECKING:
    from bonestrap.encoders.encoder import Encoder
    from bonestrap.methods.supervised.method import Supervised


@dataclasses.dataclass(frozen=True, kw_only=True)
class SupervisedConfig(MethodConfig):
    """Cross-entropy on labels: from random weights, or fine-tuning a pretrained encoder."""

    kind: ClassVar[str] = "supervised"
    smoothing: float = option(0.0, "label smoothing", Bounds(0, 1, below=True))
    alpha: float = option(0.9, "momentum of the moving batch statistics", Bounds(0, 1, below=True))
    statistics: Literal["batch", "kept"] = option(
        "batch", "what the encoder normalises with: each batch, or the moving statistics that it comes with, for good"
    )
    encoder_rate: float = option(1.0, "factor of the encoder's learning rate", Bounds(0, 1e3))
    frozen: float = option(0.0, "fraction of the steps during which the encoder is frozen", Bounds(0, 1))
    head: Literal["linear", "perceptron"] = option(
        "linear", "classifier on the features: a linear layer, or one of 2,048 hidden units with dropout, as MAMP's"
    )
    freeze: tuple[str, ...] = option((), "layers of the encoder that never move")
    view: View = CONSERVATIVE

    @property
    def input(self) -> Input:
        return Input(labels=True)

    @property
    def views(self) -> Mapping[str, View]:
        return {"view": self.view}

    def build(self, encoder: Encoder, task: Task) -> Supervised:
        from bonestrap.augment.pipeline import Pipeline
        from bonestrap.methods.supervised.method import Classifier, Supervised, freeze

        freeze(encoder, self.freeze)
        return Supervised(
            Classifier.new(encoder, task.classes, self.head),
            self,
            view=Pipeline(task.layout, task.clip, self.view),
            frozen=round(self.frozen * task.steps),
        )

    @property
    def label(self) -> str:
        return "supervised"
