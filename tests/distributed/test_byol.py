"""BYOL itself under the loop: one and two ranks, the statistics of its momentum BN, exact resume."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bonestrap.augment import ClipConfig, Crop, Resample, Shear, Shift
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Batch, Recordings
from bonestrap.encoders import STGCNConfig
from bonestrap.encoders.stgcn.network import STGCN
from bonestrap.layouts import LAYOUTS
from bonestrap.methods import BYOLConfig
from bonestrap.methods.byol.method import BYOL
from bonestrap.momentum import BatchNorm
from distributed.loop import Job, train
from distributed.strategy import Single, Strategy
from distributed.tracking import read
from tests.distributed.toy import Ranks

LAYOUT = LAYOUTS["kinect20"]


class Walks:
    """Random walks of 6 to 14 frames by one or two bodies: 4 groups of 4 clips, two views each."""

    groups = 4

    def group(self, step: int, group: int) -> Batch:
        seed = 7919 * step + group
        generator = torch.Generator().manual_seed(seed)
        return Batch((self.view(generator), self.view(generator)), None, seed)

    def keys(self, step: int, group: int) -> list[str]:
        return [f"walk{step}-{group}-{clip}" for clip in range(4)]

    def view(self, generator: torch.Generator) -> Recordings:
        bodies = torch.tensor([1, 2, 1, 1])
        owner = torch.arange(4).repeat_interleave(bodies)
        length = torch.randint(6, 15, (4,), generator=generator)[owner]
        start = length.cumsum(0) - length
        frames = torch.randn(int(length.sum()), 20, 3, generator=generator).cumsum(0) * 0.1
        return Recordings(frames, start, length, owner, 4)


def job(run: Path, *, steps: int = 20) -> Job:
    torch.manual_seed(0)
    clip = ClipConfig(frames=8)
    method = BYOL(
        STGCN(STGCNConfig(width=0.06, dropout=0.1), LAYOUT, 6),
        BYOLConfig(hidden=16, projection=8),
        view1=Pipeline(LAYOUT, clip, (Resample(rate=(0.8, 1.25)), Crop(), Shear(limit=0.2))),
        view2=Pipeline(LAYOUT, clip, (Shift(), Shear(limit=0.2))),
        steps=20,
    )
    parameters = [p for p in method.parameters() if p.requires_grad]
    return Job(
        method=method,
        loader=Walks(),
        optimizer=torch.optim.SGD(parameters, lr=1.0, momentum=0.9),
        learning_rate=lambda step: 0.02,
        steps=steps,
        run=run,
        log_every=1,
        checkpoint_every=10,
    )


@pytest.fixture(scope="module")
def two_ranks() -> Iterator[Ranks]:
    ranks = Ranks(2)
    yield ranks
    ranks.close()


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """Twenty steps in this process: the run, and all parameters and buffers."""
    folder = tmp_path_factory.mktemp("one")
    return folder / "run", trained(Single(), folder)


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in read(run) if "loss" in line]


def trained(strategy: Strategy, folder: Path) -> dict[str, Tensor]:
    todo = job(folder / "run")
    train(todo, strategy)
    assert strategy.moment_collectives == (20 if strategy.world > 1 else 0)
    return todo.method.state_dict()


def test_two_ranks_give_the_losses_and_parameters_of_one(
    tmp_path: Path, two_ranks: Ranks, one: tuple[Path, dict[str, Tensor]]
) -> None:
    run, expected = one
    first, second = two_ranks(trained, tmp_path)
    torch.testing.assert_close(first, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(second, first, rtol=0, atol=0)
    assert losses(tmp_path / "run") == pytest.approx(losses(run), abs=1e-5)
    assert len(losses(run)) == 20


def watched(strategy: Strategy, folder: Path) -> dict[str, dict[str, Tensor]]:
    """One step: the target's statistics, and in float64 the sums over all that the online layers of their name saw."""
    todo = job(folder / "run", steps=1)
    assert isinstance(todo.method, BYOL)
    seen: dict[str, Tensor] = {}

    def note(name: str) -> object:
        def hook(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            x = inputs[0].detach().double().transpose(0, 1).flatten(1)
            sums = torch.stack([x.sum(1), x.square().sum(1), torch.full((len(x),), float(x.shape[1]))])
            seen[name] = seen.get(name, torch.zeros(())) + sums

        return hook

    for name, layer in todo.method.online.named_modules():
        if isinstance(layer, BatchNorm):
            layer.register_forward_hook(note(name))  # type: ignore[arg-type]
    train(todo, strategy)
    layers = {name: layer for name, layer in todo.method.target.named_modules() if isinstance(layer, BatchNorm)}
    kept = {name: torch.stack([layer.mean, layer.var]) for name, layer in layers.items()}
    return {"kept": kept, "seen": seen}


def test_target_statistics_are_the_moments_of_all_groups_views_and_ranks(tmp_path: Path, two_ranks: Ranks) -> None:
    # After the first step alpha is 0: the statistics are the pooled moments themselves.
    for ranks in (two_ranks(watched, tmp_path / "two"), [watched(Single(), tmp_path / "one")]):
        assert len(ranks[0]["kept"]) > 20
        for name, kept in ranks[0]["kept"].items():
            total, squares, count = torch.stack([rank["seen"][name] for rank in ranks]).sum(0)
            mean = total / count
            var = squares / count - mean.square()
            assert ((kept[0] - mean).abs() <= 1e-6 * (mean.abs() + var.sqrt())).all(), name
            torch.testing.assert_close(kept[1].double(), var, rtol=1e-6, atol=1e-9)
            for rank in ranks:
                torch.testing.assert_close(rank["kept"][name], kept, rtol=0, atol=0)


def test_resume_is_exact(tmp_path: Path, one: tuple[Path, dict[str, Tensor]]) -> None:
    run, expected = one
    train(job(tmp_path / "run", steps=10), Single())
    torch.testing.assert_close(trained(Single(), tmp_path), expected, rtol=0, atol=0)
    assert losses(tmp_path / "run") == losses(run)
