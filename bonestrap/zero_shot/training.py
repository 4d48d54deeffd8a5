"""Training of SA-DVAE in cycles (Li et al. 2024, section 4.2), on frozen features of seen classes.

Legend: R recordings, X skeleton features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from bonestrap.zero_shot import SADVAEConfig
from bonestrap.zero_shot.losses import Noise, autoencoder_loss, discriminator_loss, weights_at
from bonestrap.zero_shot.networks import SADVAE
from bonestrap.zero_shot.texts import ClassTexts


class Trainer:
    """A SA-DVAE and its two optimizers, a cycle at a time. Everything drawn is a function of the seed."""

    def __init__(self, config: SADVAEConfig, x: Tensor, y: Tensor, texts: ClassTexts, seed: int) -> None:
        """Features `x` (R, X) of recordings of classes `y` (R,), which `texts` numbers alike."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = SADVAE(config, x.shape[1], texts.features.shape[1]).to(x.dtype)
        self.config, self.x, self.y = config, x, y
        self.texts = texts.features.to(x.dtype)
        counts = torch.bincount(texts.owner)
        self.first, self.count = counts.cumsum(0) - counts, counts
        self.generator = torch.Generator().manual_seed(seed)
        rate = config.learning_rate
        self.optimizer = torch.optim.Adam(self.model.autoencoders(), lr=rate, fused=True)
        discriminator = self.model.discriminator
        self.opponent = (
            torch.optim.Adam(discriminator.parameters(), lr=rate, fused=True)
            if discriminator is not None and config.penalty
            else None
        )
        self.step = 0
        self.order = self.orders()

    @property
    def cycle_steps(self) -> int:
        return self.config.cycle_steps or math.ceil(len(self.x) / self.config.batch)

    def cycle(self) -> None:
        """One cycle, from the KL weights' fall to zero until their next."""
        steps = self.cycle_steps
        for step in range(steps):
            rows = next(self.order)
            self.train_step(rows, step / steps)

    def train_step(self, rows: Tensor, place: float) -> None:
        """One batch at a place of the cycle, 0 to 1. The discriminator comes first, every `dis_step` steps."""
        x, y = self.x[rows], self.text_of(rows)
        weights = weights_at(self.config, place)
        self.step += 1
        if self.opponent is not None and weights.penalty and self.step % self.config.dis_step == 0:
            noise = self.noise(len(rows))
            order = (self.permutation(len(rows)), self.permutation(len(rows)))
            self.opponent.zero_grad()
            discriminator_loss(self.model, x, noise, order).backward()
            self.opponent.step()
        self.optimizer.zero_grad()
        autoencoder_loss(self.model, x, y, self.noise(len(rows)), weights).backward()
        self.optimizer.step()

    def text_of(self, rows: Tensor) -> Tensor:
        """A text of each recording's class: the only one, or any of several."""
        label = self.y[rows]
        drawn = torch.rand(len(rows), generator=self.generator)
        return self.texts[self.first[label] + (drawn * self.count[label]).long()]

    def noise(self, rows: int) -> Noise:
        return Noise.draw(self.config, rows, self.generator, self.x.dtype)

    def permutation(self, rows: int) -> Tensor:
        return torch.randperm(rows, generator=self.generator)

    def orders(self) -> Iterator[Tensor]:
        """Batches of rows: pass after pass in random order, the last batch of a pass may be smaller."""
        while True:
            yield from self.permutation(len(self.x)).split(self.config.batch)
