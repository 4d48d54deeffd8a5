"""Training of SA-DVAE in cycles (Li et al. 2024, section 4.2), on frozen features of seen classes: several at once.

A choice of cycles trains one for every draw of held-out classes, and leaving classes out does so for every class split.
Each has its own recordings, texts, weights and draws; together they take a fifth of the time, as an operation is
started once for all.

Legend: E members, R recordings, X skeleton features, B rows of a batch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from bonestrap.zero_shot import SADVAEConfig
from bonestrap.zero_shot.losses import Noise, autoencoder_loss, discriminator_loss, weights_at
from bonestrap.zero_shot.networks import SADVAE
from bonestrap.zero_shot.scaling import TextScale
from bonestrap.zero_shot.texts import ClassTexts


class Member:
    """What one of them is trained on, and its draws. Whatever it is trained beside, these are the same."""

    def __init__(self, x: Tensor, y: Tensor, texts: ClassTexts, seed: int) -> None:
        """Features `x` (R, X) of recordings of classes `y` (R,), which `texts` numbers alike."""
        self.x, self.y, self.texts = x, y, texts.features.to(x.dtype)
        self.count = torch.bincount(texts.owner)
        self.first = self.count.cumsum(0) - self.count
        self.generator = torch.Generator().manual_seed(seed)
        self.order = torch.empty(0, dtype=torch.int64)

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """The next rows of pass after pass in random order, and of each one's class a text, any of several."""
        while len(self.order) < size:
            self.order = torch.cat((self.order, self.permutation(len(self.x))))
        rows, self.order = self.order[:size], self.order[size:]
        label = self.y[rows]
        drawn = torch.rand(size, generator=self.generator)
        return self.x[rows], self.texts[self.first[label] + (drawn * self.count[label]).long()]

    def permutation(self, rows: int) -> Tensor:
        return torch.randperm(rows, generator=self.generator)


class Pairs(NamedTuple):
    """What the discriminator's loss draws."""

    noise: Noise
    first: Tensor
    second: Tensor


class Trainer:
    """Autoencoders and their discriminators, each with an optimizer of its own, a cycle at a time."""

    def __init__(self, config: SADVAEConfig, members: Sequence[Member], seed: int) -> None:
        """All members begin with the same weights, those of the seed."""
        self.config, self.members = config, members
        like = members[0]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = SADVAE(config, like.x.shape[1], like.texts.shape[1]).to(like.x.dtype)
        self.weights = {
            name: weights.detach().expand(len(members), *weights.shape).clone().requires_grad_()
            for name, weights in self.network.named_parameters()
        }
        scales = [TextScale.fitted(each.texts, scaled=config.features == "scaled") for each in members]
        self.scales = {
            "text_centre": torch.stack([scale.centre for scale in scales]),
            "text_factor": torch.stack([scale.factor for scale in scales]),
        }
        theirs = [weights for name, weights in self.weights.items() if name.startswith("discriminator")]
        mine = [weights for name, weights in self.weights.items() if not name.startswith("discriminator")]
        self.optimizer = torch.optim.Adam(mine, lr=config.learning_rate, fused=True)
        self.opponent = (
            torch.optim.Adam(theirs, lr=config.learning_rate, fused=True) if theirs and config.penalty else None
        )
        self.step = 0

    @property
    def cycle_steps(self) -> int:
        most = max(len(member.x) for member in self.members)
        return self.config.cycle_steps or math.ceil(most / self.config.batch)

    def cycle(self) -> None:
        """One cycle, from the KL weights' fall to zero until their next."""
        steps = self.cycle_steps
        for step in range(steps):
            self.train_step(step / steps)

    def train_step(self, place: float) -> None:
        """One batch of each at a place of the cycle, 0 to 1. Discriminators come first, every `dis_step` steps."""
        weights = weights_at(self.config, place)
        x, y = (torch.stack(each) for each in zip(*(m.batch(self.config.batch) for m in self.members), strict=True))
        self.step += 1
        if self.opponent is not None and weights.penalty and self.step % self.config.dis_step == 0:
            drawn = [self.pairs(member) for member in self.members]
            noise = Noise(*(torch.stack(each) for each in zip(*(one.noise for one in drawn), strict=True)))
            first, second = torch.stack([one.first for one in drawn]), torch.stack([one.second for one in drawn])
            self.descend(
                self.opponent,
                lambda model, x, noise, first, second: discriminator_loss(model, x, noise, (first, second)),
                x, noise, first, second,
            )  # fmt: skip
        each = [self.noise(member) for member in self.members]
        noise = Noise(*(torch.stack(part) for part in zip(*each, strict=True)))
        self.descend(
            self.optimizer, lambda model, x, y, noise: autoencoder_loss(model, x, y, noise, weights), x, y, noise
        )

    def descend(self, optimizer: torch.optim.Optimizer, loss: Callable[..., Tensor], *inputs: object) -> None:
        """One step of all members: the gradient of the sum of their losses is each one's own."""

        def one(weights: dict[str, Tensor], *inputs: object) -> Tensor:
            found: Tensor = functional_call(self.network, weights, (loss, *inputs))
            return found

        optimizer.zero_grad()
        vmap(one)({**self.weights, **self.scales}, *inputs).sum().backward()
        optimizer.step()

    def noise(self, member: Member) -> Noise:
        return Noise.draw(self.config, self.config.batch, member.generator, member.x.dtype)

    def pairs(self, member: Member) -> Pairs:
        rows = self.config.batch
        return Pairs(self.noise(member), member.permutation(rows), member.permutation(rows))

    def model(self, number: int) -> SADVAE:
        """A copy of one of them as it is now."""
        out = copy.deepcopy(self.network)
        each = {**self.weights, **self.scales}
        out.load_state_dict({name: values[number].detach().clone() for name, values in each.items()})
        return out
