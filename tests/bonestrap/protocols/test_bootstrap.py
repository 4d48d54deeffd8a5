"""The interval over groups of recordings against scipy, a plain loop, and shares that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn.metrics import recall_score

from bonestrap.protocols.bootstrap import Groups, bootstrap, bootstrap_balanced
from bonestrap.protocols.scores import score, wilson


def recognised(performances: int, cameras: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What is right, and the performance of each recording; cameras of one performance mostly agree."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(performances), rng.integers(1, cameras + 1, performances))
    hard = rng.random(performances)[group]
    return rng.random(len(group)) < np.where(hard < 0.4, 0.1, 0.9), group


@pytest.mark.parametrize("performances", [6, 40, 300])
def test_against_scipy(performances: int) -> None:
    right, group = recognised(performances, 3, performances)
    count = np.bincount(group)
    sums = np.bincount(group, weights=right)
    peer = scipy_bootstrap(
        (sums, count), lambda s, n, axis: s.sum(axis) / n.sum(axis), paired=True, vectorized=True,
        method="percentile", n_resamples=20_000, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    shuffled = np.random.default_rng(2).permutation(len(group))  # recordings of a group need not lie together
    groups = Groups("performances", torch.from_numpy(7 * group[shuffled] + 3))
    found = bootstrap(torch.from_numpy(right[shuffled]), groups, draws=20_000)
    assert found is not None and (found.unit, found.units) == ("performances", performances)
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high), abs=0.004)


def test_against_a_plain_loop() -> None:
    """Shares between 0 and 1, as the mean over several classifiers is."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 12, 90)
    right = rng.random(90)
    means = []
    for _ in range(4000):
        rows = np.concatenate([np.flatnonzero(group == one) for one in rng.integers(0, 12, 12)])
        means.append(right[rows].mean())
    found = bootstrap(torch.from_numpy(right), Groups("subjects", torch.from_numpy(group)))
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, (0.025, 0.975))), abs=0.005)
    assert found == bootstrap(torch.from_numpy(right), Groups("subjects", torch.from_numpy(group)))


def test_cameras_that_repeat_each_other_do_not_narrow_the_interval() -> None:
    """Three cameras that always agree are one recording: Wilson's interval narrows by the root of three, this not."""
    right, _ = recognised(200, 1, 3)
    once, thrice = torch.from_numpy(right), torch.from_numpy(np.repeat(right, 3))
    votes = torch.stack((~thrice, thrice), 1).double()
    found = score(votes, torch.ones(600, dtype=torch.int64), Groups("performances", torch.arange(600) // 3))
    alone = bootstrap(once, Groups("performances", torch.arange(200)))
    assert found.bootstrap is not None and found.bootstrap == alone
    low, high = wilson(right.mean(), 200)
    assert found.bootstrap.high - found.bootstrap.low == pytest.approx(high - low, rel=0.05)
    assert (found.high - found.low) * 3**0.5 == pytest.approx(high - low, rel=0.05)


def test_few_groups_have_no_interval() -> None:
    right = torch.tensor([True, False] * 10)
    assert bootstrap(right, Groups("subjects", torch.arange(20) % 4)) is None
    assert bootstrap(right, Groups("subjects", torch.arange(20) % 5)) is not None


def test_balanced_accuracy_against_a_plain_loop() -> None:
    """Rare classes, of which many draws have none: scikit-learn's mean over the classes that are there."""
    rng = np.random.default_rng(1)
    group, labels = rng.integers(0, 9, 120), rng.choice(4, 120, p=(0.7, 0.25, 0.03, 0.02))
    right = rng.random(120) < np.array([0.9, 0.6, 0.3, 0.8])[labels]
    predicted = np.where(right, labels, 9)
    means = []
    for _ in range(2000):
        rows = np.concatenate([np.flatnonzero(group == one) for one in rng.integers(0, 9, 9)])
        there = np.unique(labels[rows])
        means.append(recall_score(labels[rows], predicted[rows], labels=there, average="macro", zero_division=0))
    groups = Groups("subjects", torch.from_numpy(group))
    found = bootstrap_balanced(torch.from_numpy(right), torch.from_numpy(3 * labels), groups, draws=4001)
    assert found is not None and (found.unit, found.units) == ("subjects", 9)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, (0.025, 0.975))), abs=0.015)
    few = groups._replace(of=groups.of % 4)
    assert bootstrap_balanced(torch.from_numpy(right), torch.from_numpy(labels), few) is None
    plain = bootstrap(torch.from_numpy(right), groups)
    once = bootstrap_balanced(torch.from_numpy(right), torch.zeros(120, dtype=torch.int64), groups)
    assert plain is not None and once is not None  # of one class it is the accuracy's
    assert (once.low, once.high) == pytest.approx((plain.low, plain.high), abs=0.01)
    assert groups.take(torch.from_numpy(labels == 0)).of.tolist() == group[labels == 0].tolist()
