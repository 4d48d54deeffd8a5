"""Recipes of supervised pretraining: the reference that pretraining without labels is compared with."""

from __future__ import annotations

from bonestrap.augment import ClipConfig
from bonestrap.encoders import STGCNConfig
from bonestrap.methods import SupervisedConfig
from bonestrap.optim import SGD, Schedule
from bonestrap.recipe import Recipe


def supervised() -> Recipe:
    """Cross-entropy on all labels of the training recordings; the classifier is shipped with the encoder.

    The settings of launch/finetune.py --scratch, for a data set of about a thousand recordings. No result of it is
    reported yet.
    """
    return Recipe(
        split="cross-subject",
        clip=ClipConfig(frames=16, fit=True),
        encoder=STGCNConfig(width=0.5),
        method=SupervisedConfig(),
        optimizer=SGD(learning_rate=0.1, weight_decay=3e-4),
        schedule=Schedule(epochs=60, batch=32, group=32, warmup=3),
    )
