"""Measures of clusters against plain loops, and t-SNE against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bonestrap.protocols.clusters import separation
from bonestrap.protocols.tsne import affinities, slope, tsne


def test_distances_and_silhouette_are_those_of_plain_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(13, 5, generator=generator)
    y = torch.tensor([0, 0, 0, 0, 0, 2, 2, 2, 2, 7, 7, 7, 9])  # 9 is alone
    unit = x.double().numpy() / np.linalg.norm(x.double().numpy(), axis=1, keepdims=True)
    labels = y.tolist()

    def distance(i: int, j: int) -> float:
        return float(np.linalg.norm(unit[i] - unit[j]))

    pairs = [(i, j) for i in range(13) for j in range(i)]
    within = np.mean([distance(i, j) for i, j in pairs if labels[i] == labels[j]])
    between = np.mean([distance(i, j) for i, j in pairs if labels[i] != labels[j]])
    values = []
    for i in range(13):
        means = {
            label: np.mean([distance(i, j) for j in range(13) if labels[j] == label and j != i] or [math.nan])
            for label in set(labels)
        }
        own = means.pop(labels[i])
        other = min(means.values())
        values.append(0.0 if math.isnan(own) else float((other - own) / max(own, other)))
    found = separation(x, y, block=4)
    assert (found.within, found.between) == pytest.approx((within, between), abs=1e-9)
    assert found.silhouette == pytest.approx(np.mean(values), abs=1e-9)
    assert found.ratio == pytest.approx(between / within)


def test_one_class_or_none_twice_is_refused() -> None:
    for y in ([0, 0, 0], [0, 1, 2]):
        with pytest.raises(ValueError, match="two classes or more"):
            separation(torch.eye(3), torch.tensor(y))


def test_affinities_have_the_perplexity_and_the_slope_is_that_of_the_divergence() -> None:
    x = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    p = affinities(x, perplexity=5)
    assert p.sum().item() == pytest.approx(1) and torch.equal(p, p.T)
    # The first row of p, from each point's own Gaussian by a bisection of its own.
    d = ((x - x[0]) ** 2).sum(1).numpy()[1:]
    low, high = 1e-9, 1e9
    for _ in range(200):
        beta = math.sqrt(low * high)
        weight = np.exp(-d * beta)
        weight /= weight.sum()
        entropy = -(weight * np.log(np.maximum(weight, 1e-300))).sum()
        low, high = (beta, high) if entropy > math.log(5) else (low, beta)
    d_all = torch.cdist(x, x).square().numpy()
    reverse = []
    for i in range(1, 20):
        lo, hi = 1e-9, 1e9
        rest = np.delete(d_all[i], i)
        for _ in range(200):
            beta = math.sqrt(lo * hi)
            w = np.exp(-rest * beta)
            w /= w.sum()
            lo, hi = (beta, hi) if -(w * np.log(np.maximum(w, 1e-300))).sum() > math.log(5) else (lo, beta)
        reverse.append(w[0])
    np.testing.assert_allclose(p[0, 1:].numpy(), (weight + np.array(reverse)) / 40, atol=1e-8)

    y = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    kernel = (1 + torch.cdist(y, y).square()).reciprocal() * (1 - torch.eye(20, dtype=torch.float64))
    q = (kernel / kernel.sum()).clamp(min=1e-300)
    off = ~torch.eye(20, dtype=torch.bool)
    (p[off] * (p[off].clamp(min=1e-300).log() - q[off].log())).sum().backward()
    assert y.grad is not None
    torch.testing.assert_close(slope(y.detach(), p), y.grad, rtol=1e-6, atol=1e-9)


def test_groups_that_are_apart_are_apart_in_the_picture() -> None:
    generator = torch.Generator().manual_seed(3)
    centres = torch.eye(3).repeat_interleave(20, 0) * 8
    x = centres + torch.randn(60, 3, generator=generator)
    y = torch.arange(3).repeat_interleave(20)
    places = tsne(x, perplexity=10, iterations=500)
    torch.testing.assert_close(places, tsne(x, perplexity=10, iterations=500), rtol=0, atol=0)
    nearest = torch.cdist(places, places).fill_diagonal_(torch.inf).argmin(1)
    assert torch.equal(y[nearest], y)
    with pytest.raises(ValueError, match="too few for a perplexity of 30"):
        tsne(x)
