"""BYOL recipes: functions that return a recipe. The docstring states what a recipe costs and gave."""

from __future__ import annotations

from bonestrap.augment import ClipConfig
from bonestrap.encoders import STGCNConfig
from bonestrap.methods import BYOLConfig
from bonestrap.optim import SGD, Schedule
from bonestrap.recipe import Recipe

# For batches of some dozens and some thousands of steps; docs/results.md has what each of these is worth.
SMALL = BYOLConfig(projection=128, norm=True, statistics="target", predictor_rate=10.0)


def ntu60() -> Recipe:
    """NTU-60 as Moliner et al. (2023) train it: ST-GCN 1x, 1600 epochs, batch 512 in groups of 128.

    The paper states 16 hours on four V100; not run by us.
    """
    return Recipe(split="cross-subject")


def nw_ucla() -> Recipe:
    """NW-UCLA, 20 joints, three cameras: a laptop's data set.

    Linear accuracy 58 % on cross-view, after half an hour on one CPU core with programs beside it; docs/results.md has
    the rest. With --split cross-subject, give --schedule.epochs 700 for about as many steps.
    """
    return Recipe(
        split="cross-view",
        clip=ClipConfig(frames=16, fit=True),
        encoder=STGCNConfig(width=0.5),
        method=SMALL,
        optimizer=SGD(learning_rate=0.03),
        schedule=Schedule(epochs=400, batch=64, group=64),
    )


def own() -> Recipe:
    """Recordings of one's own, some dozens to some thousands: what did well with NW-UCLA, for clips of any length.

    Trains on what the recordings' own split lets train; --split all takes everything. How long it has to train, and
    whether it learns, the probe says: docs/data.md has the three commands.
    """
    return Recipe(
        split="split",
        clip=ClipConfig(frames=32, fit=True),
        encoder=STGCNConfig(width=0.25),
        method=SMALL,
        optimizer=SGD(learning_rate=0.02),
        schedule=Schedule(epochs=200, batch=64, group=64, warmup=60),
    )


def demo() -> Recipe:
    """Synthetic people, small enough for two CPU cores: the pretraining of `make demo`."""
    return Recipe(
        split="cross-subject",
        clip=ClipConfig(frames=16, fit=True, own_pose=True),
        encoder=STGCNConfig(width=0.25),
        method=SMALL,
        optimizer=SGD(learning_rate=0.02),
        schedule=Schedule(epochs=200, batch=64, group=32, warmup=60),
    )
