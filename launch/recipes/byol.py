"""Recipes of BYOL pretraining. Each docstring states what a run costs and what accuracy it reached."""

from __future__ import annotations

import dataclasses

from bonestrap.augment import ROTATED, ClipConfig, Shear, Smooth
from bonestrap.encoders import STGCNConfig
from bonestrap.methods import BYOLConfig
from bonestrap.optim import SGD, Schedule
from bonestrap.recipe import Recipe

# For batches of some dozens and some thousands of steps; docs/results/byol.md has what each of these is worth.
SMALL = BYOLConfig(projection=128, norm=True, statistics="target", predictor_rate=10.0)


def ntu60() -> Recipe:
    """NTU-60 as Moliner et al. (2022) train it: ST-GCN 1x, 1600 epochs, batch 512 in groups of 128.

    The paper states 16 hours on four V100; not run by us.
    """
    return Recipe(split="cross-subject")


def nw_ucla() -> Recipe:
    """NW-UCLA, 20 joints, three cameras: trains on a laptop.

    Linear accuracy 58 % on cross-view, after half an hour on one busy CPU core; docs/results/byol.md has the rest. With
    --split cross-subject, give --schedule.epochs 700 for about as many steps.
    """
    return Recipe(
        split="cross-view",
        clip=ClipConfig(frames=16, fit=True),
        encoder=STGCNConfig(width=0.5),
        method=SMALL,
        optimizer=SGD(learning_rate=0.03),
        schedule=Schedule(epochs=400, batch=64, group=64),
    )


def byol_rotated() -> Recipe:
    """BYOL on the views, encoder and clips of recipe vicreg, to compare the two."""
    view = (*ROTATED, Smooth(), Shear(limit=0.3))
    return Recipe(
        split="cross-subject",
        clip=ClipConfig(frames=16, fit=True),
        encoder=STGCNConfig(width=0.25),
        method=dataclasses.replace(SMALL, view1=view, view2=view),
        optimizer=SGD(learning_rate=0.03),
        schedule=Schedule(epochs=150, batch=64, group=64),
    )


def byol_own() -> Recipe:
    """BYOL on your own recordings: the settings of NW-UCLA. `own`, which is VICReg, learns more in short runs."""
    return Recipe(
        split="split",
        clip=ClipConfig(frames=32, fit=True),
        encoder=STGCNConfig(width=0.25),
        method=SMALL,
        optimizer=SGD(learning_rate=0.02),
        schedule=Schedule(epochs=200, batch=64, group=64, warmup=60),
    )


def byol_small() -> Recipe:
    """Synthetic people with BYOL, small enough for two CPU cores: what the demo was before it was VICReg.

    docs/results/byol.md has its results. It was called `demo` in the previous version.
    """
    return Recipe(
        split="cross-subject",
        clip=ClipConfig(frames=16, fit=True, own_pose=True),
        encoder=STGCNConfig(width=0.25),
        method=SMALL,
        optimizer=SGD(learning_rate=0.02),
        schedule=Schedule(epochs=200, batch=64, group=32, warmup=60),
    )
