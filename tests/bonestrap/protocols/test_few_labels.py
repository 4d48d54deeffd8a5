"""The half that is chosen on, and the long tail, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bonestrap.protocols.few_labels import few_labels, halved
from bonestrap.protocols.linear import RIDGE_STRENGTHS, ridge, select
from bonestrap.protocols.long_tailed import long_tailed, profile, thirds
from tests.bonestrap.protocols.labelled import features


def test_every_second_row_of_a_class_is_chosen_on() -> None:
    assert halved(torch.tensor([2, 0, 2, 2, 0, 7, 2])).tolist() == [False, False, True, False, True, False, True]


def test_few_labels_choose_on_their_half_and_fit_on_all() -> None:
    x, y = features(40, 0)
    found = few_labels(ridge, RIDGE_STRENGTHS, x, y, 4)
    expected = select(ridge, RIDGE_STRENGTHS, x, y, halved(y), 4)[0]
    assert torch.equal(found.weight, expected.weight)


def test_one_label_a_class_leaves_nothing_to_choose() -> None:
    x, _ = features(4, 0)
    found = few_labels(ridge, RIDGE_STRENGTHS, x, torch.arange(4), 4)
    assert torch.equal(found.weight, ridge(x, torch.arange(4), 4, 10.0).weight)


@pytest.mark.parametrize("factor", [1.0, 10.0, 100.0])
def test_the_profile_is_exponential_and_as_large_as_may_be(factor: float) -> None:
    available = np.random.default_rng(0).integers(200, 900, 10)
    kept = profile(available, factor, seed=4)
    assert (kept <= available).all()
    ideal = np.sort(kept)[::-1][0] * factor ** (-np.arange(10) / 9)
    np.testing.assert_allclose(np.sort(kept)[::-1], ideal, atol=1.5)
    assert (kept == available).any() or (available - kept).min() < 1.5  # one class gives all that it has
    assert len({tuple(profile(available, 100.0, seed).tolist()) for seed in range(5)}) == 5


def test_a_long_tail_of_labels() -> None:
    labels = np.repeat(np.arange(5), 100)[np.random.default_rng(1).permutation(500)]
    rows = long_tailed(labels, 16.0, seed=0)
    counts = np.sort(np.bincount(labels[rows]))[::-1]
    assert counts.tolist() == [100, 50, 25, 12, 6]
    np.testing.assert_array_equal(rows, np.unique(rows))
    np.testing.assert_array_equal(rows, long_tailed(labels, 16.0, seed=0))
    common, between, rare = thirds(labels[rows], 5)
    found = np.bincount(labels[rows])
    assert found[common].min() > found[between].max() and found[between].min() > found[rare].max()
    assert sorted(np.concatenate((common, between, rare)).tolist()) == [0, 1, 2, 3, 4]


def test_an_imbalance_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        profile(np.array([3, 4]), 0.5, 0)
