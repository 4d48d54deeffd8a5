"""ST-GCN's settings. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Literal

from bonestrap.bounds import WIDTH, Bounds
from bonestrap.encoders.config import EncoderConfig
from bonestrap.options import option

if TYPE_CHECKING:
    from bonestrap.augment import ClipConfig
    from bonestrap.encoders.stgcn.network import STGCN
    from bonestrap.layout import Layout


@dataclasses.dataclass(frozen=True, kw_only=True)
class STGCNConfig(EncoderConfig):
    """ST-GCN as published: ten blocks, temporal kernel 9, three spatial partitions."""

    kind: ClassVar[str] = "stgcn"
    width: float = option(1.0, "multiplies every layer's channels; 1 is the published network", WIDTH)
    dropout: float = option(0.0, "probability of zeroing a block's temporal output", Bounds(0, 1, below=True))

    partitions: Literal["distance", "one-hop"] = option(
        "distance",
        "how neighbours are told apart: by their distance to the body's centre, as published; or one-hop, as the "
        "published code and its successors do, where distances beyond one bone are all the same",
    )

    def build(self, layout: Layout, clip: ClipConfig) -> STGCN:
        """ST-GCN takes clips of any length."""
        from bonestrap.encoders.stgcn.network import STGCN

        return STGCN(self, layout, clip.channels(layout))

    @property
    def relative_cost(self) -> float:
        """Moliner et al., section 4.2, state 64 V100-hours at width 1 and 184 at width 2."""
        return float(self.width**1.52)

    @property
    def label(self) -> str:
        return f"ST-GCN {self.width:g}x"
