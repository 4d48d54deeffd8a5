"""Actions that were never shown: SA-DVAE aligns frozen skeleton features with features of texts.

Li et al., "SA-DVAE: Improving Zero-Shot Skeleton-Based Action Recognition by Disentangled Variational Autoencoders",
ECCV 2024, arXiv:2407.13460. Importing this needs no torch.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from bonestrap.bounds import COUNT, RATE, WIDE, Bounded, Bounds
from bonestrap.options import option

WIDEST = 256  # features; wider ones are projected on as many principal components of the seen classes


@dataclasses.dataclass(frozen=True, kw_only=True)
class SADVAEConfig(Bounded):
    """Two variational autoencoders, of skeleton features and of texts, whose semantic latents are aligned.

    The defaults suit some hundred to some thousand recordings; `PUBLISHED` has the paper's by data set.
    """

    semantic: int = option(64, "semantic latent units, of skeletons and of texts", Bounds(1, WIDE))
    style: int = option(8, "style latent units, of skeletons alone; 0: without disentanglement", Bounds(0, WIDE))
    beta_x: float = option(
        0.023, "weight of the KL divergence of both skeleton latents, at a cycle's end", Bounds(0, 1e3)
    )
    beta_y: float = option(0.011, "weight of the KL divergence of the text latent, at a cycle's end", Bounds(0, 1e3))
    cross: float = option(1.0, "weight of cross-alignment", Bounds(0, 1e3))
    penalty: float = option(
        0.011, "weight of the total-correlation penalty at a cycle's end; 0: without", Bounds(0, 1e3)
    )
    warmup: float = option(
        1 / 3, "part of a cycle before the KL weights and the penalty rise", Bounds(0, 1, below=True)
    )
    cross_from: float = option(0.0, "part of a cycle before cross-alignment counts", Bounds(0, 1, below=True))
    learning_rate: float = option(3e-3, "of both optimizers, Adam", RATE)
    batch: int = option(32, "recordings a step", Bounds(2, WIDE))
    cycles: int = option(4, "at most; how many are trained is chosen on held-out seen classes", Bounds(1, 10_000))
    cycle_steps: int | None = option(
        40, "steps of a cycle; none: one pass over the training recordings", Bounds(1, COUNT)
    )
    dis_step: int = option(5, "steps from one update of the discriminator to the next", Bounds(1, COUNT))
    features: Literal["scaled", "as-they-are"] = option(
        "scaled", "scaled: mean 0 and standard deviation 1 over the seen training recordings, and over the seen texts"
    )
    decoder: Literal["linear", "relu"] = option(
        "linear", "relu: the published decoders, whose output cannot be negative"
    )
    samples: int = option(500, "text latents of a class that the classifier is fitted on", Bounds(1, WIDE))


def _published(semantic: int, style: int, learning_rate: float, dis_step: int, batch: int = 32) -> SADVAEConfig:
    return SADVAEConfig(
        semantic=semantic, style=style, learning_rate=learning_rate, dis_step=dis_step, batch=batch, cycles=10,
        cycle_steps=None, cross_from=0.8, features="as-they-are", decoder="relu",
    )  # fmt: skip


# By data set and kind of class split. Sizes: the paper's; rates, steps and batches: the authors' scripts.
PUBLISHED = {
    ("ntu60", "fixed"): _published(160, 8, 3.389e-5, 5),
    ("ntu120", "fixed"): _published(256, 32, 3.478e-5, 4),
    ("ntu60", "random"): _published(224, 16, 3.596e-5, 7),
    ("ntu120", "random"): _published(176, 20, 7.361e-5, 12),
    ("pku-mmd", "random"): _published(128, 16, 3.074e-5, 2, batch=64),
}
