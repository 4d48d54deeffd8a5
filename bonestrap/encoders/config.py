"""What a recipe, a command line and a model file know of an encoder. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from bonestrap.bounds import Bounded

if TYPE_CHECKING:
    from bonestrap.augment import ClipConfig
    from bonestrap.encoders.encoder import Encoder
    from bonestrap.layout import Layout


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig(Bounded):
    """The settings of an encoder, which build it. Derive a frozen keyword-only dataclass from this."""

    kind: ClassVar[str] = ""  # names the class in files and on command lines; empty: package.module:Name

    def build(self, layout: Layout, clip: ClipConfig) -> Encoder:
        """An encoder with random weights for clips like these, of `clip.channels(layout)` numbers a joint."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """What a table calls an encoder of these settings."""
        return type(self).__name__.removesuffix("Config")

    @property
    def relative_cost(self) -> float | None:
        """Device-hours of training, beside those of ST-GCN as published, for estimates alone; None: not known."""
        return 1.0

    @staticmethod
    def kinds() -> Mapping[str, type[EncoderConfig]]:
        """The encoders that come with Bonestrap."""
        from bonestrap.encoders import ENCODERS

        return ENCODERS
