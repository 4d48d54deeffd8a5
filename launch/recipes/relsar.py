"""The recipe of ReL-SAR: BYOL on a convolutional transformer, for small data sets and ordinary cameras."""

from __future__ import annotations

from bonestrap.augment import LIGHT, ClipConfig
from bonestrap.encoders import ConvTransformerConfig
from bonestrap.methods import BYOLConfig
from bonestrap.optim import AdamW, Schedule
from bonestrap.recipe import Recipe


def relsar() -> Recipe:
    """ReL-SAR as Naimi et al. (2024) describe it: 30 frames, 15 points, BYOL with a target network of its own.

    Stated: encoder, heads 256-128-64, noise, weight decay. Ours: momentum, statistics, learning rate and epochs.
    docs/results/rel_sar.md has what was measured.
    """
    return Recipe(
        split="cross-subject",
        clip=ClipConfig(frames=30, fit=True),
        encoder=ConvTransformerConfig(),
        method=BYOLConfig(hidden=128, projection=64, statistics="target", multiview=False, view1=LIGHT, view2=LIGHT),
        optimizer=AdamW(learning_rate=5e-4, weight_decay=1e-4),
        schedule=Schedule(epochs=200, batch=64, group=64, warmup=20),
    )
