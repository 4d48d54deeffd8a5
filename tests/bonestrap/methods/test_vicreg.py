"""VICReg's terms against loops in numpy, its loss, and what it does to a collapsed network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bonestrap.augment import AGGRESSIVE
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Clips
from bonestrap.methods import VICRegConfig
from bonestrap.methods.spread import covariance_term, variance_term
from bonestrap.methods.vicreg.method import VICReg
from bonestrap.momentum import batch_norms
from distributed.loop import train
from distributed.strategy import Single
from tests.bonestrap.references import pooled
from tests.bonestrap.tiny import CLIP, LAYOUT, Pairs, byol, byol_job, encoder


class Says(nn.Module):
    """Answers with these embeddings, one call after the other, whatever it is given."""

    def __init__(self, *answers: Tensor) -> None:
        super().__init__()
        self.answers = list(answers)

    def forward(self, clips: Clips) -> Tensor:
        return self.answers.pop(0)


def embeddings(seed: int, clips: int = 6, dimensions: int = 4) -> Tensor:
    spread = torch.tensor([0.1, 0.7, 1.3, 2.0])[:dimensions]  # below and above one
    return torch.randn(clips, dimensions, generator=torch.Generator().manual_seed(seed)) * spread + 3


def variance(z: np.ndarray) -> float:
    return float(np.mean([max(0.0, 1 - np.sqrt(np.var(column, ddof=1) + 1e-4)) for column in z.T]))


def covariance(z: np.ndarray) -> float:
    c = np.cov(z.T)
    return float(sum(c[i, j] ** 2 for i in range(len(c)) for j in range(len(c)) if i != j) / len(c))


def vicreg(**settings: float) -> VICReg:
    views = (Pipeline(LAYOUT, CLIP, AGGRESSIVE) for _ in range(2))
    view1, view2 = views
    config = VICRegConfig(hidden=32, projection=16, **settings)  # type: ignore[arg-type]
    return VICReg(encoder(), config, view1=view1, view2=view2)


@pytest.mark.parametrize("seed", range(3))
def test_terms(seed: int) -> None:
    z = embeddings(seed)
    assert variance_term(z).item() == pytest.approx(variance(z.double().numpy()), rel=1e-5)
    assert covariance_term(z).item() == pytest.approx(covariance(z.double().numpy()), rel=1e-5)


def test_independent_dimensions_of_spread_one_cost_nothing() -> None:
    z = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert variance_term(z).item() == covariance_term(z).item() == 0


def test_terms_are_the_same_in_half_precision() -> None:
    z = embeddings(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert covariance_term(z).item() == pytest.approx(covariance(z.double().numpy()), rel=1e-5)


def test_loss_is_the_weighted_sum() -> None:
    z1, z2 = embeddings(1, clips=2), embeddings(2, clips=2)
    method = vicreg(invariance=2.0, variance=3.0, covariance=0.5)
    method.online = Says(z1, z2)  # type: ignore[assignment]
    found = method(Pairs(size=2).group(0, 0), 0)
    a, b = z1.double().numpy(), z2.double().numpy()
    expected = 2 * ((a - b) ** 2).mean() + 3 * (variance(a) + variance(b)) + 0.5 * (covariance(a) + covariance(b))
    assert found["loss"].item() == pytest.approx(expected, rel=1e-5)


def test_byol_takes_the_terms_of_its_online_projections() -> None:
    z1, z2 = embeddings(1, clips=2), embeddings(2, clips=2)
    a, b = z1.double().numpy(), z2.double().numpy()
    losses = {}
    for weights in ((0.0, 0.0), (0.3, 0.0), (0.3, 0.7)):
        method = byol()
        method.config = dataclasses.replace(method.config, variance=weights[0], covariance=weights[1])
        method.online, method.predictor = Says(z1, z2), nn.Identity()  # type: ignore[assignment]
        method.target = Says(torch.cat((z1, z2)))  # type: ignore[assignment]
        losses[weights] = method(Pairs(size=2).group(0, 0), 0)["loss"].item()
    added = 0.3 * (variance(a) + variance(b))
    assert losses[0.3, 0.0] - losses[0.0, 0.0] == pytest.approx(added, abs=1e-5)
    added += 0.7 * (covariance(a) + covariance(b))
    assert losses[0.3, 0.7] - losses[0.0, 0.0] == pytest.approx(added, abs=1e-5)


def test_statistics_follow_the_batches_of_both_views(tmp_path: Path) -> None:
    method = vicreg()
    layer = batch_norms(method.online.projector)[0]
    seen: list[Tensor] = []
    layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    train(dataclasses.replace(byol_job(tmp_path, steps=1), method=method, optimizer=sgd(method)), Single())
    mean, var = pooled(seen)
    np.testing.assert_allclose(layer.mean, mean, atol=1e-5)
    np.testing.assert_allclose(layer.var, var, rtol=1e-4, atol=1e-6)


def sgd(method: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(method.parameters(), lr=1.0, momentum=0.9)


def test_it_learns_and_keeps_its_spread(tmp_path: Path) -> None:
    method = vicreg()
    batch = Pairs(size=8).group(0, 0)
    before = {name: value.item() for name, value in method(batch, 0).items()}
    job = byol_job(tmp_path, steps=15, loader=Pairs(groups=1, size=8))
    train(dataclasses.replace(job, method=method, optimizer=sgd(method)), Single())
    after = {name: value.item() for name, value in method.train()(batch, 15).items()}
    assert after["loss"] < before["loss"] and after["variance"] < before["variance"]
