"""The training commands from beginning to end on a pretended GPU: every tensor is where it has to be, and between the
first step's batch and the last one's the host never waits for the device.

The probe of the untrained encoder lies between them and may wait.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bonestrap import serialization
from bonestrap.clips import Batch
from distributed import cluster
from launch import distill, finetune, pretrain
from launch.cli.parser import start, start_choice
from launch.recipes import RECIPES
from shards.loader import Loader
from tests.pretend import DEVICE, PretendGPU, gpu

__all__ = ["gpu"]  # the fixture
STEPS = 3
SMALL = ("--encoder.width", "0.0625")
PRETRAIN = ("own", "--split", "cross-subject", *SMALL, "--schedule.epochs", str(STEPS), "--schedule.warmup", "1")


@pytest.fixture
def batches(gpu: PretendGPU, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the host had waited when each batch was asked for."""
    asked: list[int] = []
    group = Loader.group

    def noted(self: Loader, step: int, number: int) -> Batch:
        asked.append(len(gpu.waits))
        batch = group(self, step, number)
        assert all(view.frames.device == DEVICE for view in batch.views)
        return batch

    monkeypatch.setattr(cluster, "local_device", lambda device: DEVICE)
    monkeypatch.setattr(Loader, "group", noted)
    return asked


def test_commands(shards: Path, tmp_path: Path, gpu: PretendGPU, batches: list[int]) -> None:
    practical = ("--no-track", "--log-every", "100", "--data", str(shards))
    pretrained, teacher, student, scratch = (
        tmp_path / name for name in ("pretrained", "teacher", "student", "scratch")
    )
    few = ("--batch", "32", "--steps", str(STEPS))
    stages: dict[Path, Callable[[list[str]], None]] = {
        pretrained: lambda words: start_choice(pretrain.main, "recipe", RECIPES, pretrain.Options, [*PRETRAIN, *words]),
        teacher: partial(start, finetune.main, finetune.Options),
        student: partial(start, distill.main, distill.Options),
        scratch: partial(start, finetune.main, finetune.Options),
    }
    own = {
        pretrained: (),
        teacher: ("--model", str(pretrained), "--frozen", "0.5", *few),
        student: ("--teacher", str(teacher), "--epochs", "0.5", "--batch", "32", *SMALL),
        scratch: ("--model", str(pretrained), "--scratch", "--stream", "yes", *few),
    }
    for run, command in stages.items():
        batches.clear()
        command([*own[run], "--run", str(run), *practical])
        assert len(batches) >= STEPS
        waits = gpu.waits[batches[0] : batches[-1]]
        assert [wait for wait in waits if "/protocols/features.py:" not in wait] == [], run.name
    assert serialization.load(student).classes == serialization.load(teacher).classes
