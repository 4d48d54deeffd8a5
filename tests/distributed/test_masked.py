"""Masked prediction and the tuning of its encoder under the loop: one and two ranks, exact resume."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bonestrap.augment import ClipConfig
from bonestrap.encoders import SkeletonTransformerConfig
from bonestrap.methods import (
    DINOConfig,
    LatentConfig,
    MAMPConfig,
    MethodConfig,
    MoCoConfig,
    STARSConfig,
    Task,
)  # fmt: skip
from bonestrap.optim import AdamW
from distributed.loop import Job, train
from distributed.strategy import DDP, Single, Strategy
from distributed.tracking import read
from tests.bonestrap.tiny import LAYOUT, Pairs
from tests.distributed.toy import Ranks

CONFIGS: dict[str, MethodConfig] = {
    "mamp": MAMPConfig(mask_ratio=0.8, decoder=1),
    "latent": LatentConfig(mask_ratio=0.8, decoder=1),
    "latent without decoder": LatentConfig(mask_ratio=0.8, decoder=0),
    "stars": STARSConfig(hidden=16, queue=32),
    "stars of pairs": STARSConfig(hidden=16, queue=32, pair=True),
    "moco": MoCoConfig(hidden=16, projection=8, queue=32),
    "dino": DINOConfig(hidden=16, projection=8, prototypes=12),
}


FEW = 4
STEPS = {name: 20 if name in ("mamp", "stars") else FEW for name in CONFIGS}


def job(run: Path, name: str, *, steps: int | None = None) -> Job:
    torch.manual_seed(0)
    clip = ClipConfig(frames=8, fit=True)
    encoder = SkeletonTransformerConfig(width=1 / 32, depth=2, heads=2, drop_path=0.1).build(LAYOUT, clip)
    method = CONFIGS[name].build(encoder, Task(LAYOUT, clip, steps=STEPS[name], classes=0, batch=16, groups=4))
    return Job(
        method=method,
        loader=Pairs(),
        optimizer=AdamW().build(method),
        learning_rate=lambda step: 1e-3,
        steps=STEPS[name] if steps is None else steps,
        run=run,
        log_every=1,
        checkpoint_every=1000,
    )


@pytest.fixture(scope="module")
def two_ranks() -> Iterator[Ranks]:
    ranks = Ranks(2)
    yield ranks
    ranks.close()


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in read(run) if "loss" in line]


class Training:
    """What a rank does; picklable."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, strategy: Strategy, folder: Path) -> dict[str, Tensor]:
        todo = job(folder / "run", self.name)
        train(todo, strategy)
        return todo.method.state_dict()


@pytest.mark.parametrize("name", CONFIGS)
def test_one_and_two_ranks_and_a_resumed_run_are_the_same_run(name: str, tmp_path: Path, two_ranks: Ranks) -> None:
    expected = Training(name)(Single(), tmp_path / "one")
    first, second = two_ranks(Training(name), tmp_path / "two")
    torch.testing.assert_close(first, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(second, first, rtol=0, atol=0)
    assert losses(tmp_path / "two" / "run") == pytest.approx(losses(tmp_path / "one" / "run"), abs=1e-5)
    assert len(losses(tmp_path / "one" / "run")) == STEPS[name]

    train(job(tmp_path / "run", name, steps=STEPS[name] // 2), Single())
    torch.testing.assert_close(Training(name)(Single(), tmp_path), expected, rtol=0, atol=0)
    assert losses(tmp_path / "run") == losses(tmp_path / "one" / "run")


class Divided(Training):
    """Half of the run under ZeRO, the rest under DDP."""

    def __call__(self, strategy: Strategy, folder: Path) -> dict[str, Tensor]:
        from distributed.zero import ZeRO

        train(job(folder / "run", self.name, steps=STEPS[self.name] // 2), ZeRO(1))
        todo = job(folder / "run", self.name)
        train(todo, DDP())
        return todo.method.state_dict()


@pytest.mark.parametrize("name", ["mamp", "stars"])
def test_zero_and_a_change_of_strategy_are_the_same_run(name: str, tmp_path: Path, two_ranks: Ranks) -> None:
    pytest.importorskip("deepspeed")
    expected = Training(name)(Single(), tmp_path / "one")
    first, second = two_ranks(Divided(name), tmp_path / "divided")
    torch.testing.assert_close(first, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(second, first, rtol=0, atol=0)
    assert losses(tmp_path / "divided" / "run") == pytest.approx(losses(tmp_path / "one" / "run"), abs=1e-5)
