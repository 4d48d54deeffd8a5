"""Recipes of VICReg pretraining."""

from __future__ import annotations

import dataclasses

from bonestrap.augment import ROTATED, ClipConfig, Shear, Smooth
from bonestrap.encoders import STGCNConfig
from bonestrap.methods import VICRegConfig
from bonestrap.optim import SGD, AdamW, Schedule
from bonestrap.recipe import Recipe


def vicreg() -> Recipe:
    """Some hundreds to some thousands of recordings, without labels: no collapse in short runs.

    docs/results/nw_ucla.md has its results, beside BYOL's.
    """
    view = (*ROTATED, Smooth(), Shear(limit=0.3))
    return Recipe(
        split="cross-subject",
        clip=ClipConfig(frames=16, fit=True),
        encoder=STGCNConfig(width=0.25),
        method=VICRegConfig(view1=view, view2=view),
        optimizer=AdamW(learning_rate=2e-3),
        schedule=Schedule(epochs=150, batch=64, group=64),
    )


def own() -> Recipe:
    """Your own recordings, some dozens to some thousands: `vicreg` for recordings of any length.

    Trains on the training side of the recordings' own split; --split all trains on everything. The probe shows whether
    it learns and when it has trained long enough; docs/data.md has the three commands.
    """
    recipe = vicreg()
    return dataclasses.replace(
        recipe,
        split="split",
        clip=dataclasses.replace(recipe.clip, frames=32),
        schedule=dataclasses.replace(recipe.schedule, epochs=200),
    )


def demo() -> Recipe:
    """What `make demo` pretrains with: VICReg on synthetic people, for two workers, 1,200 steps of SGD.

    .17 device-hours on a CPU core; docs/demo.md has its results.
    """
    recipe = vicreg()
    return dataclasses.replace(
        recipe,
        clip=dataclasses.replace(recipe.clip, own_pose=True),
        optimizer=SGD(learning_rate=0.05),
        schedule=dataclasses.replace(recipe.schedule, epochs=200, group=32),
    )
