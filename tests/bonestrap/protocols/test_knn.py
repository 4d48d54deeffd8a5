"""k nearest neighbours against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from bonestrap.protocols.knn import knn_accuracy, knn_predict, knn_votes
from tests.bonestrap.protocols.labelled import features


@pytest.mark.parametrize("k", [1, 3, 5, 10])
def test_against_scikit_learn(k: int) -> None:
    (train_x, train_y), (test_x, test_y) = features(300, 0), features(200, 1)
    peer = KNeighborsClassifier(k, metric="cosine").fit(train_x.double(), train_y)
    share = peer.predict_proba(test_x.double())
    best = np.sort(share, axis=1)
    clear = best[:, -1] > best[:, -2]  # scikit-learn breaks ties by the class number
    found = knn_predict(train_x, train_y, test_x, k)
    np.testing.assert_array_equal(found[clear], peer.predict(test_x.double())[clear])
    assert clear.mean() > 0.7
    np.testing.assert_array_equal(found, knn_predict(train_x, train_y, test_x, k, block=7))
    assert knn_accuracy(train_x, train_y, test_x, test_y, k) == pytest.approx((found == test_y).double().mean().item())
    if k == 1:
        assert clear.all()
        assert knn_accuracy(train_x, train_y, test_x, test_y) == pytest.approx(peer.score(test_x.double(), test_y))


def angles(*degrees: float) -> Tensor:
    radians = torch.tensor(degrees).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], 1)


def test_a_tie_goes_to_the_more_similar_neighbours() -> None:
    train_x = angles(10, -30, 40, -20)
    query = angles(0)
    # Two of each: class 0 at 10 and 40 degrees, class 1 at 30 and 20: cos 10 + cos 40 < cos 30 + cos 20.
    assert knn_predict(train_x, torch.tensor([0, 1, 0, 1]), query, k=4).tolist() == [1]
    assert knn_predict(train_x, torch.tensor([1, 0, 1, 0]), query, k=4).tolist() == [0]
    assert knn_predict(train_x, torch.tensor([5, 3, 3, 5]), query, k=2).tolist() == [5]


def test_similarity_never_outvotes_a_neighbour() -> None:
    train_x = angles(0, 0, 170, 175, 178)
    assert knn_predict(train_x, torch.tensor([0, 0, 1, 1, 1]), angles(0), k=5).tolist() == [1]


@pytest.mark.parametrize(("k", "temperature"), [(5, 0.07), (20, 0.07), (20, 1.0), (50, 0.01)])
def test_weighted_votes_against_scikit_learn(k: int, temperature: float) -> None:
    (train_x, train_y), (test_x, _) = features(300, 0), features(200, 1)
    unit = torch.nn.functional.normalize(train_x.double()), torch.nn.functional.normalize(test_x.double())
    peer = KNeighborsClassifier(k, metric="cosine", weights=lambda d: np.exp(-d / temperature)).fit(unit[0], train_y)
    expected = peer.predict_proba(unit[1])
    votes = knn_votes(train_x, train_y, test_x, 6, k, temperature)
    np.testing.assert_allclose(votes.exp().log().nan_to_num(neginf=0)[:, :4], expected, atol=1e-5)
    np.testing.assert_array_equal(votes.argmax(1), expected.argmax(1))
    assert (votes[:, 4:] == -torch.inf).all()  # nobody voted for classes that do not occur
    if k == 20:
        plain = knn_predict(train_x, train_y, test_x, k)
        assert (votes.argmax(1) != plain).any() == (temperature < 1)  # similarity counts where it is cold


def test_k_is_at_most_the_number_of_training_rows() -> None:
    train_x, train_y = features(5, 0)
    for k in (0, 6):
        with pytest.raises(ValueError, match=r"between 1 and the number of training features \(5\)"):
            knn_predict(train_x, train_y, train_x, k)
