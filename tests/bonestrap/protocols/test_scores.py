"""Scores against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix

from bonestrap.protocols.scores import confusion, score, wilson


@pytest.mark.parametrize("seed", range(3))
def test_against_scikit_learn(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(torch.tensor([0.6, 0.2, 0.15, 0.05, 0.0]), 80, replacement=True, generator=generator)
    guess = torch.randint(0, 5, (80,), generator=generator)
    predicted = torch.where(torch.rand(80, generator=generator) < 0.6, labels, guess)
    found = score(predicted, labels, 5)
    assert found.accuracy == pytest.approx(accuracy_score(labels, predicted))
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):  # the fifth class never occurs
        assert found.balanced == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert found.recordings == 80
    table = confusion_matrix(labels, predicted, labels=range(5))
    np.testing.assert_array_equal(confusion(predicted, labels, 5), table)
    interval = binomtest(int((predicted == labels).sum()), 80).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6)


@pytest.mark.parametrize(("right", "count"), [(0, 5), (5, 5), (1, 1), (37, 100), (880, 1464)])
def test_wilsons_interval_against_scipy(right: int, count: int) -> None:
    interval = binomtest(right, count).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson(right / count, count) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)


def test_nothing_cannot_be_scored() -> None:
    empty = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(ValueError, match="no recording to score"):
        score(empty, empty, 3)
