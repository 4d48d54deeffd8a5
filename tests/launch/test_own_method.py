"""An encoder, a method and a recipe of one's own, in one file outside the tree, go through every command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bonestrap
from evaluation.provenance import ROOT

MINE = '''
"""A masked-prediction method on a small encoder: other encoder, masked input, a decoder that is thrown away, AdamW."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from bonestrap.augment import CONSERVATIVE, ClipConfig
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Batch
from bonestrap.encoders import EncoderConfig
from bonestrap.encoders.encoder import Encoder
from bonestrap.methods import MethodConfig, Task
from bonestrap.methods.method import Method
from bonestrap.optim import AdamW, Schedule
from bonestrap.options import option
from bonestrap.recipe import Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class TinyConfig(EncoderConfig):
    """Two linear layers on the whole clip."""

    units: int = option(12, "features")
    style: str = option("plain", "a text, for a change")

    def build(self, layout, clip):
        return Tiny(self, layout, clip)

    @property
    def label(self) -> str:
        return f"tiny {self.units}"


class Tiny(Encoder):
    def __init__(self, config: TinyConfig, layout, clip: ClipConfig) -> None:
        super().__init__()
        self.features = config.units
        self.first = nn.Linear(clip.frames * len(layout.joints) * layout.channels, 16)
        self.second = nn.Linear(16, config.units)

    def encode_bodies(self, joints_NTVC: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(joints_NTVC.flatten(1)))).float()

    def layers(self):
        return [self.first, self.second]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedConfig(MethodConfig):
    """Predict the mean pose of a clip whose frames are masked."""

    ratio: float = option(0.5, "fraction of the frames that is masked")

    def build(self, encoder: Encoder, task: Task) -> Method:
        return Masked(encoder, self, Pipeline(task.layout, task.clip, CONSERVATIVE))


class Masked(Method):
    def __init__(self, encoder: Encoder, config: MaskedConfig, view: Pipeline) -> None:
        super().__init__()
        self.encoder, self.config, self.view = encoder, config, view
        self.decoder = nn.Linear(encoder.features, len(view.layout.joints) * view.layout.channels)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(batch.seed)
        clips = self.view(batch.views[0], generator)
        kept = torch.rand(clips.joints.shape[:2], generator=generator) >= self.config.ratio
        seen = clips._replace(joints=clips.joints * kept[..., None, None])
        target = clips.mean_over_bodies(clips.joints.mean(1).flatten(1))
        return {"loss": (self.decoder(self.encoder(seen)) - target).square().mean()}


def masked() -> Recipe:
    """Masked prediction on generated people."""
    return Recipe(
        split="cross-subject",
        clip=ClipConfig(frames=8, fit=True),
        encoder=TinyConfig(),
        method=MaskedConfig(),
        optimizer=AdamW(learning_rate=1e-3, layer_decay=0.8),
        schedule=Schedule(epochs=1, batch=16, group=8, warmup=0.25, floor=0.1),
    )
'''


class Chain:
    """Commands as a person types them, with a module of their own on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "mine.py").write_text(MINE)
        self.environment = os.environ | {"PYTHONPATH": str(folder)}

    def __call__(self, script: str, *words: object) -> str:
        command = [sys.executable, str(ROOT / "launch" / script), *map(str, words)]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.mark.timeout(600)
def test_pretrain_finetune_distil_evaluate_report_export(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    run = Chain(tmp_path)
    common = ["--data", shards, "--no-track", "--device", "cpu", "--precision", "fp32", "--log-every", 1]
    run("pretrain.py", "mine:masked", *common, "--run", "pretrained", "--encoder.units", 10)
    run("finetune.py", "--model", "pretrained", *common, "--run", "teacher", "--labels", 0.5, "--steps", 3)
    run("finetune.py", "--model", "pretrained", *common, "--run", "scratch", "--scratch", "--encoder.units", 6,
        "--steps", 3)  # fmt: skip
    student = ["--encoder", "stgcn", "--encoder.width", 0.05, "--epochs", 0.3, "--batch", 16]
    run("distill.py", "--teacher", "teacher", *common, "--run", "student", *student)
    run("evaluate.py", "linear", "--model", "pretrained", "--data", shards)
    run("evaluate.py", "test", "--model", "teacher", "student", "scratch", "--data", shards)
    run("report.py", "--model", "pretrained", "teacher", "student", "--data", shards, "--output", "report.html")
    said = run("export.py", "--model", "teacher", "--precision", "int8", "--data", shards, "--calibration", 6)
    assert [line.split()[0] for line in said.splitlines()[-2:]] == ["float32", "int8"] and "test recordings" in said

    described = {name: json.loads((tmp_path / name / "model" / "model.json").read_text()) for name in
                 ("pretrained", "teacher", "scratch", "student")}  # fmt: skip
    assert described["pretrained"]["encoder"] == {"kind": "mine:TinyConfig", "units": 10, "style": "plain"}
    assert described["teacher"]["encoder"]["units"] == 10 and described["scratch"]["encoder"]["units"] == 6
    assert described["student"]["encoder"]["kind"] == "stgcn"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "tiny 10" in page and "ST-GCN 0.05x" in page
    assert "mine:TinyConfig" in (tmp_path / "teacher" / "model" / "README.md").read_text()

    monkeypatch.syspath_prepend(str(tmp_path))
    import onnxruntime

    model = bonestrap.load(tmp_path / "teacher")
    joints = np.random.default_rng(0).normal(0, 0.4, (20, 1, len(model.layout.joints), 3)).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "teacher" / "model" / "model.onnx")
    (exported,) = session.run(None, {"joints": joints})
    np.testing.assert_allclose(exported, model.predict(joints).numpy(), rtol=1e-4, atol=1e-5)


def test_the_ceiling_is_a_recipe(shards: Path, tmp_path: Path) -> None:
    """`supervised` trains on all labels and ships its classifier."""
    run = Chain(tmp_path)
    small = ["--encoder.width", 0.05, "--clip.frames", 8, "--schedule.epochs", 1, "--schedule.warmup", 0]
    run("pretrain.py", "supervised", "--data", shards, "--run", "ceiling", "--no-track", "--device", "cpu", *small)
    model = bonestrap.load(tmp_path / "ceiling")
    assert len(model.classes) == 16 and model.description.lineage["labels"] == 1.0
    run("evaluate.py", "test", "--model", "ceiling", "--data", shards)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mine:nothing"], "cannot be imported"),
        (["nowhere:recipe"], "cannot be imported"),
        (["byol-small", "--encoder", "mine:Tiny"], "is not a EncoderConfig"),
        (["byol-small", "--encoder", "resnet"], "there is no resnet; choose stgcn"),
        (["byol-small", "--method", "distill"], "distillation needs a teacher"),
    ],
)
def test_what_is_not_one_is_refused(shards: Path, tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    command = [sys.executable, str(ROOT / "launch" / "pretrain.py"), *words, "--data", str(shards), "--run", "run",
               "--no-track"]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr, done.stderr
