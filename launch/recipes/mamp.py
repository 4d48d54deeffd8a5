"""Recipes of masked prediction and of the tuning of its encoder: MAMP, latent targets, STARS."""

from __future__ import annotations

from bonestrap.augment import ClipConfig
from bonestrap.encoders import SkeletonTransformerConfig
from bonestrap.methods import LatentConfig, MAMPConfig, STARSConfig
from bonestrap.optim import AdamW, Schedule
from bonestrap.recipe import Recipe

LONG = ClipConfig(frames=120, fit=True)
SHORT = ClipConfig(frames=16, fit=True)
SMALL = SkeletonTransformerConfig(width=0.25, depth=4)


def mamp() -> Recipe:
    """NTU-60 as Mao et al. (2023) train MAMP: 400 epochs, batch 128, learning rate 1e-3 down to half of it.

    84.9 % linear accuracy on cross-subject is stated for it (STARS, Table 1); not run by us.
    """
    return Recipe(
        split="cross-subject",
        clip=LONG,
        encoder=SkeletonTransformerConfig(),
        method=MAMPConfig(),
        optimizer=AdamW(learning_rate=1e-3, weight_decay=0.05),
        schedule=Schedule(epochs=400, batch=128, group=32, warmup=20, floor=0.5),
    )


def mamp_small() -> Recipe:
    """MAMP on some hundreds to some thousands of short recordings, such as NW-UCLA: trains on a laptop.

    A quarter of the width, half the depth and a decoder of one block. Below raw joints after 1,319 steps
    (docs/results/nw_ucla.md).
    """
    return Recipe(
        split="cross-subject",
        clip=SHORT,
        encoder=SMALL,
        method=MAMPConfig(mask_ratio=0.8, decoder=1),
        optimizer=AdamW(learning_rate=1e-3, weight_decay=0.05),
        schedule=Schedule(epochs=200, batch=64, group=64, warmup=20, floor=0.5),
    )


def latent_small() -> Recipe:
    """As mamp-small, but a teacher's representations are predicted in place of motion.

    docs/results/nw_ucla.md has its results.
    """
    return Recipe(
        split="cross-subject",
        clip=SHORT,
        encoder=SMALL,
        method=LatentConfig(mask_ratio=0.8, decoder=1, momentum=0.99),
        optimizer=AdamW(learning_rate=1e-3, weight_decay=0.05),
        schedule=Schedule(epochs=200, batch=64, group=64, warmup=20),
    )


def stars() -> Recipe:
    """NTU-60 as Mehraban et al. tune MAMP's encoder: 20 epochs, batch 128; needs --init-from a run of mamp.

    87.1 % linear and 79.9 % kNN accuracy on cross-subject are stated (Tables 1 and 2); not run by us.
    """
    return Recipe(
        split="cross-subject",
        clip=LONG,
        encoder=SkeletonTransformerConfig(),
        method=STARSConfig(),
        optimizer=AdamW(learning_rate=1e-3, weight_decay=0.01, layer_decay=0.2),
        schedule=Schedule(epochs=20, batch=128, group=32, warmup=0),
    )


def stars_small() -> Recipe:
    """The second stage after mamp-small; needs --init-from a run of it. docs/results/nw_ucla.md has its results."""
    return Recipe(
        split="cross-subject",
        clip=SHORT,
        encoder=SMALL,
        method=STARSConfig(hidden=1024, queue=1024),
        optimizer=AdamW(learning_rate=1e-3, weight_decay=0.01, layer_decay=0.2),
        schedule=Schedule(epochs=20, batch=64, group=64, warmup=0),
    )
