"""What a pretraining recipe consists of. Importing this needs no torch."""

from __future__ import annotations

import dataclasses

from bonestrap.augment import ClipConfig
from bonestrap.encoders import EncoderConfig, STGCNConfig
from bonestrap.methods import BYOLConfig, MethodConfig
from bonestrap.optim import SGD, OptimizerConfig, Schedule
from bonestrap.options import required


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that shapes the result of a pretraining run, beside the data and the seed."""

    split: str = required("whose training recordings are used")
    clip: ClipConfig = ClipConfig()
    encoder: EncoderConfig = STGCNConfig()
    method: MethodConfig = BYOLConfig()
    optimizer: OptimizerConfig = SGD()
    schedule: Schedule = Schedule()
