"""Settings of MAMP. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Literal

from bonestrap.methods.config import Task
from bonestrap.methods.masking import MaskedConfig
from bonestrap.options import option

if TYPE_CHECKING:
    from bonestrap.encoders.encoder import Encoder
    from bonestrap.methods.mamp.method import MAMP


@dataclasses.dataclass(frozen=True, kw_only=True)
class MAMPConfig(MaskedConfig):
    """Masked motion prediction as Mehraban et al. state it (section 3.2); docs/methods.md has the code's values."""

    kind: ClassVar[str] = "mamp"
    target: Literal["stride", "forward"] = option(
        "stride", "motion to predict: over a segment (Eq. 1, m = l), or from each frame to the next (public code)"
    )
    normalise: bool = option(True, "normalise each token's target by its own mean and variance")

    def build(self, encoder: Encoder, task: Task) -> MAMP:
        from bonestrap.augment.pipeline import Pipeline
        from bonestrap.methods.mamp.method import MAMP

        tokens = self.token_encoder(encoder, task)
        return MAMP(tokens, self, view=Pipeline(task.layout, task.clip, self.view))

    @property
    def label(self) -> str:
        return "MAMP"
