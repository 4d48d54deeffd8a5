"""What methods that tune a trained encoder have in common: their settings. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from bonestrap.augment import Mirror, Rotate, Shear, View, Window
from bonestrap.bounds import WIDE, Bounds
from bonestrap.methods.config import MethodConfig, Task
from bonestrap.options import option

# Windows are a part of the input, not an augmentation (Mehraban et al., section 4.2). The others, those of Table 7, are
# drawn and change nothing.
UNALTERED: View = (Window(), Mirror(probability=0.0), Rotate(yaw=0.0, pitch=0.0, roll=0.0), Shear(limit=0.0))
QUEUE = Bounds(1, 2**24)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuningConfig(MethodConfig):
    """The second stage of Mehraban et al. (section 3.3), whatever the loss: heads, and a part of the encoder."""

    tunes: ClassVar[bool] = True
    goes_with: ClassVar[Mapping[str, str]] = {"encoder": "skeleton_transformer", "optimizer": "adamw"}
    tuned: float = option(
        0.5, "fraction of the encoder's layers, the last ones, that move; 0: the heads alone", Bounds(0, 1)
    )
    hidden: int = option(4096, "hidden units of the predictor", Bounds(1, WIDE))
    alpha: float = option(0.9, "momentum of the heads' moving batch statistics", Bounds(0, 1, below=True))
    view: View = UNALTERED

    @property
    def views(self) -> Mapping[str, View]:
        return {"view": self.view}


def check_queue(size: int, task: Task) -> None:
    """ValueError where a queue does not hold one step's clips."""
    if size < task.batch:
        raise ValueError(
            f"queue of {size} is smaller than the batch of {task.batch}: give --method.queue {task.batch} or more"
        )
