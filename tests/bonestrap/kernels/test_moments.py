"""Moments in one pass against numpy in float64, far from zero too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.usefixtures("interpreter")

# Positions and channels: fewer than a tile has, one more than a tile, several tiles of each program, odd channels.
SHAPES = [(2, 16), (257, 3), (65, 70), (1100, 64), (2, 5, 7, 11), (9, 150, 4, 1)]


@pytest.mark.parametrize("offset", [0, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_moments(shape: tuple[int, ...], dtype: torch.dtype, offset: int) -> None:
    from bonestrap.kernels.moments import moments

    generator = torch.Generator().manual_seed(0)
    std = torch.linspace(0.5, 2, shape[1]).view(1, -1, *[1] * (len(shape) - 2))
    x = ((torch.randn(shape, generator=generator) + offset) * std).to(dtype)
    if x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    seen, mean, var = moments(x)
    values = np.moveaxis(x.double().numpy(), 1, 0).reshape(shape[1], -1)
    expected = values.mean(1), values.var(1)
    spread = np.sqrt(expected[1]) + 1e-30  # bfloat16 may leave two values the same
    assert (np.abs(mean.numpy() - expected[0]) / spread).max() < 1e-6
    assert (np.abs(var.numpy() - expected[1]) <= 1e-6 * expected[1] + 1e-30).all()
    sums, squares, count = seen.split([shape[1], shape[1], 1])
    np.testing.assert_allclose(sums, values.sum(1), rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(squares, (values**2).sum(1), rtol=1e-6)
    assert count.item() == values.shape[1]


def test_moments_leave_padding_out() -> None:
    from bonestrap.kernels.moments import moments

    x = torch.randn(6, 20, 40, 11, generator=torch.Generator().manual_seed(0)) + 3
    there = torch.tensor([True, True, False, True, True, False])
    x[~there] = 1e6
    seen, mean, var = moments(x, there)
    expected = x[there].double()
    torch.testing.assert_close(mean, expected.mean((0, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(var, expected.var((0, 2, 3), unbiased=False), rtol=1e-6, atol=0)
    torch.testing.assert_close(seen[20:40], expected.square().sum((0, 2, 3)), rtol=1e-6, atol=0)
    assert seen[-1] == 4 * 40 * 11


def test_the_sums_of_many_programs() -> None:
    """A GPU has more programs than are added at once."""
    from bonestrap.kernels.moments import finish

    generator = torch.Generator().manual_seed(0)
    partial = torch.rand(300, 2, 20, generator=generator, dtype=torch.float64)
    partial[:, 1] += 10
    counts = torch.randint(1, 9, (300,), generator=generator).double()
    seen, mean, var = torch.empty(41).double(), torch.empty(20).double(), torch.empty(20).double()
    finish[(2,)](partial, counts, seen, mean, var, 300, 20, 128, 16)
    total, squares, n = partial[:, 0].sum(0), partial[:, 1].sum(0), counts.sum()
    torch.testing.assert_close(seen, torch.cat((total, squares, n[None])), rtol=1e-12, atol=0)
    torch.testing.assert_close(mean, total / n, rtol=1e-12, atol=0)
    torch.testing.assert_close(var, squares / n - (total / n) ** 2, rtol=1e-9, atol=0)
