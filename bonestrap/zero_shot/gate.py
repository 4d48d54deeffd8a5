"""The gate of generalised zero-shot recognition: is this recording of a seen class? (Li et al. 2024, section 3.4)

It sees the sorted probabilities of the unseen classes, and those of the seen ones at a temperature. It is fitted on
held-out seen classes in the part of unseen ones; temperature and threshold are chosen there, too.

Legend: R recordings, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bonestrap.protocols.linear import Linear, logistic
from bonestrap.zero_shot.alignment import balanced

TEMPERATURES = tuple(float(t) for t in range(1, 10))  # as in the authors' code
THRESHOLDS = tuple(t / 100 for t in range(25, 76, 5))
STRENGTH = 1e-3


class Votes(NamedTuple):
    """What the two classifiers say of some recordings."""

    unseen: Tensor  # (R, unseen classes), logits
    seen: Tensor  # (R, seen classes), logits


class Example(NamedTuple):
    """Recordings of one draw of held-out classes."""

    votes: Votes
    is_seen: Tensor  # (R,) bool


class Gate(NamedTuple):
    """A logistic regression of sorted probabilities."""

    linear: Linear
    temperature: float
    threshold: float

    def is_seen(self, votes: Votes) -> Tensor:
        """(R,) bool"""
        return _probability(self.linear, _features(votes, self.temperature)) > self.threshold

    def predict(self, votes: Votes) -> Tensor:
        """Classes (R,): a seen one, or the number of seen classes plus that of an unseen one."""
        unseen = votes.unseen.argmax(1) + votes.seen.shape[1]
        return torch.where(self.is_seen(votes), votes.seen.argmax(1), unseen)


def fit_gate(examples: Sequence[Example]) -> Gate:
    """Temperature and threshold by balanced accuracy on the draw that was not fitted on; then fitted on all draws."""
    found = []
    for temperature in TEMPERATURES:
        probabilities = []
        for number, asked in enumerate(examples):
            others = [each for place, each in enumerate(examples) if place != number] or list(examples)
            probabilities.append(_probability(_fit(others, temperature), _features(asked.votes, temperature)))
        for threshold in THRESHOLDS:
            right = [
                balanced((p > threshold).long(), each.is_seen.long())
                for p, each in zip(probabilities, examples, strict=True)
            ]
            found.append((sum(right), -abs(threshold - 0.5), -temperature, threshold))
    _, _, cooled, threshold = max(found)
    return Gate(_fit(examples, -cooled), -cooled, threshold)


def _fit(examples: Sequence[Example], temperature: float) -> Linear:
    """As many recordings of either side: the larger one is thinned evenly."""
    x = torch.cat([_features(each.votes, temperature) for each in examples])
    y = torch.cat([each.is_seen for each in examples]).long()
    few = int(torch.bincount(y, minlength=2).min())
    rows = torch.cat([_evenly((y == side).nonzero().squeeze(1), few) for side in (0, 1)])
    return logistic(x[rows], y[rows], 2, STRENGTH)


def _evenly(rows: Tensor, count: int) -> Tensor:
    return rows[torch.linspace(0, len(rows) - 1, count).round().long()]


def _features(votes: Votes, temperature: float) -> Tensor:
    """The highest probabilities of either classifier, sorted; as many of the seen classes as there are unseen ones."""
    most = votes.unseen.shape[1]
    unseen = votes.unseen.softmax(1).sort(1, descending=True).values
    seen = (votes.seen / temperature).softmax(1).sort(1, descending=True).values[:, :most]
    return torch.cat((unseen, torch.nn.functional.pad(seen, (0, most - seen.shape[1]))), 1).double()


def _probability(linear: Linear, features: Tensor) -> Tensor:
    """Of being of a seen class, (R,)."""
    return linear.votes(features).softmax(1)[:, 1]
