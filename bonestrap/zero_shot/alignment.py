"""SA-DVAE as a recogniser: fitted on seen classes, asked about texts. All that has to be chosen is chosen on classes
that are held out from the seen ones.

Legend: R recordings, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bonestrap.zero_shot import WIDEST, SADVAEConfig
from bonestrap.zero_shot.classifier import LatentClassifier, fit_classifier, semantic
from bonestrap.zero_shot.networks import SADVAE
from bonestrap.zero_shot.scaling import Scaling
from bonestrap.zero_shot.texts import ClassTexts
from bonestrap.zero_shot.training import Member, Trainer

DRAWS = 2  # of held-out seen classes
SAMPLES = 100  # text latents of a class where cycles are chosen
TOGETHER = 10  # class splits that are trained at a time; more take memory and no less time
FEWEST = 4  # seen classes: two to hold out, and two to learn from


class Seen(NamedTuple):
    """Training recordings of seen classes, which are numbered 0..K-1, and the texts of these classes alone."""

    x: Tensor  # (R, D)
    y: Tensor  # (R,)
    texts: ClassTexts
    held_out: Tensor  # (R,) bool: recordings, such as of some subjects, that a gate is fitted on

    def of(self, classes: Sequence[int]) -> Seen:
        """Those of some classes, which are numbered anew in this order."""
        rows = torch.isin(self.y, torch.tensor(classes))
        number = torch.full((self.texts.classes,), -1)
        number[torch.tensor(classes)] = torch.arange(len(classes))
        return Seen(self.x[rows], number[self.y[rows]], self.texts.of(classes), self.held_out[rows])

    def member(self, seed: int) -> Member:
        """To be trained on."""
        return Member(self.x, self.y, self.texts, seed)

    def rows(self, chosen: Tensor) -> Seen:
        """Those of some recordings, a mask, of the same classes."""
        return self._replace(x=self.x[chosen], y=self.y[chosen], held_out=self.held_out[chosen])


class Alignment(nn.Module):
    """A SA-DVAE with the scaling of its features."""

    def __init__(self, scaling: Scaling, autoencoders: SADVAE) -> None:
        super().__init__()
        self.scaling, self.autoencoders = scaling, autoencoders

    @classmethod
    def empty(cls, config: SADVAEConfig, skeleton: int, text: int) -> Alignment:
        """For weights that are about to be loaded."""
        return cls(Scaling(skeleton), SADVAE(config, min(skeleton, WIDEST), text))

    def latents(self, x: Tensor) -> Tensor:
        """Means of the semantic latents of features (R, D)."""
        return semantic(self.autoencoders, self.scaling(x.float()))

    def classifier(self, texts: ClassTexts, seed: int) -> LatentClassifier:
        """What tells the classes of these texts apart."""
        return fit_classifier(self.autoencoders, texts, seed)

    def votes(self, x: Tensor, texts: ClassTexts, seed: int) -> Tensor:
        """Logits (R, K) of the classes of these texts."""
        return self.classifier(texts, seed).logits(self.latents(x))


def scaled(seen: Seen, config: SADVAEConfig) -> tuple[Scaling, Seen]:
    """The scaling of the seen classes' features, and these features scaled: what everything below works on."""
    scaling = Scaling.fitted(seen.x, scaled=config.features == "scaled")
    return scaling, seen._replace(x=scaling(seen.x))


def fit(config: SADVAEConfig, seen: Seen, cycles: int, seed: int) -> SADVAE:
    """Trained for `cycles` cycles on scaled features."""
    trainer = Trainer(config, [seen.member(seed)], seed)
    for _ in range(cycles):
        trainer.cycle()
    return trainer.model(0)


def held_out_classes(classes: int, hidden: int, seed: int) -> list[tuple[list[int], list[int]]]:
    """Draws of seen classes to hold out, as many as are unseen but two at least, and the others.

    Raises ValueError where there are too few seen classes to choose on.
    """
    if classes < FEWEST:
        raise ValueError(f"{classes} seen classes are too few to choose on: leave {FEWEST} or more")
    held = min(max(hidden, 2), classes - 2)
    out = []
    for number in range(DRAWS):
        order = np.random.default_rng((seed, number)).permutation(classes)
        out.append((sorted(order[:held].tolist()), sorted(order[held:].tolist())))
    return out


class Chosen(NamedTuple):
    """A network after the cycles that were chosen, and what they were chosen by."""

    model: SADVAE
    cycles: int
    scores: list[float]  # balanced accuracy on held-out seen classes, by cycle


class Question(NamedTuple):
    """A draw of held-out seen classes: what is learnt from, and what is asked."""

    learnt: Seen
    asked: Seen


def choose_and_fit(config: SADVAEConfig, splits: Sequence[Seen], hidden: Sequence[int], seed: int) -> list[Chosen]:
    """For each class split the cycles that recognise held-out seen classes best, of equals the fewest, and the network
    that was trained for as many on all seen classes.

    The features are scaled. `hidden` are the numbers of unseen classes; nothing else is known of them here.
    """
    out: list[Chosen] = []
    for first in range(0, len(splits), TOGETHER):
        part = slice(first, first + TOGETHER)
        out += _choose_and_fit(config, splits[part], hidden[part], seed)
    return out


def _choose_and_fit(config: SADVAEConfig, splits: Sequence[Seen], hidden: Sequence[int], seed: int) -> list[Chosen]:
    questions = [
        [Question(seen.of(kept), seen.of(held)) for held, kept in held_out_classes(seen.texts.classes, count, seed)]
        for seen, count in zip(splits, hidden, strict=True)
    ]
    learnt = [question.learnt for each in questions for question in each]
    trainer = Trainer(config, [seen.member(seed) for seen in (*splits, *learnt)], seed)
    scores = [[0.0] * config.cycles for _ in splits]
    after: list[list[SADVAE]] = [[] for _ in splits]
    for cycle in range(config.cycles):
        trainer.cycle()
        for number, each in enumerate(questions):
            after[number].append(trainer.model(number))
            for draw, (_, asked) in enumerate(each):
                model = trainer.model(len(splits) + number * DRAWS + draw)
                votes = fit_classifier(model, asked.texts, seed, SAMPLES).logits(semantic(model, asked.x))
                scores[number][cycle] += balanced(votes.argmax(1), asked.y) / DRAWS
    best = [max(range(config.cycles), key=lambda cycle, own=own: (own[cycle], -cycle)) for own in scores]  # type: ignore[misc]
    return [Chosen(after[n][cycle], cycle + 1, scores[n]) for n, cycle in enumerate(best)]


def balanced(predicted: Tensor, y: Tensor) -> float:
    """The mean over the classes that occur of the share that is right."""
    count = torch.bincount(y).double()
    right = torch.bincount(y, weights=(predicted == y).double(), minlength=len(count))
    return (right[count > 0] / count[count > 0]).mean().item()
