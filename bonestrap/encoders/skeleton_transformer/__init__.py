"""Settings of the skeleton transformer. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Literal

from bonestrap.bounds import FRAMES, WIDE, WIDTH, Bounds
from bonestrap.encoders.config import EncoderConfig
from bonestrap.options import option

if TYPE_CHECKING:
    from bonestrap.augment import ClipConfig
    from bonestrap.encoders.skeleton_transformer.network import SkeletonTransformer
    from bonestrap.layout import Layout

CHANNELS = 256  # at width 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class SkeletonTransformerConfig(EncoderConfig):
    """The encoder of MAMP and STARS (Mehraban et al., section 4.2): a plain ViT on patches of 4 frames of one joint."""

    kind: ClassVar[str] = "skeleton_transformer"
    width: float = option(1.0, "multiplies the 256 channels of the published network", WIDTH)
    depth: int = option(8, "blocks", Bounds(1, 256))
    heads: int = option(8, "attention heads; the channels are rounded to a multiple of them", Bounds(1, 256))
    patch: int = option(4, "frames of a token; divides the clip's", Bounds(1, FRAMES))
    channels: Literal["joints", "all"] = option(
        "joints", "what is seen: joints as published, or all that ST-GCN sees, bones and confidences too"
    )
    drop_path: float = option(
        0.0,
        "probability that a body skips the last block's branches; rises from 0 at the first",
        Bounds(0, 1, below=True),
    )
    pool: Literal["mean", "joint"] = option(
        "mean", "features: the mean of all tokens, or of each joint's tokens side by side, as for fine-tuning"
    )

    def build(self, layout: Layout, clip: ClipConfig) -> SkeletonTransformer:
        """Raises ValueError where the patch does not divide the clip."""
        from bonestrap.encoders.skeleton_transformer.network import SkeletonTransformer

        if clip.frames % self.patch:
            nearest = max(1, round(clip.frames / self.patch)) * self.patch
            raise ValueError(
                f"clips of {clip.frames} frames are not divisible into patches of {self.patch}: "
                f"give --clip.frames {nearest} or another --encoder.patch"
            )
        return SkeletonTransformer(self, layout, clip)

    @property
    def units(self) -> int:
        """Channels of a token."""
        return max(1, min(WIDE, round(CHANNELS * self.width) // self.heads)) * self.heads

    @property
    def relative_cost(self) -> float:
        """Beside the published depth and width."""
        return float(self.width**2 * self.depth / 8)

    @property
    def label(self) -> str:
        return f"transformer {self.width:g}x{self.depth}"
