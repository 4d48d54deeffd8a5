"""The fused graph convolution, forwards and backwards, against sums written out in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.bonestrap.kernels.references import relative

pytestmark = pytest.mark.usefixtures("interpreter")

# Bodies, frames, joints, channels in and out, partitions. One frame; whole and cut tiles, several a program; one frame
# or five in a tile; channels within, at and beyond a block, so the weight is kept or read again.
SIZES = [
    (1, 1, 25, 6, 16, 3),
    (2, 7, 25, 20, 64, 3),
    (3, 5, 11, 6, 19, 1),
    (1, 9, 39, 16, 8, 2),
    (1, 2, 17, 65, 130, 3),
    (1, 3, 33, 130, 40, 2),
    (1, 2, 25, 6, 512, 1),
]


def inputs(n: int, t: int, v: int, c: int, o: int, k: int) -> list[Tensor]:
    """x, graph, weight and bias."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(n, c, t, v), (k, v, v), (o, k * c), (v, o)]
    x, *others = (torch.randn(shape, generator=generator) for shape in shapes)
    return [x.contiguous(memory_format=torch.channels_last).requires_grad_(), *(o.requires_grad_() for o in others)]


def reference(x: Tensor, graph: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    weights = weight.view(len(weight), len(graph), -1)
    return torch.einsum("nctu,kvu,okc->notv", x, graph, weights) + bias.T[:, None]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_forward_and_backward(size: tuple[int, ...]) -> None:
    from bonestrap.kernels.graph_gradients import GraphConv

    leaves = inputs(*size)
    wide = [leaf.detach().double().requires_grad_() for leaf in leaves]
    y, again = GraphConv.apply(*leaves)
    expected = reference(*wide)
    assert relative(y, expected) < 1e-5
    assert torch.equal(again, leaves[0])
    generator = torch.Generator().manual_seed(1)
    dy, more = (torch.randn(part.shape, generator=generator) for part in (y, again))
    found = torch.autograd.grad([y, again], leaves, [dy, more])
    theirs = torch.autograd.grad([expected, wide[0] * 1], wide, [dy.double(), more.double()])
    for name, ours, right in zip(("x", "graph", "weight", "bias"), found, theirs, strict=True):
        assert relative(ours, right) < 1e-5, name


def test_a_residual_that_is_not_used_adds_nothing() -> None:
    from bonestrap.kernels.graph_gradients import GraphConv

    leaves = inputs(*SIZES[1])
    wide = [leaf.detach().double().requires_grad_() for leaf in leaves]
    y, _ = GraphConv.apply(*leaves)
    found = torch.autograd.grad(y.sum(), leaves)  # its gradient is one number expanded
    for ours, right in zip(found, torch.autograd.grad(reference(*wide).sum(), wide), strict=True):
        assert relative(ours, right) < 1e-5


def test_frozen_parameters_get_no_gradient() -> None:
    from bonestrap.kernels.graph_gradients import GraphConv

    leaves = inputs(*SIZES[0])
    x, *parameters = (leaf.detach() for leaf in leaves)
    y, _ = GraphConv.apply(x.requires_grad_(), *parameters)
    y.sum().backward()
    assert x.grad is not None
