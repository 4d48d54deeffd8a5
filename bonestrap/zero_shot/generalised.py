"""Generalised zero-shot recognition: a recording may be of a seen class or of an unseen one.

Legend: R recordings, D features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bonestrap.protocols.linear import Linear, logistic
from bonestrap.zero_shot import SADVAEConfig
from bonestrap.zero_shot.alignment import Chosen, Seen, fit, held_out_classes
from bonestrap.zero_shot.classifier import fit_classifier, semantic
from bonestrap.zero_shot.gate import Example, Gate, Votes, fit_gate
from bonestrap.zero_shot.networks import SADVAE
from bonestrap.zero_shot.texts import ClassTexts

STRENGTH = 1e-2  # of the penalty of the classifier of seen classes


class Recogniser(NamedTuple):
    """A SA-DVAE, a classifier of seen classes on the same scaled features, and a gate between the two."""

    model: SADVAE
    classifier: Linear
    gate: Gate

    def predict(self, x: Tensor, unseen: ClassTexts, seed: int) -> Tensor:
        """Classes (R,) of features (R, D): a seen one, or the number of seen classes plus that of an unseen text."""
        return self.gate.predict(votes(self.model, self.classifier, x, unseen, seed))


def votes(model: SADVAE, classifier: Linear, x: Tensor, unseen: ClassTexts, seed: int) -> Votes:
    """What both classifiers say of scaled features (R, D)."""
    asked = fit_classifier(model, unseen, seed)
    return Votes(asked.logits(semantic(model, x)), classifier.votes(x).float())


def fit_recogniser(config: SADVAEConfig, seen: Seen, chosen: Chosen, hidden: int, seed: int) -> Recogniser:
    """The gate is fitted on draws of held-out seen classes and on recordings that train nothing there.

    The features are scaled.
    """
    examples = []
    for held, kept in held_out_classes(seen.texts.classes, hidden, seed):
        inner, asked = seen.of(kept), seen.of(held)
        others = inner.rows(~inner.held_out)
        model, classifier = fit(config, others, chosen.cycles, seed), _classifier(others)
        if asked.held_out.any():
            asked = asked.rows(asked.held_out)
        known = inner.rows(inner.held_out)
        said = votes(model, classifier, torch.cat((known.x, asked.x)), asked.texts, seed)
        examples.append(Example(said, torch.arange(len(known.x) + len(asked.x)) < len(known.x)))
    return Recogniser(chosen.model, _classifier(seen), fit_gate(examples))


def _classifier(seen: Seen) -> Linear:
    return logistic(seen.x, seen.y, seen.texts.classes, STRENGTH)
