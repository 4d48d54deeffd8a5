"""Recipes of supervised pretraining: the reference that pretraining without labels is compared with."""

from __future__ import annotations

import dataclasses

from bonestrap.augment import ROTATED, ClipConfig, Window
from bonestrap.encoders import STGCNConfig
from bonestrap.methods import SupervisedConfig
from bonestrap.optim import SGD, AdamW, Schedule
from bonestrap.recipe import Recipe


def supervised() -> Recipe:
    """Cross-entropy on all labels of the training recordings; the classifier is shipped with the encoder.

    For a data set of about a thousand recordings: random rotations, scales and frames. docs/results/ has its results
    on NW-UCLA and SBU.
    """
    return Recipe(
        split="cross-subject",
        clip=ClipConfig(frames=32, fit=True),
        encoder=STGCNConfig(width=0.5, dropout=0.2),
        method=SupervisedConfig(view=ROTATED, smoothing=0.1),
        optimizer=AdamW(learning_rate=2e-3),
        schedule=Schedule(epochs=100, batch=32, group=32, warmup=5),
    )


def windows() -> Recipe:
    """Cross-entropy on windows of all labelled training recordings: for a continuous stream, which has no borders.

    A window is 40 to 100 % of a recording, so that an action is known before it is over. docs/streams.md has results,
    which are with SGD.
    """
    recipe = supervised()
    view = (Window(fraction=(0.4, 1.0), frames=8), *ROTATED)
    return dataclasses.replace(
        recipe,
        encoder=STGCNConfig(width=0.25, dropout=0.2),
        method=SupervisedConfig(view=view, smoothing=0.1),
        optimizer=SGD(learning_rate=0.1, weight_decay=4e-4),
    )
