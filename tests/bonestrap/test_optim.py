"""Optimizers beside torch's own set up by hand, and the schedule against its closed form."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bonestrap.encoders.encoder import Encoder
from bonestrap.methods.method import Group, Method
from bonestrap.optim import SGD, START, AdamW, OptimizerConfig, Schedule, cosine


class Layered(Encoder):
    """Three layers, and a parameter that lies in none of them."""

    def __init__(self) -> None:
        super().__init__()
        self.features = 4
        self.position = nn.Parameter(torch.randn(1, 6))
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 4)
        self.norm = nn.LayerNorm(4)

    def encode_bodies(self, joints_NTVC: Tensor) -> Tensor:
        x = torch.relu(self.first(joints_NTVC.flatten(2).mean(1) + self.position))
        return self.norm(self.second(x))

    def layers(self) -> Sequence[nn.Module]:
        return [self.first, self.second, self.norm]


class Toy(Method):
    def __init__(self, head_scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = Layered()
        self.head = nn.Linear(4, 3)
        self.matrix = nn.Parameter(torch.randn(2, 3))
        self.head.bias.data.uniform_(0.5, 1)
        self.frozen = nn.Parameter(torch.randn(3), requires_grad=False)
        self.head_scale = head_scale

    def parameter_groups(self) -> list[Group]:
        encoder = [(f"encoder.{name}", p) for name, p in self.encoder.named_parameters()]
        head = [(f"head.{name}", p) for name, p in self.head.named_parameters()]
        return [Group(encoder), Group([*head, ("matrix", self.matrix)], scale=self.head_scale)]

    def loss(self, seed: int) -> Tensor:
        x = torch.randn(7, 2, 3, 2, generator=torch.Generator().manual_seed(seed))
        return (self.head(self.encoder.encode_bodies(x)) @ self.matrix.T).square().mean()


def trained(method: Toy, optimizer: torch.optim.Optimizer, steps: int = 5) -> dict[str, Tensor]:
    """The weights after some steps, at a rate that changes as the loop changes it."""
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 / (1 + step) * group["scale"]
        optimizer.zero_grad()
        method.loss(step).backward()
        optimizer.step()
    return {name: p.detach().clone() for name, p in method.named_parameters()}


# By hand: how many layers lie above, and whether it is a weight (a matrix that is no bias).
DEPTH = {
    "encoder.position": 3,
    "encoder.first.weight": 3,
    "encoder.first.bias": 3,
    "encoder.second.weight": 2,
    "encoder.second.bias": 2,
    "encoder.norm.weight": 1,
    "encoder.norm.bias": 1,
    "head.weight": 0,
    "head.bias": 0,
    "matrix": 0,
}
DECAYED = {"encoder.position", "encoder.first.weight", "encoder.second.weight", "head.weight", "matrix"}


def by_hand(method: Toy, config: OptimizerConfig) -> list[dict[str, Any]]:
    """A group for every parameter."""
    named = dict(method.named_parameters())
    groups = []
    for name, above in DEPTH.items():
        scale = config.layer_decay**above * (1.0 if name.startswith("encoder") else method.head_scale)
        decay = config.weight_decay if config.decay_all or name in DECAYED else 0.0
        groups.append({"params": [named[name]], "scale": scale, "weight_decay": decay})
    return groups


@pytest.mark.parametrize("decay_all", [False, True])
@pytest.mark.parametrize("layer_decay", [1.0, 0.65])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_the_steps_of_torch_set_up_by_hand(kind: str, layer_decay: float, decay_all: bool) -> None:
    config: OptimizerConfig
    if kind == "sgd":
        config = SGD(momentum=0.8, weight_decay=0.1, layer_decay=layer_decay, decay_all=decay_all)
    else:
        config = AdamW(betas=(0.7, 0.9), weight_decay=0.1, layer_decay=layer_decay, decay_all=decay_all)
    ours, theirs, start = Toy(head_scale=3.0), Toy(head_scale=3.0), Toy()
    groups = by_hand(theirs, config)
    peer: torch.optim.Optimizer
    if kind == "sgd":
        peer = torch.optim.SGD(groups, lr=1.0, momentum=0.8)
    else:
        peer = torch.optim.AdamW(groups, lr=1.0, betas=(0.7, 0.9))
    found, expected = trained(ours, config.build(ours)), trained(theirs, peer)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    for name, before in start.named_parameters():
        assert torch.equal(found[name], before) == (name == "frozen"), name


def test_adamw_is_the_published_update() -> None:
    """Loshchilov and Hutter, Algorithm 2, in float64 by hand."""
    method, reference = Toy(), Toy().double()
    config = AdamW(betas=(0.7, 0.9), weight_decay=0.1)
    optimizer = config.build(method)
    moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in reference.named_parameters()}
    for step in range(1, 6):
        rate = 0.05 / step
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        method.loss(step).backward()
        gradients = {name: p.grad.double() for name, p in method.named_parameters() if p.grad is not None}
        optimizer.step()
        with torch.no_grad():
            for name, p in reference.named_parameters():
                if name not in gradients:
                    continue
                first, second = moments[name]
                first.mul_(0.7).add_(0.3 * gradients[name])
                second.mul_(0.9).add_(0.1 * gradients[name] ** 2)
                shrink = 1 - rate * (0.1 if name in DECAYED else 0.0)
                update = first / (1 - 0.7**step) / ((second / (1 - 0.9**step)).sqrt() + 1e-8)
                p.mul_(shrink).sub_(rate * update)
    for (name, found), expected in zip(method.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6, msg=name)


def test_every_parameter_is_in_one_group_and_frozen_ones_in_none() -> None:
    method = Toy()
    for config in (SGD(), SGD(layer_decay=0.5), AdamW(), AdamW(layer_decay=0.5, decay_all=True)):
        listed = [p for group in config.groups(method) for p in group["params"]]
        assert len(listed) == len(set(map(id, listed))) == len(DEPTH)
    assert len(SGD().groups(method)) == 2, "nothing is divided that need not be"


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="momentum must lie in"):
        SGD(momentum=1.0)
    with pytest.raises(ValueError, match="betas must lie in"):
        AdamW(betas=(0.9, 1.0))
    with pytest.raises(ValueError, match="layer_decay must lie in"):
        SGD(layer_decay=0.0)
    with pytest.raises(ValueError, match="floor must lie in"):
        Schedule(floor=1.5)
    with pytest.raises(ValueError, match="epochs must be more than the 10 of the warm-up"):
        Schedule(epochs=10.0)
    with pytest.raises(ValueError, match="group must divide the batch of 512"):
        Schedule(group=100)
    assert dataclasses.replace(Schedule(), floor=1.0).floor == 1.0


# ---------------------------------------------------------------------- the schedule


def test_the_warm_up_is_a_line() -> None:
    rate = cosine(0.2, steps=100, warmup=10)
    assert START == 1e-6
    for step in range(10):
        assert rate(step) == pytest.approx(1e-6 + step * (0.2 - 1e-6) / 10, rel=1e-12)
    assert rate(10) == pytest.approx(0.2)


@pytest.mark.parametrize("floor", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("warmup", [0, 20])
def test_then_a_cosine_down_to_the_floor(warmup: int, floor: float) -> None:
    peak, steps = 0.3, 120
    rate = cosine(peak, steps, warmup, floor)
    low = floor * peak
    middle = (warmup + steps) // 2
    assert rate(warmup) == pytest.approx(peak)
    assert rate(middle) == pytest.approx((peak + low) / 2)
    assert rate(steps) == pytest.approx(low, abs=1e-12)
    for step in range(warmup, steps):
        # sin^2 of half the remaining angle, the same curve written another way
        remaining = math.pi / 2 * (steps - step) / (steps - warmup)
        assert rate(step) == pytest.approx(low + (peak - low) * math.sin(remaining) ** 2, rel=1e-9, abs=1e-12)
        assert rate(step + 1) <= rate(step) or floor == 1.0
