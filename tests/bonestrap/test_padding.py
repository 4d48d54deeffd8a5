"""Padding bodies against the same without them: nothing that is learned or noted knows of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bonestrap.capture import padding
from bonestrap.capture.graphs import padded
from bonestrap.clips import Clips
from bonestrap.momentum import BatchNorm, take_moments

REAL = torch.tensor([True, True, False, True, False])  # not only at the end: two padded sets follow each other


def layer() -> BatchNorm:
    norm = BatchNorm(3).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.5, -0.5, 2.0]))
        norm.bias.copy_(torch.tensor([0.1, 0.0, -3.0]))
    return norm


@pytest.mark.parametrize("mean", [0.0, 1e4])
def test_batch_norm_of_real_rows_alone(mean: float) -> None:
    """Output, moments and all gradients, whatever the padding holds."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 3, 4, 2, generator=generator, dtype=torch.float64) + mean
    dy = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    dy[~REAL] = 0  # padding is in no mean, so no gradient comes to it
    whole, real = x.clone().requires_grad_(), x[REAL].clone().requires_grad_()
    one, other = layer(), layer()
    with padding.among(REAL):
        y = one(whole)
    expected = other(real)
    torch.testing.assert_close(y[REAL], expected, rtol=1e-9, atol=1e-9)
    y.backward(dy)
    expected.backward(dy[REAL])
    assert whole.grad is not None and real.grad is not None
    torch.testing.assert_close(whole.grad[REAL], real.grad, rtol=1e-7, atol=1e-9)
    assert whole.grad[~REAL].count_nonzero() == 0
    torch.testing.assert_close(one.weight.grad, other.weight.grad, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(one.bias.grad, other.bias.grad)
    torch.testing.assert_close(take_moments([one]), take_moments([other]), rtol=1e-12, atol=0)


def test_evaluation_notes_real_rows_alone() -> None:
    x, one, other = torch.randn(5, 3, 4, 2, dtype=torch.float64), layer().eval(), layer().eval()
    one.notes_always = other.notes_always = True
    with padding.among(REAL):
        y = one(x)
    assert torch.equal(y[REAL], other(x[REAL]))
    torch.testing.assert_close(take_moments([one]), take_moments([other]), rtol=1e-12, atol=0)


def test_means_over_bodies_by_a_loop() -> None:
    """Of padded clips, and of two padded sets that follow each other."""
    first = Clips(torch.randn(3, 2, 5, 3), torch.tensor([0, 0, 1]), 2).padded(5)
    second = Clips(torch.randn(4, 2, 5, 3), torch.tensor([0, 1, 1, 2]), 3).padded(5)
    both = first.followed_by(second)
    features = np.random.default_rng(0).normal(size=(10, 6))
    expected = np.stack([features[rows].mean(0) for rows in ([0, 1], [2], [5], [6, 7], [8])])  # 3, 4 and 9 are padding
    torch.testing.assert_close(both.mean_over_bodies(torch.from_numpy(features)), torch.from_numpy(expected))
    assert first.joints[3:].count_nonzero() == 0


@pytest.mark.parametrize(("owners", "bodies"), [([0, 1, 2, 3], None), ([0, 0, 1, 2, 3], 5), ([0, 0, 1, 1, 2, 3], 6)])
def test_clips_of_one_body_each_get_no_padding(owners: list[int], bodies: int | None) -> None:
    alone = Clips(torch.zeros(len(owners), 2, 5, 3), torch.tensor(owners), 4)
    fuller = Clips(torch.zeros(4, 2, 5, 3), torch.arange(4), 4)
    first, (second,) = padded((alone, (fuller,)))
    assert [one.there is None for one in (first, second)] == [bodies is None] * 2
    assert len(first.owner) == len(second.owner) == (bodies or 4)
