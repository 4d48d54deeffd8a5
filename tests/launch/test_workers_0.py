"""`--workers 0` trains with torch, numpy and safetensors alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import bonestrap
from bonestrap.layouts import KINECT20
from shards.packing.pack import pack
from shards.sources.source import Performance, Source, View

ROOT = Path(__file__).resolve().parents[2]

# Everything else that pyproject.toml names, and what comes with it.
ABSENT = ["ray", "mlflow", "webdataset", "pyarrow", "pandas", "deepspeed", "matplotlib", "sklearn", "scipy", "tqdm"]
WITHOUT = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({ABSENT}))  # None there makes the import fail, as if nothing were installed
for command in sys.argv[1:]:
    sys.argv = command.split()
    sys.path[0] = "launch"  # as Python sets it for a script
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Waving(Source):
    """Two actions by ten people before two cameras, random but smooth."""

    name = "nw-ucla"
    layout = KINECT20
    classes = ("fast", "slow")

    def __len__(self) -> int:
        return 20

    def key(self, number: int) -> str:
        return f"p{number:02}"

    def stamp(self, number: int) -> str:
        return ""

    def __getitem__(self, number: int) -> Performance:
        rng = np.random.default_rng(number)
        views = []
        for camera in (1, 2):
            steps = rng.normal(0, 0.02 * (1 + number % 2), (20, 1, len(self.layout.joints), 3)).cumsum(0)
            body = rng.normal(0, 0.4, steps.shape[1:]) + steps
            views.append(View(camera=camera, joints=body.astype(np.float32), origin=f"{number}.{camera}"))
        return Performance(
            key=self.key(number),
            label=number % 2,
            subject=1 + number // 2,
            setup=None,
            replication=0,
            views=tuple(views),
        )


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("webdataset")
    folder = tmp_path_factory.mktemp("packed") / "shards"
    pack(Waving(), folder)
    return folder


def test_the_whole_chain_needs_no_platform(packed: Path, tmp_path: Path) -> None:
    pretrained, teacher, student = (tmp_path / name for name in ("pretrained", "teacher", "student"))
    common = f"--data {packed} --workers 0 --device cpu --no-track"
    small = "--encoder.width 0.125 --clip.frames 16 --method.hidden 16 --method.projection 8 --protocol cross-subject"
    short = "--schedule.batch 8 --schedule.group 4 --schedule.epochs 1 --schedule.warmup 0"
    slow, few = "--schedule.learning-rate 0.001", "--batch 4 --learning-rate 0.01"
    commands = [
        f"launch/pretrain.py demo --run {pretrained} {common} --probe-every 2 {small} {short} {slow}",
        f"launch/finetune.py --model {pretrained} --run {teacher} {common} {few} --labels 0.5 --steps 2",
        f"launch/distill.py --teacher {teacher} --run {student} {common} {few} --group 4 --epochs 1",
        f"launch/evaluate.py test --model {student} --data {packed}",
    ]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *commands], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

    joints = np.random.default_rng(1).normal(size=(30, 1, 20, 3))
    assert bonestrap.load(pretrained).embed(joints).isfinite().all()
    probabilities = bonestrap.load(student).predict(joints)
    assert probabilities.shape == (2,) and torch.isclose(probabilities.sum(), torch.tensor(1.0))
