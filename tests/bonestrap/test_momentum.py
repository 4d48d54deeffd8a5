"""Moving statistics and averages against numpy in float64 and against closed forms (document 001, Eq. 3 and 4)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap.momentum import (
    BatchNorm,
    commit,
    cosine_momentum,
    ema,
    moments_size,
    take_moments,
    warm_alpha,
)
from tests.bonestrap.references import error, pooled


def inputs(*shape: int, offset: float = 0.0, seed: int = 0) -> Tensor:
    """Channel c lies around offset * (1 + c / 10) with a deviation between .5 and 1.5."""
    generator = torch.Generator().manual_seed(seed)
    column = (1, -1) if len(shape) == 2 else (1, -1, 1, 1)
    x = torch.randn(shape, generator=generator) * torch.linspace(0.5, 1.5, shape[1]).view(column)
    x = x + offset * (1 + torch.arange(shape[1]) / 10).view(column)
    return x.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else x


# The kernel's own float32 statistics miss 1e-6 in most of these.
SHAPES = [(512, 24), (64, 16, 32, 25), (96, 4, 150, 25), (3, 8, 2, 15)]


@pytest.mark.parametrize("offset", [0.0, 3.0, 100.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_moments_of_several_groups_are_those_of_their_union(shape: tuple[int, ...], offset: float) -> None:
    layer, follower = BatchNorm(shape[1]), BatchNorm(shape[1])
    # Groups of different sizes around different means: averaging their variances would lose the spread between them.
    parts = [inputs(*shape, offset=offset), inputs(shape[0] // 2, *shape[1:], offset=offset + 2, seed=1)]
    for part in parts:
        layer(part)
    commit(take_moments([layer]), [[layer], [follower]], alpha=0.0)
    assert error(layer, parts) < 1e-6
    assert torch.equal(layer.mean, follower.mean) and torch.equal(layer.var, follower.var)


def test_training_normalises_with_the_batch_and_evaluation_with_the_moving_statistics() -> None:
    layer = BatchNorm(6)
    with torch.no_grad():
        layer.weight.copy_(torch.rand(6) + 0.5)
        layer.bias.copy_(torch.randn(6))
    x = inputs(9, 6, 4, 5, offset=2).requires_grad_()
    expected = nn.BatchNorm2d(6)
    expected.load_state_dict({"weight": layer.weight, "bias": layer.bias}, strict=False)
    y = layer(x)
    torch.testing.assert_close(y, expected(x))
    weights = torch.randn(y.shape)
    (one,) = torch.autograd.grad((y * weights).sum(), x)
    (two,) = torch.autograd.grad((expected(x) * weights).sum(), x)
    torch.testing.assert_close(one, two)
    # Nothing moves in a forward pass; `commit` does it.
    assert torch.equal(layer.mean, torch.zeros(6)) and torch.equal(layer.var, torch.ones(6))
    commit(take_moments([layer]), [[layer]], alpha=0.0)
    layer.eval()
    torch.testing.assert_close(layer(x), y, rtol=1e-4, atol=1e-5)
    assert not layer.seen


def test_moving_statistics_follow_equation_4() -> None:
    layer = BatchNorm(5)
    mean, var = np.zeros(5), np.ones(5)
    for step, alpha in enumerate([0.0, 0.5, 0.9, 0.9, 0.99]):
        parts = [inputs(20, 5, offset=step, seed=10 * step + k) for k in range(3)]
        for part in parts:
            layer(part)
        commit(take_moments([layer]), [[layer]], alpha)
        batch_mean, batch_var = pooled(parts)
        mean = alpha * mean + (1 - alpha) * batch_mean
        var = alpha * var + (1 - alpha) * batch_var
        np.testing.assert_allclose(layer.mean, mean, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(layer.var, var, rtol=1e-6)


def test_sums_of_ranks_add_up_to_the_moments_of_all() -> None:
    first, second = BatchNorm(4), BatchNorm(7)
    between = nn.Linear(4, 7)
    seen: list[tuple[Tensor, Tensor]] = []
    vectors = []
    for rank in range(2):
        for group in range(1 + rank):
            x = inputs(11 + rank, 4, offset=5.0 * rank, seed=2 * rank + group)
            y = between(first(x))
            second(y)
            seen.append((x, y))
        vectors.append(take_moments([first, second]))
        assert vectors[-1].shape == (moments_size([first, second]),)
        assert vectors[-1].dtype == torch.float64 and not vectors[-1].requires_grad
    commit(torch.stack(vectors).sum(0), [[first, second]], alpha=0.0)
    assert error(first, [x for x, _ in seen]) < 1e-6
    assert error(second, [y for _, y in seen]) < 1e-6


def test_taking_the_moments_empties_the_notes() -> None:
    layer = BatchNorm(3)
    layer(inputs(8, 3))
    first = take_moments([layer])
    assert first[-1] == 8
    assert not take_moments([layer]).any()


@pytest.mark.parametrize("shape", [(6, 5), (4, 3, 7, 2)])
def test_gradients_are_those_of_batch_normalisation(shape: tuple[int, ...]) -> None:
    layer = BatchNorm(shape[1]).double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64) * 3 + 5
    dy = torch.randn(shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2, generator=generator)
        layer.bias.uniform_(-1, 1, generator=generator)
    found: list[Tensor] = []
    expected: list[Tensor] = []
    for values, normalise in (
        (found, layer),
        (expected, lambda x: F.batch_norm(x, None, None, layer.weight, layer.bias, training=True, eps=layer.eps)),
    ):
        leaf = x.clone().requires_grad_()
        y = normalise(leaf)
        values += [y, *torch.autograd.grad(y, [leaf, layer.weight, layer.bias], dy)]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_a_network_without_batch_norm_adds_nothing() -> None:
    moments = torch.zeros(moments_size([]), dtype=torch.float64)
    moments += take_moments([])
    commit(moments, [[]], alpha=0.9)
    assert moments.numel() == 0


def test_a_shorter_follower_takes_the_first_layers() -> None:
    layers = [BatchNorm(3), BatchNorm(3)]
    for layer, offset in zip(layers, (1.0, 7.0), strict=True):
        layer(inputs(16, 3, offset=offset))
    target = [BatchNorm(3)]
    commit(take_moments(layers), [layers, target], alpha=0.0)
    assert torch.equal(target[0].mean, layers[0].mean)


def test_bf16_inputs_keep_float32_moments() -> None:
    layer = BatchNorm(8)
    x = inputs(32, 8, 10, 15, offset=4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    commit(take_moments([layer]), [[layer]], alpha=0.0)
    assert error(layer, [x]) < 1e-6


def test_one_value_a_channel_cannot_be_normalised() -> None:
    with pytest.raises(ValueError, match="larger normalisation groups"):
        BatchNorm(4)(torch.zeros(1, 4))


# ---------------------------------------------------------------------- schedules and averages


def test_warm_alpha_is_a_plain_average_at_first() -> None:
    values = np.random.default_rng(0).normal(size=60)
    mean = 123.0  # the initial value leaves no trace
    for step, value in enumerate(values[:10]):
        alpha = warm_alpha(0.9, step)
        mean = alpha * mean + (1 - alpha) * value
    assert mean == pytest.approx(values[:10].mean())
    assert [warm_alpha(0.9, step) for step in (9, 10, 1000)] == [0.9] * 3
    assert warm_alpha(0.0, 50) == 0.0


def test_lambda_rises_along_a_cosine() -> None:
    for step in (0, 1, 17, 50, 99, 100):
        expected = 1 - 0.01 * (1 + math.cos(math.pi * step / 100)) / 2
        assert cosine_momentum(0.99, step, 100) == pytest.approx(expected, rel=1e-12)
    assert cosine_momentum(0.99, 0, 100) == pytest.approx(0.99)
    assert cosine_momentum(0.99, 50, 100) == pytest.approx(0.995)
    assert cosine_momentum(0.99, 150, 100) == 1


def test_ema_moves_the_target_alone() -> None:
    online, target = nn.Linear(3, 2), nn.Linear(3, 2)
    before = [p.detach().double().clone() for p in target.parameters()]
    there = [p.detach().clone() for p in online.parameters()]
    ema(target, online, 0.96)
    for p, old, new, kept in zip(target.parameters(), before, there, online.parameters(), strict=True):
        torch.testing.assert_close(p.double(), 0.96 * old + 0.04 * new, rtol=1e-6, atol=1e-7)
        assert torch.equal(kept, new)
