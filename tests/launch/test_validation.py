"""The validation curve of fine-tuning and distillation: what it measures, and that the weights do not hear of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import bonestrap
from distributed.journal import read
from distributed.tracking import latest
from evaluation import trained
from evaluation.run_record import read as read_record
from launch.training.validation import METRIC
from reports.model_sections import _curves
from shards import splits
from shards.reader import Resident
from tests.launch.commands import command

FEW = "--no-track --device cpu --precision fp32 --log-every 2 --batch 4 --learning-rate 0.02"


def tuned(chain: Path, shards: Path, run: Path, *words: str) -> Path:
    where = f"--model {chain}/pretrained --data {shards} --run {run}"
    command(" ".join((f"finetune {where} {FEW} --encoder-rate 1 --frozen 0 --steps 6", *words)))
    return run


def curve(run: Path) -> dict[int, float]:
    return {line["step"]: line[METRIC] for line in read(run) if METRIC in line}


def accuracy_by_hand(run: Path, shards: Path) -> float:
    """The same by hand: every held-out recording that no label was read of in any view, one by one."""
    data = Resident.load(shards, select=splits.find("synthetic", "cross-subject").held_out, device="cpu")
    model = bonestrap.load(run)
    labelled = trained.read(run, trained.LABELLED)
    assert labelled is not None and model.head is not None
    taught = set(labelled.tolist())
    views = list(zip(trained.fingerprints(data).tolist(), data.view_performance.tolist(), strict=True))
    told = {performance for fingerprint, performance in views if fingerprint in taught}
    right = []
    for number, (_, performance) in enumerate(views):
        if performance not in told:
            recording = data.recordings(torch.tensor([number]))
            logits = model.head(model.encoder(model.pipeline(recording)))
            right.append(int(logits.argmax()) == int(data.performance_label[performance]))
    return sum(right) / len(right)


def test_the_curve_of_fine_tuning_is_of_unread_recordings_and_changes_no_weight(
    chain: Path, shards: Path, tmp_path: Path
) -> None:
    with_curve = tuned(chain, shards, tmp_path / "with", "--labels 0.1 --validate-every 2")
    without = tuned(chain, shards, tmp_path / "without", "--labels 0.1 --validate-every 0")
    assert list(curve(with_curve)) == [0, 2, 4, 6] and not curve(without)
    assert curve(with_curve)[6] == pytest.approx(accuracy_by_hand(with_curve, shards))
    one, other = (load_file(run / "model" / "model.safetensors") for run in (with_curve, without))
    assert all(torch.equal(one[name], other[name]) for name in one | other)
    assert "knn" not in latest(with_curve)

    (*_, drawn) = _curves(read_record(with_curve), "#123456")
    (found,) = (line for line in drawn.curves if line.name == "validation subjects")
    assert found.y == [100 * value for value in curve(with_curve).values()] and not found.kind


def test_the_curve_of_distillation(chain: Path, shards: Path, tmp_path: Path) -> None:
    teacher = tuned(chain, shards, tmp_path / "teacher", "--labels 0.1 --validate-every 0")
    made = []
    for name, every in (("with", ""), ("without", "--validate-every 0")):
        words = f"--teacher {teacher} --data {shards} --run {tmp_path / name} --epochs 0.25 {FEW} {every}"
        command(f"distill {words}")
        made.append(load_file(tmp_path / name / "model" / "model.safetensors"))
    found = curve(tmp_path / "with")
    assert min(found) == 0 and len(found) >= 11
    assert found[max(found)] == pytest.approx(accuracy_by_hand(tmp_path / "with", shards))
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0] | made[1])


def test_where_every_label_is_read_a_sentence_says_that_there_is_no_curve(
    chain: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tuned(chain, shards, tmp_path / "all", "--labels 1")
    assert not curve(run)
    assert "No validation curve: of the held-out training subjects fewer than 20 recordings" in capsys.readouterr().err
    kept = tuned(chain, shards, tmp_path / "kept", "--labels 1 --hold-out")
    assert curve(kept)[6] == pytest.approx(accuracy_by_hand(kept, shards))
