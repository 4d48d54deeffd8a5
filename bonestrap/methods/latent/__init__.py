"""Settings of masked prediction of latent targets. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from bonestrap.bounds import Bounds
from bonestrap.methods.config import Task
from bonestrap.methods.masking import MaskedConfig
from bonestrap.options import option

if TYPE_CHECKING:
    from bonestrap.encoders.encoder import Encoder
    from bonestrap.methods.latent.method import Latent


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentConfig(MaskedConfig):
    """What is predicted of a masked token is a moving average's representation of it, not its motion."""

    kind: ClassVar[str] = "latent"
    decoder: int = option(
        1, "blocks of the decoder; 0: masked tokens go through the encoder itself, as in data2vec", Bounds(0, 64)
    )
    momentum: float = option(0.996, "initial momentum of the teacher; rises to 1 along a cosine", Bounds(0, 1))

    def build(self, encoder: Encoder, task: Task) -> Latent:
        from bonestrap.augment.pipeline import Pipeline
        from bonestrap.methods.latent.method import Latent

        tokens = self.token_encoder(encoder, task)
        return Latent(tokens, self, view=Pipeline(task.layout, task.clip, self.view), steps=task.steps)

    @property
    def label(self) -> str:
        return "latent targets"
