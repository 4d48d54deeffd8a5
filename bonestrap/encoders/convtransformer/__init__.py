"""Settings of the convolutional transformer. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Literal

from bonestrap.bounds import SEED, WIDE, Bounds
from bonestrap.encoders.config import EncoderConfig
from bonestrap.options import option

if TYPE_CHECKING:
    from bonestrap.augment import ClipConfig
    from bonestrap.encoders.convtransformer.network import ConvTransformer
    from bonestrap.layout import Layout


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvTransformerConfig(EncoderConfig):
    """The encoder of ReL-SAR (Naimi et al. 2024): Selection-Permutation, two convolutions, six post-norm blocks."""

    kind: ClassVar[str] = "convtransformer"
    width: int = option(192, "channels of convolutions and tokens", Bounds(1, WIDE))
    depth: int = option(6, "blocks", Bounds(1, 256))
    heads: int = option(3, "attention heads; they divide the width", Bounds(1, 256))
    outputs: int = option(256, "features of a clip", Bounds(1, WIDE))
    dropout: float = option(0.3, "probability of zeroing a block's outputs", Bounds(0, 1, below=True))
    joints: Literal["selected", "all"] = option(
        "selected", "what is seen of a body: the points of Selection-Permutation, or all joints"
    )
    permutation: int | None = option(
        None, "seed of a random order of the points; none: by body parts, or the layout's order", Bounds(0, SEED)
    )
    pose: Literal["frame", "clip"] = option(
        "frame", "every frame is centred and scaled, as published; or the clip alone, so that ways through space stay"
    )
    velocity: bool = option(True, "the way from the previous frame beside every position")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise ValueError(f"heads must divide the width of {self.width}, got {self.heads}")

    def build(self, layout: Layout, clip: ClipConfig) -> ConvTransformer:
        """Raises ValueError where the layout has no joints for the selection."""
        from bonestrap.encoders.convtransformer.network import ConvTransformer

        return ConvTransformer(self, layout, clip.frames)

    @property
    def relative_cost(self) -> float:
        """2.7 million multiplications a frame as published, of ST-GCN's 27 million (25 joints, one body)."""
        return 0.1 * (self.width / 192) ** 2 * self.depth / 6

    @property
    def label(self) -> str:
        return f"convolutional transformer {self.width}x{self.depth}"
