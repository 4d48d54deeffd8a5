"""How exact the kernels are on a device: their largest relative error against torch in float64.

Legend: N bodies, C and D channels, T frames, V joints, K partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def moments(device: torch.device) -> float:
    """Of the variance, on data whose mean is 100 standard deviations."""
    from bonestrap.kernels.moments import moments

    (x,) = random(device, torch.float32, (3, 20, 40, 25))
    _, _, var = moments(x.detach() + 100)
    return error([var], [(x.detach() + 100).double().var((0, 2, 3), unbiased=False)])


def normalise(device: torch.device) -> float:
    """Of the output and all gradients, in float32."""
    from bonestrap.momentum import BatchNorm

    layer = BatchNorm(20).to(device)
    x, residual, dy = random(device, torch.float32, *[(3, 20, 40, 25)] * 3)
    leaves = [x, residual, layer.weight, layer.bias]
    y = layer(x, residual, relu=True)
    wide = [leaf.detach().double().requires_grad_() for leaf in leaves]
    expected = F.relu(F.batch_norm(wide[0], None, None, wide[2], wide[3], training=True, eps=layer.eps) + wide[1])
    found = torch.autograd.grad(y, leaves, dy)
    return error([y, *found], [expected, *torch.autograd.grad(expected, wide, dy.double())])


def graph_convolution(device: torch.device) -> float:
    """Of the output and all gradients, in bfloat16, whose rounding is 4e-3; float32 where kernels are interpreted."""
    from bonestrap.kernels import interpreted
    from bonestrap.kernels.graph_gradients import GraphConv

    dtype = torch.float32 if interpreted() else torch.bfloat16
    n, c, d, t, v, k = 2, 20, 64, 7, 25, 3
    x, dy = random(device, dtype, (n, c, t, v), (n, d, t, v))
    leaves = [x, *random(device, torch.float32, (k, v, v), (d, k * c), (v, d))]
    y, _ = GraphConv.apply(*leaves)  # type: ignore[no-untyped-call]
    wide = [leaf.detach().double().requires_grad_() for leaf in leaves]
    expected = torch.einsum("nctu,kvu,dkc->ndtv", wide[0], wide[1], wide[2].view(d, k, c)) + wide[3].T[:, None]
    found = torch.autograd.grad(y, leaves, dy)
    return error([y, *found], [expected, *torch.autograd.grad(expected, wide, dy.double())])


def random(device: torch.device, dtype: torch.dtype, *shapes: Sequence[int]) -> list[Tensor]:
    """Normal values, the same on every device; channels last where there are four dimensions."""
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes]
    return [(x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x).requires_grad_() for x in made]


def error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest norm of an error over the norm of its reference."""
    return max(
        float((ours.double() - theirs).norm() / theirs.norm()) for ours, theirs in zip(found, expected, strict=True)
    )


PARITY: dict[str, Callable[[torch.device], float]] = {
    "moments": moments,
    "normalise, residual, ReLU": normalise,
    "graph convolution": graph_convolution,
}
