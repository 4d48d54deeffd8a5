"""`--workers 0` trains with torch, numpy and safetensors alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import bonestrap
from shards.packing.pack import pack
from tests.launch.waving import Waving

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


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("webdataset")
    folder = tmp_path_factory.mktemp("packed") / "shards"
    pack(Waving(), folder)
    return folder


@pytest.mark.timeout(600)  # four commands; some run it on busy machines
def test_the_whole_chain_needs_no_platform(packed: Path, tmp_path: Path) -> None:
    pretrained, teacher, student = (tmp_path / name for name in ("pretrained", "teacher", "student"))
    common = f"--data {packed} --workers 0 --device cpu --no-track"
    small = "--encoder.width 0.125 --clip.frames 16 --method.hidden 16 --method.projection 8 --split cross-subject"
    short = "--schedule.batch 8 --schedule.group 4 --schedule.epochs 1 --schedule.warmup 0"
    slow, few = "--optimizer.learning-rate 0.001", "--batch 4 --learning-rate 0.01"
    commands = [
        f"launch/pretrain.py byol-small --run {pretrained} {common} --probe-every 2 {small} {short} {slow}",
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
