"""Classifiers from few labels, drawn several times, and their figures over the draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from bonestrap.options import UserError
from bonestrap.protocols.long_tailed import thirds
from bonestrap.protocols.scores import Scores, score, spread
from evaluation.scoring import LongTail, Repeated, Scored, TrainingSet

if TYPE_CHECKING:
    from torch import Tensor

    from bonestrap.protocols.linear import Fitted


def check_seeds(seeds: Sequence[int]) -> None:
    """ValueError where there are none, or one stands twice."""
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be one or more different numbers, got {seeds}")


def check_distinct(drawn: Sequence[tuple[float, np.ndarray]], fractions: Sequence[float]) -> None:
    """UserError where two fractions, ascending, give the same labels: the labels of one seed are nested."""
    if len(drawn) < len(fractions):
        raise UserError(f"--fractions gives one fraction twice: {' '.join(f'{part:g}' for part in fractions)}")
    for (less, fewer), (more, kept) in pairwise(drawn):
        if len(fewer) == len(kept):
            raise UserError(
                f"--fractions {less:g} and {more:g} give the same {len(kept)} labels of {len(np.unique(kept))} "
                "classes: leave one of them out"
            )


def fit_few(train: TrainingSet, rows: np.ndarray, metric: Callable[[Fitted, Tensor, Tensor], float]) -> Fitted:
    """A classifier from the labels of these rows alone, its regularisation chosen by `metric` on half of them."""
    from bonestrap.protocols.few_labels import few_labels
    from bonestrap.protocols.floor import KERNEL_STRENGTHS, kernel_ridge
    from bonestrap.protocols.linear import LOGISTIC_STRENGTHS, logistic

    x, y = train.x[rows], train.y[rows]
    if train.raw:
        return few_labels(kernel_ridge, KERNEL_STRENGTHS, x, y, train.classes, metric)
    return few_labels(logistic, LOGISTIC_STRENGTHS, x, y, train.classes, metric)


def _together(fitted: Sequence[Fitted], scored: Scored) -> tuple[list[Scores], Scores]:
    """Each classifier's scores, and those of all their votes together."""
    import torch

    votes = [each.votes(scored.x) for each in fitted]
    return [score(each, scored.y) for each in votes], score(torch.cat(votes), scored.y.repeat(len(votes)))


def over_draws(fitted: Sequence[Fitted], labels: np.ndarray, scored: Scored) -> Repeated:
    """Figures of classifiers from as many draws of labels, of which `labels` is the first."""
    import torch

    from bonestrap.protocols.bootstrap import bootstrap

    runs, pooled = _together(fitted, scored)
    accuracies = tuple(run.accuracy for run in runs)
    right = torch.stack([each.predict(scored.x) == scored.y for each in fitted]).double().mean(0)
    counts = np.unique(labels, return_counts=True)[1]
    return Repeated(
        *spread(accuracies), accuracies, pooled.balanced, pooled.top5, len(labels), int(counts.min()),
        int(counts.max()), pooled.classes, bootstrap(right, scored.groups),
    )  # fmt: skip


def over_long_tails(fitted: Sequence[Fitted], labels: Sequence[np.ndarray], scored: Scored) -> LongTail:
    """Figures of classifiers from long-tailed draws of labels."""
    import torch

    from bonestrap.protocols.bootstrap import bootstrap_balanced

    runs, pooled = _together(fitted, scored)
    right = torch.stack([each.predict(scored.x) == scored.y for each in fitted]).double().mean(0)
    balanced = tuple(run.balanced for run in runs)
    parts = [thirds(kept, len(pooled.classes)) for kept in labels]
    common, between, rare = (_mean_recall(runs, [part[third] for part in parts]) for third in range(3))
    counts = np.unique(labels[0], return_counts=True)[1]
    return LongTail(
        *spread(balanced), balanced, pooled.accuracy, pooled.top5, common, between, rare,
        max_labels=int(counts.max()), min_labels=int(counts.min()), classes=pooled.classes,
        bootstrap=bootstrap_balanced(right, scored.y, scored.groups),
    )  # fmt: skip


def _mean_recall(runs: Sequence[Scores], parts: Sequence[np.ndarray]) -> float | None:
    """Over the classes in each run's part that have recordings; None where none has."""
    found = [run.classes[label].recall for run, part in zip(runs, parts, strict=True) for label in part]
    known = [recall for recall in found if recall is not None]
    return sum(known) / len(known) if known else None
