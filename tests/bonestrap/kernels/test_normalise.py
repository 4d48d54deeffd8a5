"""Normalisation, residual and ReLU in one kernel, forwards and backwards, against torch in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bonestrap.capture import padding
from bonestrap.momentum import BatchNorm
from tests.bonestrap.kernels.references import relative

pytestmark = pytest.mark.usefixtures("interpreter")

# One row of tiles and several of each program, whole and cut, with less and more channels than a tile is wide.
SHAPES = [(3, 20, 5, 11), (2, 70, 9, 13), (600, 6), (8, 64)]


def layer_and_input(shape: tuple[int, ...], residual: bool) -> tuple[BatchNorm, list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    layer = BatchNorm(shape[1])
    with torch.no_grad():
        layer.weight.uniform_(0.5, 1.5, generator=generator)
        layer.bias.uniform_(-1, 1, generator=generator)
    inputs = [torch.randn(shape, generator=generator) * 2 + 3, torch.randn(shape, generator=generator)]
    if len(shape) == 4:
        inputs = [x.contiguous(memory_format=torch.channels_last) for x in inputs]
    return layer, [x.requires_grad_() for x in inputs[: 1 + residual]]


def reference(layer: BatchNorm, inputs: list[Tensor], relu: bool, moving: bool = False) -> tuple[Tensor, list[Tensor]]:
    """The output in float64, and the leaves that it depends on."""
    leaves = [x.detach().double().requires_grad_() for x in (inputs[0], layer.weight, layer.bias, *inputs[1:])]
    mean, var = (layer.mean.double(), layer.var.double()) if moving else (None, None)
    y = F.batch_norm(leaves[0], mean, var, leaves[1], leaves[2], training=not moving, eps=layer.eps)
    y = y + leaves[3] if len(leaves) > 3 else y
    return F.relu(y) if relu else y, leaves


@pytest.mark.parametrize("relu", [False, True], ids=["", "relu"])
@pytest.mark.parametrize("residual", [False, True], ids=["", "residual"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_training(shape: tuple[int, ...], residual: bool, relu: bool) -> None:
    layer, inputs = layer_and_input(shape, residual)
    y = layer(*inputs, relu=relu)
    assert "Normalise" in str(y.grad_fn)
    expected, leaves = reference(layer, inputs, relu)
    assert relative(y, expected) < 1e-5
    dy = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad(y, [inputs[0], layer.weight, layer.bias, *inputs[1:]], dy)
    for ours, theirs in zip(found, torch.autograd.grad(expected, leaves, dy.double()), strict=True):
        assert relative(ours, theirs) < 1e-5


def test_padding_gets_no_gradient_and_gives_none() -> None:
    layer, inputs = layer_and_input((5, 20, 5, 11), residual=True)
    there = torch.tensor([True, False, True, True, False])
    with padding.among(there):
        y = layer(*inputs, relu=True)
    expected, leaves = reference(layer, [x[there] for x in inputs], relu=True)
    assert relative(y[there], expected) < 1e-5
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)) * there.view(-1, 1, 1, 1)
    dx, dweight, dbias, dresidual = torch.autograd.grad(y, [inputs[0], layer.weight, layer.bias, inputs[1]], dy)
    found = dx[there], dweight, dbias, dresidual[there]
    for ours, theirs in zip(found, torch.autograd.grad(expected, leaves, dy[there].double()), strict=True):
        assert relative(ours, theirs) < 1e-5
    assert not dx[~there].any() and not dresidual[~there].any()
    assert layer.seen is not None and layer.seen[-1] == 3 * 5 * 11


@pytest.mark.parametrize("residual", [False, True], ids=["", "residual"])
def test_evaluation_uses_the_moving_statistics_and_notes_only_when_told(residual: bool) -> None:
    layer, inputs = layer_and_input(SHAPES[0], residual)
    layer.eval()
    layer.mean.uniform_(2, 4)
    layer.var.uniform_(1, 5)
    with torch.no_grad():
        y = layer(*inputs, relu=True)
        assert layer.seen is None
        layer.notes_always = True
        layer(*inputs, relu=True)
    assert relative(y, reference(layer, inputs, relu=True, moving=True)[0]) < 1e-5
    assert layer.seen is not None
    sums = inputs[0].double().sum((0, 2, 3))
    assert relative(layer.seen[: len(sums)], sums) < 1e-6


def test_a_gradient_through_moving_statistics_is_that_of_constants() -> None:
    layer, inputs = layer_and_input(SHAPES[0], residual=True)
    layer.eval()
    layer.var.uniform_(1, 5)
    expected, leaves = reference(layer, inputs, relu=True, moving=True)
    (found,) = torch.autograd.grad(layer(*inputs, relu=True).sum(), inputs[0])
    (theirs,) = torch.autograd.grad(expected.sum(), leaves[0])
    assert relative(found, theirs) < 1e-5


def test_any_memory_format() -> None:
    """Channels first, and a gradient that is one number expanded."""
    layer, _ = layer_and_input(SHAPES[0], residual=False)
    x = torch.randn(SHAPES[0]).requires_grad_()
    y = layer(x, relu=True)
    expected, leaves = reference(layer, [x], relu=True)
    (found,) = torch.autograd.grad(y.mean(), x)
    (theirs,) = torch.autograd.grad(expected.mean(), leaves[0])
    assert relative(y, expected) < 1e-5
    assert relative(found, theirs) < 1e-5
