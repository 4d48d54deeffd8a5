"""ReL-SAR from shards to predictions in a few steps: pretrained, fine-tuned with a frozen convolution, tested."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import bonestrap
from shards.packing.pack import pack
from tests.launch.commands import command
from tests.launch.waving import Waving


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("relsar")
    pack(Waving(), folder / "shards")
    common = f"--data {folder}/shards --no-track --device cpu --precision fp32 --threads 1"
    small = "--encoder.width 6 --encoder.depth 1 --encoder.outputs 4 --method.hidden 8 --method.projection 4"
    short = "--clip.frames 5 --schedule.batch 4 --schedule.group 4 --schedule.epochs 1 --schedule.warmup 0"
    command(f"pretrain rel-sar {common} {small} {short} --split random-fold-1 --run {folder}/pretrained")
    tune = "--batch 4 --steps 3 --warmup 1 --optimizer adamw --encoder-rate 1 --frozen 0 --views light"
    model = f"--model {folder}/pretrained"
    command(f"finetune {model} {common} {tune} --freeze convolutions.0 tokens.projection --run {folder}/tuned")
    return folder


def test_a_frozen_convolution_keeps_every_bit_and_the_rest_learns(runs: Path) -> None:
    before, after = (bonestrap.load(runs / name).encoder.state_dict() for name in ("pretrained", "tuned"))
    held = ("convolutions.0.", "tokens.projection.")
    for name in before:
        moved = not torch.equal(before[name], after[name])
        assert moved != name.startswith(held), name
    record = json.loads((runs / "tuned" / "run.json").read_text())
    assert "convolutions.0" in json.dumps(record) and "noise" in json.dumps(record)


def test_the_shipped_model_predicts(runs: Path) -> None:
    model = bonestrap.load(runs / "tuned")
    joints = np.random.default_rng(0).normal(size=(11, 1, 20, 3)).astype(np.float32)
    assert model.predict(joints).sum().item() == pytest.approx(1, abs=1e-6)
    assert model.embed(joints).shape == (4,)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--freeze convolution.0", "--freeze: the encoder has no layer convolution.0; did you mean convolutions.0?"),
        ("--freeze blocks --scratch", "freeze has no effect with --scratch"),
        ("--encoder.heads 5 --scratch", "heads must divide the width of 6, got 5"),
    ],
)
def test_mistakes_are_one_line_and_make_nothing(
    words: str, sentence: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command(f"finetune --model {runs}/pretrained --data {runs}/shards --no-track --run {tmp_path}/run {words}")
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1 and list(tmp_path.iterdir()) == []
