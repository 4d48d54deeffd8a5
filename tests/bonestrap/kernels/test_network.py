"""A network with kernels against the same network without, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bonestrap import kernels
from bonestrap.encoders import STGCNConfig
from bonestrap.encoders.stgcn.network import STGCN
from bonestrap.layouts import SBU15
from bonestrap.momentum import batch_norms, take_moments
from tests.bonestrap.kernels.references import relative

pytestmark = pytest.mark.usefixtures("interpreter")


def encoder(dropout: float = 0.0) -> STGCN:
    """Of each kind of block one: without residual, with an identity, with a strided shortcut."""
    torch.manual_seed(0)
    network = STGCN(STGCNConfig(width=1 / 8, dropout=dropout), SBU15, channels=6)
    network.blocks = nn.Sequential(*(network.blocks[index] for index in (0, 1, 4)))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1 or "importance" in name:
                parameter.uniform_(0.5, 1.5)
    return network


def step(network: STGCN, joints: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Features, moments and gradients."""
    features = network.encode_bodies(joints)
    network.zero_grad()
    (features * torch.arange(features.numel()).view_as(features).cos()).sum().backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return features.detach(), take_moments(batch_norms(network)), gradients


def test_features_moments_and_gradients() -> None:
    network = encoder()
    joints = torch.randn(3, 5, 15, 6)
    features, moments, gradients = step(network, joints)
    expected_features, expected_moments, expected = step(network.double(), joints.double())
    assert relative(features, expected_features.double()) < 1e-5
    assert relative(moments, expected_moments) < 1e-6
    assert len(gradients) == len(list(network.parameters()))
    # A bias before batch normalisation has no effect, and rounding alone for a gradient.
    scale = max(gradient.abs().max().item() for gradient in expected.values())
    for name, gradient in expected.items():
        assert (gradients[name].double() - gradient).norm() < 1e-5 * gradient.norm() + 1e-5 * scale, name


def test_every_step_of_a_block_takes_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    from bonestrap.encoders.stgcn.network import SpatialGraphConv
    from bonestrap.momentum import BatchNorm

    network = encoder()
    monkeypatch.setattr(SpatialGraphConv, "plain", None)
    monkeypatch.setattr(BatchNorm, "normalised", None)
    network.encode_bodies(torch.randn(1, 3, 15, 6))
    network.eval()
    with torch.no_grad():
        network.encode_bodies(torch.randn(1, 3, 15, 6))


def test_dropout_lies_between_normalisation_and_residual(monkeypatch: pytest.MonkeyPatch) -> None:
    block, x = encoder(dropout=0.5).blocks[1], torch.randn(2, 8, 4, 15)
    torch.manual_seed(1)
    found = block(x)
    monkeypatch.delenv("TRITON_INTERPRET")
    torch.manual_seed(1)
    assert relative(found, block(x).double()) < 1e-5


def test_evaluation() -> None:
    network = encoder().eval()
    joints = torch.randn(2, 4, 15, 6)
    with torch.no_grad():
        features = network.encode_bodies(joints)
        assert relative(features, network.double().encode_bodies(joints.double()).double()) < 1e-5


@pytest.mark.parametrize("measure", kernels.PARITY.values(), ids=kernels.PARITY)
def test_parity_as_a_benchmark_measures_it(measure: Callable[[torch.device], float]) -> None:
    assert 0 < measure(torch.device("cpu")) < 1e-5


def test_where_kernels_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(1, 6, 2, 25)
    assert kernels.usable(x) and kernels.convolves(x, 512, 3)
    assert not kernels.usable(x.double()) and not kernels.usable(x, x.half()) and not kernels.usable(x[:0])
    assert not kernels.convolves(x, 513, 3) and not kernels.convolves(x, 64, 4)
    assert not kernels.convolves(torch.zeros(1, 6, 2, 65), 64, 3)
    monkeypatch.delenv("TRITON_INTERPRET")
    assert not kernels.usable(x) and not kernels.convolves(x, 64, 3)
