"""Ridge and logistic regression against scikit-learn and scipy, and the choice of their strength."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

from bonestrap.protocols.linear import (
    GRADIENT,
    Linear,
    NotConverged,
    balanced_accuracy,
    logistic,
    normalised_sgd,
    ridge,
    select,
    sgd,
)
from tests.bonestrap.protocols.labelled import features


def scaled(x: Tensor, by: Tensor) -> Tensor:
    """Columns of very different scale and offset, as standardising must not mind; one of them constant."""
    factors = torch.logspace(-2, 2, x.shape[1])
    x = x * factors + 5 * factors
    x[:, 0] = 3.0
    return x


@pytest.mark.parametrize("strength", [1e-2, 1.0, 1e3])
def test_ridge_against_scikit_learn(strength: float) -> None:
    (x, y), (test_x, test_y) = features(120, 0), features(80, 1)
    x, test_x = scaled(x, x), scaled(test_x, x)
    found = ridge(x, y, 4, strength)
    scaler = StandardScaler().fit(x.double())
    peer = RidgeClassifier(alpha=strength, solver="svd").fit(scaler.transform(x.double()), y)
    expected = peer.decision_function(scaler.transform(test_x.double()))
    logits = test_x.double() @ found.weight.T + found.bias
    np.testing.assert_allclose(logits, expected, rtol=1e-6, atol=1e-6)
    assert found.accuracy(test_x, test_y) == pytest.approx(np.mean(expected.argmax(1) == test_y.numpy()))


@pytest.mark.parametrize("strength", [1e-4, 1e-2, 1.0])
def test_logistic_against_scikit_learn(strength: float) -> None:
    (x, y), (test_x, _) = features(150, 0), features(80, 1)
    x, test_x = scaled(x, x), scaled(test_x, x)
    found = logistic(x, y, 4, strength)
    scaler = StandardScaler().fit(x.double())
    # scikit-learn minimises C times the summed cross-entropy plus half the squared weights.
    peer = LogisticRegression(C=1 / (strength * len(x)), max_iter=10_000, tol=1e-10)
    peer.fit(scaler.transform(x.double()), y)
    loss = F.cross_entropy(x.double() @ found.weight.T + found.bias, y).item()
    least = -peer.predict_log_proba(scaler.transform(x.double()))[np.arange(len(y)), y].mean()
    squares = (found.weight * torch.from_numpy(scaler.scale_)).square().sum().item()
    assert loss + strength / 2 * squares == pytest.approx(least + strength / 2 * (peer.coef_**2).sum(), rel=1e-6)
    logits = (test_x.double() @ found.weight.T + found.bias).log_softmax(1)
    expected = peer.predict_log_proba(scaler.transform(test_x.double()))
    # At the weakest the minimum is flat.
    np.testing.assert_allclose(logits, expected, atol=2e-3 if strength > 1e-3 else 0.1)
    np.testing.assert_array_equal(found.predict(test_x), expected.argmax(1))


def correlated(count: int) -> tuple[Tensor, Tensor]:
    """Features as encoders have them: positive, and most of their variance along few directions."""
    x, y = features(count, 0)
    generator = torch.Generator().manual_seed(5)
    mixed = (x / x.norm(dim=1, keepdim=True)) @ torch.randn(12, 60, generator=generator)
    return (mixed + 0.02 * torch.randn(count, 60, generator=generator)).relu(), y


@pytest.mark.parametrize("strength", [1e-5, 1e-3, 1.0])
def test_logistic_converges_to_the_minimum_of_scipy(strength: float) -> None:
    """At the weakest penalty L-BFGS needs far more than 200 iterations."""
    x, y = correlated(600)
    found = logistic(x, y, 4, strength)
    z, one_hot = StandardScaler().fit_transform(x.double()), F.one_hot(y, 4).double().numpy()

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = flat[:240].reshape(4, 60), flat[240:]
        logits = z @ weight.T + bias
        error = (softmax(logits, axis=1) - one_hot) / len(z)
        loss = -(log_softmax(logits, axis=1) * one_hot).sum() / len(z) + strength / 2 * (weight**2).sum()
        return float(loss), np.concatenate([(error.T @ z + strength * weight).ravel(), error.sum(0)])

    scale, mean = x.double().std(0, unbiased=False), x.double().mean(0)
    ours = np.concatenate([(found.weight * scale).flatten().numpy(), (found.bias + found.weight @ mean).numpy()])
    loss, gradient = objective(ours)
    assert np.abs(gradient).max() <= GRADIENT * (1 + 1e-6)
    options = {"maxiter": 100_000, "maxfun": 100_000, "ftol": 0.0, "gtol": 1e-9}
    least = minimize(objective, np.zeros(244), jac=True, method="L-BFGS-B", options=options)
    assert loss == pytest.approx(least.fun, rel=1e-6, abs=1e-6)


def test_what_does_not_converge_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = correlated(600)
    with pytest.raises(NotConverged, match="not finite"):
        logistic(x.index_fill(0, torch.tensor([3]), torch.nan), y, 4, 1.0)
    monkeypatch.setattr("bonestrap.protocols.linear.ITERATIONS", 20)
    with pytest.raises(NotConverged, match=r"penalty of 1e-05 stopped at a gradient of \d"):
        logistic(x, y, 4, 1e-5)


def test_sgd_against_a_loop_of_its_own() -> None:
    """Momentum, the two drops and the order of batches, in numpy; the first steps are large, so a slip shows."""
    x, y = features(40, 0)
    x, target = x.double() / 50, F.one_hot(y, 4).double()
    generator = torch.Generator().manual_seed(3)
    weight, bias = torch.zeros(4, 12).double(), torch.zeros(4).double()
    speed = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for epoch in range(100):
        rows = torch.randperm(40, generator=generator)
        error = ((x[rows] @ weight.T + bias).softmax(1) - target[rows]) / 40
        speed = [0.9 * v + g for v, g in zip(speed, (error.T @ x[rows], error.sum(0)), strict=True)]
        rate = 30 * (1 if epoch < 60 else 0.1 if epoch < 80 else 0.01)
        weight, bias = weight - rate * speed[0], bias - rate * speed[1]
    found = sgd(x.float(), y, 4, seed=3)
    torch.testing.assert_close(found.weight.double(), weight, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.bias.double(), bias, rtol=1e-3, atol=1e-3)


def test_sgd_cuts_batches_of_256() -> None:
    x, y = features(600, 0)
    found = [sgd(x / 50, y, 4, seed) for seed in (0, 0, 1)]
    assert torch.equal(found[0].weight, found[1].weight) and not torch.equal(found[0].weight, found[2].weight)
    assert found[0].accuracy(x / 50, y) > logistic(x, y, 4, 1e-5).accuracy(x, y) - 0.05


def test_a_class_without_rows_is_never_predicted() -> None:
    x, y = features(60, 0)
    for fit in (ridge, logistic):
        found = fit(x, y, 6, 1e-2)
        assert found.weight.shape == (6, 12)
        assert found.predict(x).max() <= 3


# ---------------------------------------------------------------------- selection


class Recorder:
    """Fits nothing, and notes which rows it was given to fit and to score."""

    def __init__(self, accuracy: dict[float, float]) -> None:
        self.accuracy_at = accuracy
        self.fitted: list[tuple[float, list[float]]] = []
        self.scorer_of: list[list[float]] = []

    def __call__(self, x: Tensor, y: Tensor, classes: int, strength: float) -> Linear:
        assert torch.equal(x[:, 0].long() % 4, y)  # rows and labels stay together
        self.fitted.append((strength, x[:, 0].tolist()))
        recorder = self

        class Scorer(Linear):
            def accuracy(self, x: Tensor, y: Tensor) -> float:
                assert torch.equal(x[:, 0].long() % 4, y)
                recorder.scorer_of.append(x[:, 0].tolist())
                return recorder.accuracy_at[strength]

        return Scorer(torch.zeros(classes, x.shape[1]), torch.zeros(classes))


def test_select_fits_outside_and_judges_inside_the_held_out_rows() -> None:
    rows = torch.arange(10.0)[:, None]
    labels = rows[:, 0].long() % 4
    held_out = torch.tensor([False, True, False, False, True, True, False, False, False, False])
    fit = Recorder({0.1: 0.5, 1.0: 0.75, 10.0: 0.75, 100.0: 0.25})
    _, strength, accuracy = select(fit, list(fit.accuracy_at), rows, labels, held_out, 4)
    inside, outside = [1.0, 4.0, 5.0], [0.0, 2.0, 3.0, 6.0, 7.0, 8.0, 9.0]
    assert fit.scorer_of == [inside] * 4
    assert fit.fitted[:4] == [(s, outside) for s in fit.accuracy_at]
    assert fit.fitted[4:] == [(10.0, rows[:, 0].tolist())]  # of equals the stronger, then refitted on all rows
    assert (strength, accuracy) == (10.0, 0.75)


def test_select_by_balanced_accuracy_against_scikit_learn() -> None:
    x, y = features(200, 0)
    y[: len(y) // 2] = 0
    held_out = torch.arange(200) % 2 == 0
    _, strength, best = select(ridge, (1e-2, 1e2, 1e6), x, y, held_out, 4, balanced_accuracy)
    expected = {
        s: balanced_accuracy_score(y[held_out], ridge(x[~held_out], y[~held_out], 4, s).predict(x[held_out]))
        for s in (1e-2, 1e2, 1e6)
    }
    assert best == pytest.approx(max(expected.values())) == pytest.approx(expected[strength])


def test_select_is_a_function_of_its_arguments() -> None:
    """Rows that were not handed over, such as a test set, cannot matter: the choice repeats bit for bit."""
    (x, y) = features(120, 0)
    held_out = torch.arange(120) % 3 == 0
    strengths = (0.1, 10.0, 1000.0)
    found = [select(ridge, strengths, x.clone(), y.clone(), held_out, 4) for _ in range(2)]
    assert found[0][1:] == found[1][1:]
    assert torch.equal(found[0][0].weight, found[1][0].weight)
    expected = {
        s: ridge(x[~held_out], y[~held_out], 4, s).accuracy(x[held_out], y[held_out]) for s in (0.1, 10.0, 1000.0)
    }
    assert found[0][2] == max(expected.values()) == expected[found[0][1]]
    assert torch.equal(found[0][0].weight, ridge(x, y, 4, found[0][1]).weight)


def test_normalised_sgd_is_a_linear_layer_on_batch_normalised_features() -> None:
    """In one batch of all rows: gradient descent on features with mean zero and variance one, as numpy does it."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 5, generator=generator) * 3 + 7, torch.arange(40) % 3
    z = x.double().numpy()
    z = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5)
    weight, bias, moved = np.zeros((3, 5)), np.zeros(3), [np.zeros((3, 5)), np.zeros(3)]
    for epoch in range(100):
        rate = 0.05 * (1 + np.cos(np.pi * epoch / 100))
        shares = np.exp(z @ weight.T + bias)
        slope = (shares / shares.sum(1, keepdims=True) - np.eye(3)[y.numpy()]) / 40
        for place, gradient in enumerate((slope.T @ z, slope.sum(0))):
            moved[place] = 0.9 * moved[place] + gradient
        weight, bias = weight - rate * moved[0], bias - rate * moved[1]
    found = normalised_sgd(x, y, 3, seed=0)
    mean, var = x.double().mean(0), x.double().var(0)  # what a hundred moving averages with momentum .1 come to
    raw = torch.from_numpy(weight) / (var + 1e-5).sqrt()
    torch.testing.assert_close(found.weight.double(), raw, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.bias.double(), torch.from_numpy(bias) - raw @ mean, rtol=1e-2, atol=1e-3)
