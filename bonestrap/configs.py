"""What can be set of clips, augmentations, encoders and methods, without the networks that read it.

A command line needs names, defaults and help alone, so nothing here imports torch: `--help` would take seconds. Each
class is also a name of the module that reads it, such as `bonestrap.encoders.stgcn.STGCNConfig`.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from bonestrap.bounds import FRAMES, WIDE, WIDTH, Bounded, Bounds


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipConfig(Bounded):
    """How a recording of any length becomes a clip of T frames."""

    frames: int = dataclasses.field(default=150, metadata={"help": "frames of a clip, T", "bounds": Bounds(2, FRAMES)})
    fit: bool = dataclasses.field(
        default=False,
        metadata={"help": "stretch every recording to T frames; otherwise crop long ones and repeat short ones"},
    )

    own_pose: bool = dataclasses.field(
        default=False,
        metadata={"help": "centre and orient every body by its own first frame, not by the main body's"},
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig(Bounded):
    """Which augmentations are drawn, and from what range. The defaults change nothing."""

    resample: tuple[float, float] = dataclasses.field(
        default=(1.0, 1.0),
        metadata={"help": "range of the playback rate; above 1 is faster", "bounds": Bounds(1e-3, 1e3)},
    )
    crop: bool = dataclasses.field(default=False, metadata={"help": "crop long recordings anywhere, not in the middle"})
    smooth: float = dataclasses.field(
        default=0.0,
        metadata={"help": "probability of a Savitzky-Golay filter (order 2, window 15)", "bounds": Bounds(0, 1)},
    )
    shear: float = dataclasses.field(
        default=0.0, metadata={"help": "shear factors are drawn from [-shear, shear]", "bounds": Bounds(0, 100)}
    )
    shift: bool = dataclasses.field(default=False, metadata={"help": "shift cyclically by 0 to T frames"})
    drop: float = dataclasses.field(
        default=0.0, metadata={"help": "probability of zeroing the left or right limbs", "bounds": Bounds(0, 1)}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resample[0] > self.resample[1]:
            raise ValueError(f"resample must be an ascending range, got {self.resample}")


PLAIN = AugmentConfig()
# T2 of section 3.3: random resampling only. Cropping anywhere is ours: the paper does not say where it crops.
CONSERVATIVE = AugmentConfig(resample=(0.7, 1.3), crop=True)
# T1 of section 3.3 with the values of section 4.2.
AGGRESSIVE = dataclasses.replace(CONSERVATIVE, smooth=0.5, shear=1.0, shift=True, drop=0.5)


@dataclasses.dataclass(frozen=True, kw_only=True)
class STGCNConfig(Bounded):
    """ST-GCN as published: ten blocks, temporal kernel 9, three spatial partitions."""

    width: float = dataclasses.field(
        default=1.0, metadata={"help": "multiplies every layer's channels; 1 is the published network", "bounds": WIDTH}
    )
    dropout: float = dataclasses.field(
        default=0.0,
        metadata={"help": "probability of zeroing a block's temporal output", "bounds": Bounds(0, 1, below=True)},
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BYOLConfig(Bounded):
    """What document 001 states (momentum) and what it leaves open (the heads, alpha)."""

    hidden: int = dataclasses.field(
        default=1024, metadata={"help": "hidden units of projector and predictor", "bounds": Bounds(1, WIDE)}
    )
    projection: int = dataclasses.field(
        default=256, metadata={"help": "dimensions that the predictor has to predict", "bounds": Bounds(1, WIDE)}
    )
    norm: bool = dataclasses.field(default=False, metadata={"help": "batch-normalise the projector's output as well"})
    momentum: float = dataclasses.field(
        default=0.99, metadata={"help": "initial lambda of Eq. 3; rises to 1 along a cosine", "bounds": Bounds(0, 1)}
    )
    alpha: float = dataclasses.field(
        default=0.9,
        metadata={"help": "alpha of momentum batch normalisation, Eq. 4", "bounds": Bounds(0, 1, below=True)},
    )
    statistics: Literal["online", "target"] = dataclasses.field(
        default="online", metadata={"help": "whose batches the target's statistics follow: online (Eq. 4), or its own"}
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SupervisedConfig(Bounded):
    """What shapes the loss when labels are at hand."""

    smoothing: float = dataclasses.field(
        default=0.0, metadata={"help": "label smoothing", "bounds": Bounds(0, 1, below=True)}
    )
    alpha: float = dataclasses.field(
        default=0.9, metadata={"help": "momentum of the moving batch statistics", "bounds": Bounds(0, 1, below=True)}
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillConfig(Bounded):
    """What shapes the distillation loss."""

    temperature: float = dataclasses.field(
        default=1.0, metadata={"help": "tau of Eq. 6; higher is softer", "bounds": Bounds(1e-3, 1e3)}
    )
    alpha: float = dataclasses.field(
        default=0.9, metadata={"help": "momentum of the moving batch statistics", "bounds": Bounds(0, 1, below=True)}
    )
