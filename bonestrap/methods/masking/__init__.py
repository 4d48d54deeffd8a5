"""What methods that hide tokens have in common: their settings. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from bonestrap.augment import Rotate, View, Window
from bonestrap.bounds import Bounds
from bonestrap.methods.config import MethodConfig, Task
from bonestrap.options import option

if TYPE_CHECKING:
    from bonestrap.encoders.encoder import Encoder, TokenEncoder

TURN = math.degrees(0.3)
# A window of half to all of the recording, resized to the clip where clips fit (Mehraban et al., section 4.2), and
# turned by up to .3 rad about each axis, as Mao et al. train. Their code's windows have 64 frames or more.
WINDOWED: View = (Window(), Rotate(yaw=TURN, pitch=TURN, roll=TURN))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedConfig(MethodConfig):
    """Which tokens are hidden, and what predicts something of them (Mehraban et al., section 3.2)."""

    goes_with: ClassVar[Mapping[str, str]] = {"encoder": "skeleton_transformer", "optimizer": "adamw"}
    mask_ratio: float = option(0.9, "fraction of the tokens that is masked", Bounds(0, 1, above=True, below=True))
    tau: float = option(0.8, "temperature of the probability of being masked, Eq. 2", Bounds(1e-3, 1e3))
    intensity: Literal["sum", "relative"] = option(
        "sum", "motion intensity: summed over a patch (Eq. 2), or relative to the body's greatest (public code)"
    )
    decoder: int = option(5, "blocks of the decoder", Bounds(0, 64))
    decoder_width: float = option(
        1.0, "channels of the decoder, as a multiple of the encoder's", Bounds(0, 16, above=True)
    )
    view: View = WINDOWED

    @property
    def views(self) -> Mapping[str, View]:
        return {"view": self.view}

    def masked(self, tokens: int) -> int:
        """How many of a body's tokens are masked. Raises ValueError where none or all would be."""
        count = round(tokens * self.mask_ratio)
        if not 0 < count < tokens:
            raise ValueError(
                f"mask_ratio {self.mask_ratio:g} masks {count} of a body's {tokens} tokens: some must be masked and "
                "some visible; give another --method.mask-ratio, or longer clips"
            )
        return count

    def token_encoder(self, encoder: Encoder, task: Task) -> TokenEncoder:
        """The encoder as one of tokens, of two segments or more. Raises ValueError where it is none."""
        from bonestrap.encoders.encoder import TokenEncoder

        if not isinstance(encoder, TokenEncoder):
            raise ValueError(
                f"{self.label} masks tokens, which {type(encoder).__name__} has none of: "
                "give --encoder skeleton_transformer or another encoder of tokens"
            )
        if encoder.grid[0] < 2:
            raise ValueError(
                f"a clip of {task.clip.frames} frames is one segment of {encoder.patch}, and motion needs two: "
                "give --clip.frames more"
            )
        return encoder
