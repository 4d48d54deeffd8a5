"""Pretraining recipes: functions that return a configuration. The docstring states what a recipe costs and gave."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from bonestrap.augment import AGGRESSIVE, CONSERVATIVE, AugmentConfig, ClipConfig
from bonestrap.bounds import DECAY, EPOCHS, RATE, WIDE, Bounded, Bounds
from bonestrap.encoders.stgcn import STGCNConfig
from bonestrap.methods.byol import BYOLConfig
from launch.cli import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule(Bounded):
    """How long, how fast, and in what portions. The learning rate belongs to the batch as given: change both."""

    epochs: float = option(1600.0, "passes over the performances", EPOCHS)
    batch: int = option(512, "clips a step, all workers together", Bounds(1, WIDE))
    group: int = option(
        128, "clips normalised together; the result does not depend on the number of workers", Bounds(1, WIDE)
    )
    learning_rate: float = option(0.2, "peak, after the warm-up; falls along a cosine", RATE)
    warmup: float = option(10.0, "epochs of linear warm-up from 1e-6", Bounds(0, EPOCHS.most))
    predictor_rate: float = option(1.0, "the predictor's share of the learning rate", Bounds(0, 1e3))
    weight_decay: float = option(1e-4, "L2 penalty of SGD with momentum .9", DECAY)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup >= self.epochs:
            raise ValueError(f"warmup must be shorter than the {self.epochs:g} epochs, got {self.warmup:g}")
        if self.batch % self.group:
            raise ValueError(f"group must divide the batch of {self.batch}, got {self.group}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that shapes the result of a pretraining run, beside the data and the seed."""

    protocol: str = dataclasses.field(metadata={"help": "whose training recordings are used"})
    clip: ClipConfig = ClipConfig()
    encoder: STGCNConfig = STGCNConfig()
    method: BYOLConfig = BYOLConfig()
    view1: AugmentConfig = AGGRESSIVE
    view2: AugmentConfig = CONSERVATIVE
    multiview: bool = dataclasses.field(
        default=True, metadata={"help": "pair the cameras of a performance; otherwise a recording with itself"}
    )
    schedule: Schedule = Schedule()


# For batches of some dozens and some thousands of steps; docs/results.md has what each of these is worth.
SMALL = BYOLConfig(projection=128, norm=True, statistics="target")


def ntu60() -> Recipe:
    """NTU-60 as document 001 trains it: ST-GCN 1x, 1600 epochs, batch 512 in groups of 128.

    The paper states 16 hours on four V100; not run by us.
    """
    return Recipe(protocol="cross-subject")


def nw_ucla() -> Recipe:
    """NW-UCLA, 20 joints, three cameras: a laptop's data set.

    Linear accuracy 58 % on cross-view, after half an hour on one CPU core with programs beside it; docs/results.md has
    the rest. With --protocol cross-subject, give --schedule.epochs 700 for about as many steps.
    """
    return Recipe(
        protocol="cross-view",
        clip=ClipConfig(frames=16, fit=True),
        encoder=STGCNConfig(width=0.5),
        method=SMALL,
        schedule=Schedule(epochs=400, batch=64, group=64, learning_rate=0.03, predictor_rate=10.0),
    )


def own() -> Recipe:
    """Recordings of one's own, some dozens to some thousands: what did well with NW-UCLA, for clips of any length.

    Trains on what the recordings' own split lets train; --protocol all takes everything. How long it has to train, and
    whether it learns, the probe says: docs/data.md has the three commands.
    """
    return Recipe(
        protocol="split",
        clip=ClipConfig(frames=32, fit=True),
        encoder=STGCNConfig(width=0.25),
        method=SMALL,
        schedule=Schedule(epochs=200, batch=64, group=64, learning_rate=0.02, warmup=60, predictor_rate=10.0),
    )


def demo() -> Recipe:
    """Synthetic people, small enough for two CPU cores: the pretraining of `make demo`."""
    return Recipe(
        protocol="cross-subject",
        clip=ClipConfig(frames=16, fit=True, own_pose=True),
        encoder=STGCNConfig(width=0.25),
        method=SMALL,
        schedule=Schedule(epochs=200, batch=64, group=32, learning_rate=0.02, warmup=60, predictor_rate=10.0),
    )


RECIPES: dict[str, Callable[[], Recipe]] = {"ntu60": ntu60, "nw-ucla": nw_ucla, "own": own, "demo": demo}
