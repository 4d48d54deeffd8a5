"""Generalised zero-shot recognition: a recording may be of a seen class or of an unseen one.

Legend: R recordings, D features.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from bonestrap.protocols.linear import Linear, logistic
from bonestrap.zero_shot import SADVAEConfig
from bonestrap.zero_shot.alignment import Alignment, Seen, fit, held_out_classes
from bonestrap.zero_shot.gate import Example, Gate, Votes, fit_gate
from bonestrap.zero_shot.texts import ClassTexts

STRENGTH = 1e-2  # of the penalty of the classifier of seen classes


class Recogniser(NamedTuple):
    """An alignment, a classifier of seen classes on the same features, and a gate between the two."""

    alignment: Alignment
    classifier: Linear
    gate: Gate

    def predict(self, x: Tensor, unseen: ClassTexts, seed: int) -> Tensor:
        """Classes (R,) of features (R, D): a seen one, or the number of seen classes plus that of an unseen text."""
        return self.gate.predict(votes(self.alignment, self.classifier, x, unseen, seed))


def votes(alignment: Alignment, classifier: Linear, x: Tensor, unseen: ClassTexts, seed: int) -> Votes:
    """What both classifiers say of features (R, D)."""
    return Votes(alignment.votes(x, unseen, seed), classifier.votes(alignment.scaling(x.float())).float())


def fit_recogniser(config: SADVAEConfig, seen: Seen, cycles: int, hidden: int, seed: int) -> Recogniser:
    """The gate is fitted on draws of held-out seen classes and on recordings that train nothing there."""
    examples = []
    for held, kept in held_out_classes(seen.texts.classes, hidden, seed):
        inner, asked = seen.of(kept), seen.of(held)
        alignment, classifier = _fit(config, inner.rows(~inner.held_out), cycles, seed)
        if asked.held_out.any():
            asked = asked.rows(asked.held_out)
        for part, is_seen in ((inner.rows(inner.held_out), True), (asked, False)):
            said = votes(alignment, classifier, part.x, asked.texts, seed)
            examples.append((said, is_seen, len(part.x)))
    return Recogniser(*_fit(config, seen, cycles, seed), fit_gate(_paired(examples)))


def _fit(config: SADVAEConfig, seen: Seen, cycles: int, seed: int) -> tuple[Alignment, Linear]:
    alignment = fit(config, seen, cycles, seed)
    scaled = alignment.scaling(seen.x.float())
    return alignment, logistic(scaled, seen.y, seen.texts.classes, STRENGTH)


def _paired(parts: list[tuple[Votes, bool, int]]) -> list[Example]:
    """Both sides of a draw, which follow each other, as one example."""
    import torch

    out = []
    for (seen, _, count), (unseen, _, other) in zip(parts[::2], parts[1::2], strict=True):
        both = Votes(torch.cat((seen.unseen, unseen.unseen)), torch.cat((seen.seen, unseen.seen)))
        out.append(Example(both, torch.arange(count + other) < count))
    return out
