"""Scores against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, t
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from bonestrap.protocols.scores import confusion, score, spread, wilson


@pytest.mark.parametrize("seed", range(3))
def test_against_scikit_learn(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(torch.tensor([0.6, 0.2, 0.15, 0.05, 0.0]), 80, replacement=True, generator=generator)
    guess = torch.randint(0, 5, (80,), generator=generator)
    votes = torch.randn(80, 7, generator=generator)
    votes[:, 5:] = -torch.inf
    likely = torch.where(torch.rand(80, generator=generator) < 0.6, labels, guess)
    votes[torch.arange(80), likely] += 2
    predicted = votes.argmax(1)
    found = score(votes, labels)
    assert found.accuracy == pytest.approx(accuracy_score(labels, predicted))
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):  # the fifth class never occurs
        assert found.balanced == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert found.recordings == 80
    assert found.top5 == 1  # two classes of seven are ruled out
    precision, recall, _, count = precision_recall_fscore_support(labels, predicted, labels=range(5), zero_division=0)
    for row, (right, share, number) in enumerate(zip(precision, recall, count, strict=True)):
        one = found.classes[row]
        assert (one.recordings, one.recall or 0, one.precision or 0) == pytest.approx((number, share, right))
    assert found.classes[4].recall is None and found.classes[6] == (0, None, None)
    table = confusion_matrix(labels, predicted, labels=range(5))
    np.testing.assert_array_equal(confusion(predicted, labels, 5), table)
    interval = binomtest(int((predicted == labels).sum()), 80).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6)


@pytest.mark.parametrize(("right", "count"), [(0, 5), (5, 5), (1, 1), (37, 100), (880, 1464)])
def test_wilsons_interval_against_scipy(right: int, count: int) -> None:
    interval = binomtest(right, count).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson(right / count, count) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("classes", [3, 5, 12])
def test_the_five_likeliest_against_scikit_learn(classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    votes = torch.randn(90, classes, generator=generator)
    labels = torch.randint(0, classes, (90,), generator=generator)
    expected = top_k_accuracy_score(labels, votes, k=5, labels=range(classes)) if classes > 5 else 1.0
    assert score(votes, labels).top5 == pytest.approx(expected)


def test_a_class_that_nobody_voted_for_is_not_among_the_five() -> None:
    votes = torch.full((2, 8), -torch.inf)
    votes[:, 3] = 1.0
    assert score(votes, torch.tensor([3, 4])).top5 == 0.5


@pytest.mark.parametrize("count", [2, 3, 5, 11, 12, 20, 200])
def test_spread_against_scipy(count: int) -> None:
    values = np.random.default_rng(count).normal(0.6, 0.05, count)
    found = spread(values.tolist())
    assert found[:2] == pytest.approx((values.mean(), values.std(ddof=1)))
    low, high = t.interval(0.95, count - 1, values.mean(), values.std(ddof=1) / count**0.5)
    assert found[2:] == pytest.approx((low, high), rel=1e-4)


def test_one_run_has_no_interval() -> None:
    assert spread([0.25]) == (0.25, 0, 0.25, 0.25)


def test_nothing_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="no recording to score"):
        score(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
