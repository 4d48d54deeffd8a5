"""What an evaluation protocol takes and returns: recordings as rows, and figures of several kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bonestrap.protocols.bootstrap import FEW, Bootstrap, Groups
from bonestrap.protocols.scores import ClassScore, Scores, score
from shards.columns import Strings
from shards.index import Views

if TYPE_CHECKING:
    from torch import Tensor


class TrainingSet(NamedTuple):
    """Training recordings as one candidate sees them."""

    x: Tensor  # (R, D)
    y: Tensor  # (R,)
    held_out: Tensor  # (R,) bool: for choosing
    keys: Strings  # the performance of each
    classes: int
    raw: bool  # rows are joints, not features
    seed: int
    novel: tuple[int, ...]  # the classes that the model left out, or those of the data set
    left_out: tuple[int, ...] = ()  # the classes that every pretraining of the model left out
    names: tuple[str, ...] = ()  # of the classes
    dataset: str = ""


class Scored(NamedTuple):
    """The recordings that are scored, read once."""

    x: Tensor
    y: Tensor
    keys: Strings
    groups: Groups  # recordings that depend on each other


class Repeated(NamedTuple):
    """Accuracies over several draws of labels, fractions in 0..1."""

    accuracy: float  # mean
    std: float
    low: float  # 95 % interval of the mean over the draws
    high: float
    runs: tuple[float, ...]
    balanced: float  # means
    top5: float
    labels: int  # of a draw
    min_labels: int  # of the class with the fewest, in a draw
    max_labels: int  # of the class with the most
    classes: tuple[ClassScore, ...]  # of all draws together
    bootstrap: Bootstrap | None  # of the mean over the draws, over groups of test recordings


class Episodes(NamedTuple):
    """Accuracies among novel classes over draws of exemplars, fractions in 0..1."""

    accuracy: float  # mean
    std: float
    low: float  # 95 % interval of the mean over the draws
    high: float
    ways: int
    shots: int
    episodes: int
    bootstrap: Bootstrap | None  # of the mean over the draws, over groups of test recordings


class LongTail(NamedTuple):
    """Figures over several draws of long-tailed labels, fractions in 0..1; balanced accuracy is the headline."""

    balanced: float  # mean
    std: float
    low: float  # 95 % interval of the mean over the draws
    high: float
    runs: tuple[float, ...]
    accuracy: float  # means
    top5: float
    common: float | None  # mean recall of the commonest third of the classes, of the next and of the rarest
    between: float | None
    rare: float | None
    max_labels: int  # of the commonest class, in a draw
    min_labels: int  # of the rarest class
    classes: tuple[ClassScore, ...]  # of all draws together
    bootstrap: Bootstrap | None  # of balanced accuracy, over groups of test recordings


class Search(NamedTuple):
    """Means over queries, fractions in 0..1."""

    precision: float  # mean average precision
    recall1: float
    recall5: float
    recall10: float
    queries: int
    bootstrap: Bootstrap | None  # of the mean average precision, over groups of queries


class ZeroShot(NamedTuple):
    """Accuracy on unseen classes over class splits, fractions in 0..1."""

    accuracy: float  # mean
    std: float
    low: float  # 95 % interval of the mean over the splits; of one split, Wilson's
    high: float
    balanced: float  # mean
    chance: float
    runs: tuple[float, ...]
    unseen: tuple[tuple[int, ...], ...]  # classes of each split
    cycles: tuple[int, ...]  # of training, as chosen; none where there are none


class Generalised(NamedTuple):
    """Harmonic mean of the accuracies on seen and on unseen classes over class splits, fractions in 0..1."""

    harmonic: float  # mean
    std: float
    low: float  # 95 % interval of the mean over the splits
    high: float
    on_seen: float  # mean accuracies
    on_unseen: float
    runs: tuple[float, ...]
    unseen: tuple[tuple[int, ...], ...]  # classes of each split
    sides: tuple[tuple[float, float], ...]  # accuracy on seen and on unseen classes of each split


class Clusters(NamedTuple):
    """How well recordings of a class lie together; distances of features scaled to length one."""

    silhouette: float  # mean over the recordings, -1..1
    ratio: float  # mean distance between classes over that within
    between: float
    within: float
    recordings: int


Figures = Scores | Repeated | Episodes | LongTail | Search | ZeroShot | Generalised | Clusters


class Outcome(NamedTuple):
    """What a protocol finds of a candidate: figures by name, and predictions where there is one a recording."""

    figures: dict[str, Figures]
    predicted: Tensor | None = None


Scorer = Callable[[Scored], Outcome]


def scorer_of(name: str, votes: Callable[[Tensor], Tensor]) -> Scorer:
    """The scorer of one classifier."""

    def scorer(scored: Scored) -> Outcome:
        found = votes(scored.x)
        return Outcome({name: score(found, scored.y, scored.groups)}, found.argmax(1))

    return scorer


def dependent(views: Views) -> Groups:
    """Groups for the bootstrap: subjects where all are known and there are enough of them, else performances."""
    import torch

    people, member = np.unique(views.subject, return_inverse=True)
    if len(people) >= FEW and people[0] >= 0:
        return Groups("subjects", torch.from_numpy(member.astype(np.int64)))
    numbers: dict[str, int] = {}
    return Groups("performances", torch.tensor([numbers.setdefault(key, len(numbers)) for key in views.key]))


def interval(low: float, high: float, kind: str, drawn: Bootstrap | None) -> str:
    """A 95 % interval of a kind, and the bootstrap's where there is one, as a phrase."""
    said = f"95 %: {low:.1%} to {high:.1%} ({kind})"
    if drawn is None:
        return said
    return f"{said}, {drawn.low:.1%} to {drawn.high:.1%} (bootstrap over {drawn.units:,} {drawn.unit})"
