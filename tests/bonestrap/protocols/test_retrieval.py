"""Retrieval and few-shot recognition against scikit-learn and plain loops."""

from __future__ import annotations

from itertools import permutations, product
from math import comb

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import KNeighborsClassifier

from bonestrap.protocols.few_shot import few_shot, novel_classes
from bonestrap.protocols.retrieval import Gallery, retrieve
from tests.bonestrap.protocols.labelled import features


def gallery(count: int, seed: int, performances: int) -> Gallery:
    x, y = features(count, seed)
    generator = torch.Generator().manual_seed(seed)
    return Gallery(x, y, torch.randint(0, performances, (count,), generator=generator))


@pytest.mark.parametrize("same", [True, False])
def test_against_scikit_learn(same: bool) -> None:
    shelf = gallery(120, 0, 40)
    queries = shelf if same else gallery(70, 1, 40)
    similarity = cosine_similarity(queries.x.double(), shelf.x.double())
    precision, recall = [], []
    for row in range(len(queries.y)):
        kept = (shelf.performance != queries.performance[row]).numpy()
        right = (shelf.y[kept] == queries.y[row]).numpy()
        precision.append(average_precision_score(right, similarity[row][kept]))
        order = np.argsort(-similarity[row][kept])
        recall.append([right[order[:depth]].any() for depth in (1, 5, 10)])
    found = retrieve(queries, shelf)
    assert found.precision == pytest.approx(np.mean(precision), rel=1e-6)
    assert found.recall == pytest.approx(np.mean(recall, axis=0))
    assert found.queries == len(queries.y)
    np.testing.assert_allclose(found.each, precision, rtol=1e-6)
    again = retrieve(queries, shelf, block=7)
    assert again.recall == found.recall and again.precision == pytest.approx(found.precision)


def test_a_query_never_finds_its_own_performance() -> None:
    x = torch.tensor([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]])
    alone = Gallery(x, torch.tensor([0, 0, 1]), torch.tensor([5, 5, 6]))
    with pytest.raises(ValueError, match="no query"):
        retrieve(alone, alone)
    apart = alone._replace(performance=torch.tensor([5, 7, 6]))
    found = retrieve(apart, apart)  # the third has nothing to find
    assert found[:3] == (1.0, (1.0, 1.0, 1.0), 2) and found.asked.tolist() == [True, True, False]


def test_ties_count_as_the_mean_over_all_their_orders() -> None:
    """Seven recordings of which three and two are equally similar, against every order that these may have."""
    angles = torch.tensor([0.1, 0.3, 0.3, 0.3, 0.6, 0.9, 0.9])
    x = torch.stack((angles.cos(), angles.sin()), 1)
    for labels in product((0, 1), repeat=7):
        if not any(labels):
            continue
        shelf = Gallery(x, torch.tensor(labels), torch.arange(7))
        asked = Gallery(torch.tensor([[1.0, 0.0]]), torch.tensor([1]), torch.tensor([9]))
        precision, recall = [], []
        for first, last in product(permutations(labels[1:4]), permutations(labels[5:])):
            ranked = np.array([labels[0], *first, labels[4], *last])
            ranks = np.flatnonzero(ranked) + 1
            precision.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
            recall.append([ranked[:depth].any() for depth in (1, 5, 10)])
        found = retrieve(asked, shelf)
        assert found.precision == pytest.approx(np.mean(precision))
        assert found.recall == pytest.approx(np.mean(recall, axis=0))


@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_a_collapsed_encoder_does_not_depend_on_the_order_of_the_gallery(noise: float) -> None:
    """Features in one point, or apart by less than float32 computes: the mean over random orders."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(60) // 20
    x = torch.randn(1, 16, generator=generator) * (1 + noise * torch.randn(60, 16, generator=generator))
    shelf, asked = Gallery(x, y, torch.arange(60)), Gallery(x[:9], y[:9], torch.arange(100, 109))
    found = [retrieve(asked, Gallery(*(each[order] for each in shelf))) for order in (range(60), range(59, -1, -1))]
    assert found[0][:3] == found[1][:3]
    assert torch.equal(found[0].asked, found[1].asked) and torch.equal(found[0].each, found[1].each)
    shuffler = np.random.default_rng(0)
    precision = []
    for _ in range(4000):
        ranks = np.flatnonzero(shuffler.permutation(y.numpy()) == 0) + 1
        precision.append(np.mean(np.arange(1, 21) / ranks))
    assert found[0].precision == pytest.approx(np.mean(precision), abs=4 * np.std(precision) / 4000**0.5)
    assert found[0].recall == pytest.approx((20 / 60, 1 - comb(40, 5) / comb(60, 5), 1 - comb(40, 10) / comb(60, 10)))


@pytest.mark.parametrize("neighbours", [1, 3])
def test_few_shot_against_scikit_learn(neighbours: int) -> None:
    (pool_x, pool_y), (query_x, query_y) = features(200, 0), features(150, 1)
    found = few_shot(pool_x, pool_y, query_x, query_y, [1, 3], shots=3, episodes=4, seed=5, neighbours=neighbours)
    generator = torch.Generator().manual_seed(5)
    asked = (query_y == 1) | (query_y == 3)
    assert torch.equal(found.asked, asked)
    right = np.zeros(int(asked.sum()))
    for share in found.accuracies:
        rows = torch.cat([
            (places := (pool_y == label).nonzero().squeeze(1))[torch.randperm(len(places), generator=generator)[:3]]
            for label in (1, 3)
        ])  # fmt: skip
        peer = KNeighborsClassifier(neighbours, metric="cosine").fit(pool_x[rows].double(), pool_y[rows])
        assert share == pytest.approx(peer.score(query_x[asked].double(), query_y[asked]))
        right += peer.predict(query_x[asked].double()) == query_y[asked].numpy()
    np.testing.assert_allclose(found.right, right / 4)
    assert len(set(found.accuracies)) > 1


def test_few_shot_needs_exemplars_and_queries() -> None:
    x, y = features(20, 0)
    with pytest.raises(ValueError, match="shots must be at most"):
        few_shot(x, y, x, y, [0, 1], shots=20, episodes=2, seed=0)
    with pytest.raises(ValueError, match="no query"):
        few_shot(x, y, x[y > 1], y[y > 1], [0, 1], shots=1, episodes=2, seed=0)


def test_novel_classes_are_the_official_ones_or_half() -> None:
    official = novel_classes("ntu120", 120)
    assert len(official) == 20 and official[:3] == (0, 6, 12) and official[-1] == 114  # A001, A007, A013 ... A115
    assert len(novel_classes("nw-ucla", 10)) == 5 and set(novel_classes("nw-ucla", 10)) < set(range(10))
    assert novel_classes("nw-ucla", 10) == novel_classes("nw-ucla", 10)
