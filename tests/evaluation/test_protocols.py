"""Every evaluation protocol on small recordings: its figures, that they repeat, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bonestrap
from bonestrap.layouts import NTU25
from bonestrap.protocols.few_shot import novel_classes
from bonestrap.protocols.floor import calibrate
from evaluation import features
from launch import evaluate, pretrain
from launch.cli.parser import start_choice
from launch.recipes import RECIPES
from shards.composition import Composition
from shards.errors import DataError
from shards.manifest import Manifest
from shards.packing.pack import pack as pack_source
from shards.reader import Resident
from shards.sources.source import Performance
from tests.launch.waving import Waving

SMALL = "--encoder.width 0.05 --clip.frames 8 --schedule.batch 8 --schedule.group 8 --schedule.epochs 0.5"
FLOORS = ["random encoder", "raw joints"]


def pretrained(shards: Path, run: Path, *words: str) -> Path:
    common = ["--data", str(shards), "--run", str(run), "--no-track", "--device", "cpu", "--schedule.warmup", "0"]
    words = ("byol-small", *common, *SMALL.split(), *words)
    start_choice(pretrain.main, "recipe", RECIPES, pretrain.Options, list(words))
    return run


@pytest.fixture(scope="module")
def model(chain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, because evaluations are written beside the model."""
    return Path(shutil.copytree(chain / "pretrained", tmp_path_factory.mktemp("model") / "pretrained"))


def evaluated(capsys: pytest.CaptureFixture[str], model: Path, data: Path, *words: str) -> str:
    capsys.readouterr()
    given = [words[0], "--model", str(model), "--data", str(data), *words[1:]]
    start_choice(evaluate.main, "protocol", evaluate.PROTOCOLS, evaluate.Options, given)
    return capsys.readouterr().out


def read_for(figures: dict[str, Any]) -> float:
    """What a protocol is read for."""
    if "precision" in figures:
        return float(figures["precision"])
    return float(figures["balanced" if "common" in figures else "accuracy"])


COMMANDS = {
    "linear": "linear",
    "linear sgd": "linear --fit sgd",
    "linear ridge": "linear --fit ridge",
    "knn": "knn",
    "knn 20 at 0.07": "knn --k 20 --temperature 0.07",
    "semi-supervised 0.2": "semi-supervised --fractions 0.2 --seeds 0 1 2",
    "few-shot 2": "few-shot --shots 2 --episodes 5",
    "retrieval in train": "retrieval",
    "retrieval in test": "retrieval --gallery test",
    "transfer": "transfer",
    "long-tailed 8": "long-tailed --imbalance 8 --seeds 0 1",
}


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_same_command_gives_the_same_figures(
    shards: Path, model: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    said = [evaluated(capsys, model, shards, *COMMANDS[name].split(), "--json") for _ in range(2)]
    assert said[0] == said[1]
    found = json.loads(said[0])
    assert list(found) == [name] and list(found[name]) == ["pretrained", *FLOORS]
    for figures in found[name].values():
        drawn, share = figures["bootstrap"], read_for(figures)
        assert drawn["unit"] == "performances" and drawn["low"] - 0.02 <= share <= drawn["high"] + 0.02
    assert json.loads((model / "evaluation.json").read_text())[name] == found[name]
    for figures in found[name].values():
        headline = next(figures[key] for key in ("precision", "accuracy") if key in figures)
        assert 0 <= headline <= 1
        if "classes" in figures:
            rows = figures["classes"]
            assert len(rows) == 16 and {row["class"] for row in rows} >= {"wave", "sit down"}
            assert figures["balanced"] == pytest.approx(np.mean([row["recall"] for row in rows]))


def test_several_models_share_the_floors_and_get_the_figures_that_each_gets_alone(
    shards: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = pretrained(shards, tmp_path / "other", "--seed", "1")
    alone = {str(each): json.loads(evaluated(capsys, each, shards, "knn", "--json")) for each in (model, other)}
    calibrated: list[Any] = []

    def counting(encoder: Any, *data: Any) -> None:
        calibrated.append(encoder)
        calibrate(encoder, *data)

    monkeypatch.setattr(features, "calibrate", counting)
    both = json.loads(evaluated(capsys, model, shards, "knn", "--json", "--model", str(other)))
    assert both == alone and len(calibrated) == 1
    assert both[str(model)]["knn"]["random encoder"] == both[str(other)]["knn"]["random encoder"]
    assert json.loads((other / "evaluation.json").read_text())["knn"] == both[str(other)]["knn"]


def test_figures_over_draws_are_those_of_the_draws(
    shards: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def runs(*seeds: str) -> dict[str, Any]:
        said = evaluated(capsys, model, shards, "semi-supervised", "--fractions", "0.3", "--json", "--seeds", *seeds)
        return json.loads(said)["semi-supervised 0.3"]["raw joints"]

    both = runs("1", "2")
    assert both["runs"] == [*runs("1")["runs"], *runs("2")["runs"]]
    assert (both["accuracy"], both["std"]) == pytest.approx((np.mean(both["runs"]), np.std(both["runs"], ddof=1)))


def test_a_result_below_a_floor_says_so_and_classes_are_printed(
    shards: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = evaluated(capsys, model, shards, "linear", "--classes")
    (head,) = (line for line in said.splitlines() if "accuracy" in line)
    assert "top-5" in head and "balanced" in head and "pretrained is below raw joints: " in said
    assert [line.split()[1:] for line in said.splitlines() if "recall" in line] == [
        ["recordings", "recall", "precision"]
    ]
    assert sum("%" in line for line in said.splitlines() if line.startswith(("  walk in place", "  shake hands"))) == 2


def test_labels_are_counted_and_fractions_of_the_same_labels_refused(
    shards: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sixteen classes of twelve training recordings: 1 and 5 % are one label a class."""
    said = evaluated(capsys, model, shards, "semi-supervised", "--fractions", "0.1", "0.3", "--seeds", "0")
    rows = [line for line in said.splitlines() if line.startswith("  pretrained ") and " is below " not in line]
    lines = [row.split() for row in rows]
    assert [line[-3:] for line in lines] == [["16", "1", "1"], ["64", "4", "1"]]  # labels, of a class, draws
    for fractions, named in ((("0.3", "0.05", "0.01"), "0.01 and 0.05 give the same 16 labels"), (("1", "1"), "twice")):
        with pytest.raises(SystemExit, match="2"):
            evaluated(capsys, model, shards, "semi-supervised", "--fractions", *fractions)
        assert named in capsys.readouterr().err


def test_both_intervals_are_told(shards: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four people test across subjects, eight across views: with few people, performances are drawn."""
    for split, unit, units in (("cross-subject", "performances", 64), ("cross-view", "subjects", 8)):
        words = ("knn", "--split", split)
        found = json.loads(evaluated(capsys, model, shards, *words, "--json"))
        (candidates,) = found.values()
        for figures in candidates.values():
            drawn = figures["bootstrap"]
            assert (drawn["unit"], drawn["units"]) == (unit, units)
            assert drawn["low"] <= figures["accuracy"] <= drawn["high"] and figures["low"] < figures["high"]
        said = evaluated(capsys, model, shards, *words).splitlines()
        (head,) = (line for line in said if "95 % (Wilson)" in line)
        assert f"95 % (bootstrap over {units} {unit})" in head
        rows = [line for line in said if line.startswith(("  pretrained ", "  random", "  raw")) and "%" in line]
        assert [row.count(" to ") for row in rows[:3]] == [2, 2, 2]


def test_nothing_to_find_is_a_sentence(shards: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):  # one person is held out, who did everything once
        evaluated(capsys, model, shards, "retrieval", "--gallery", "test", "--on", "held-out")
    assert "no query has a recording of its class in the gallery" in capsys.readouterr().err


# ---------------------------------------------------------------------- another data set, another layout


@pytest.fixture(scope="module")
def kinect(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("webdataset")
    folder = tmp_path_factory.mktemp("kinect") / "shards"
    pack_source(Waving(), folder)
    return folder


def test_transfer_to_another_layout(model: Path, kinect: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The model knows 25 joints, the recordings 20."""
    said = evaluated(capsys, model, kinect, "transfer", "--split", "cross-subject", "--json")
    (found,) = json.loads(said).values()
    name = f"transfer on nw-ucla {Manifest.read(kinect).digest[:8]}"
    assert json.loads((model / "evaluation.json").read_text())[name] == found
    assert list(found) == ["pretrained", *FLOORS] and found["pretrained"]["recordings"] == 20
    assert [row["class"] for row in found["pretrained"]["classes"]] == ["fast", "slow"]


class Lopsided(Waving):
    """Only training subjects do both actions."""

    def __getitem__(self, number: int) -> Performance:
        one = super().__getitem__(number)
        return one if one.subject is not None and one.subject <= 5 else dataclasses.replace(one, label=0)


def test_classes_without_a_test_recording_are_named(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("webdataset")
    pack_source(Lopsided(), tmp_path / "shards")
    said = evaluated(capsys, model, tmp_path / "shards", "transfer", "--split", "cross-subject")
    assert "  no test recording of 1 of 2 classes: slow; figures are of the others\n" in said


def test_another_layout_is_taken_or_refused_where_joints_lack(
    shards: Path, model: Path, kinect: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With most joints under names that nobody knows; a file says which they are."""
    for protocol in (
        "linear",
        "knn",
        "semi-supervised --fractions 0.5 --seeds 0",
        "few-shot --episodes 2",
        "retrieval",
    ):
        said = evaluated(capsys, model, kinect, *protocol.split(), "--split", "cross-subject", "--json")
        assert all(" on nw-ucla " in name for name in json.loads(said))
    described = model / "model" / "model.json"
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes((model / "model" / "model.safetensors").read_bytes())
    text = described.read_text().replace('"left_', '"port_').replace('"right_', '"star_').replace('"ntu25"', '"ship"')
    (other / "model.json").write_text(text)
    with pytest.raises(SystemExit, match="2"):
        evaluated(capsys, other, shards, "transfer")
    said = capsys.readouterr().err
    assert "layout ntu25 has no joint that matches port_shoulder, " in said and said.count("\n") == 1
    sided = [joint for joint in NTU25.joints if joint.startswith(("left_", "right_"))]
    made_of = {joint.replace("left_", "port_").replace("right_", "star_"): [joint] for joint in sided}
    (tmp_path / "joints.json").write_text(json.dumps({"ntu25": made_of}))
    words = ("knn", "--split", "cross-subject", "--json")
    again = evaluated(capsys, other, shards, *words, "--joints", str(tmp_path / "joints.json"))
    own, same = (json.loads(said)["knn"]["pretrained"] for said in (evaluated(capsys, model, shards, *words), again))
    assert own["accuracy"] == pytest.approx(same["accuracy"], abs=0.03)


# ---------------------------------------------------------------------- pretraining on a part


def test_few_shot_asks_for_what_pretraining_left_out(
    shards: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without = pretrained(shards, tmp_path / "without", "--classes.leave-out", "novel")
    left_out = bonestrap.load(without).description.lineage["left_out"]
    assert len(left_out) == 8
    said = evaluated(capsys, without, shards, "few-shot", "--episodes", "3")
    assert "novel classes" in said and "training did not see these classes: " in said
    other = evaluated(capsys, model, shards, "few-shot", "--episodes", "3")
    assert "training saw these classes, without labels: " in other
    with pytest.raises(SystemExit, match="2"):
        evaluated(capsys, model, shards, "few-shot", "--shots", "500")
    assert "training recordings: give --shots" in capsys.readouterr().err


@pytest.mark.parametrize("imbalance", [1.0, 4.0])
def test_a_part_is_whole_performances_of_the_stated_profile(shards: Path, imbalance: float) -> None:
    data = Resident.load(shards)
    part = Composition(leave_out="novel", imbalance=imbalance).chosen(data, seed=3)
    counts = np.bincount(part.performance_label, minlength=16)
    assert set(np.flatnonzero(counts)) == set(range(16)) - set(novel_classes("synthetic", 16))
    assert counts.max() / counts[counts > 0].min() == pytest.approx(imbalance, rel=0.35)
    views = dict(zip(data.performance_key, np.diff(data.performance_first_view).tolist(), strict=True))
    kept = dict(zip(part.performance_key, np.diff(part.performance_first_view).tolist(), strict=True))
    assert kept.items() <= views.items()
    assert Composition().chosen(data, seed=3) is data


def test_a_part_by_class_needs_classes(shards: Path) -> None:
    data = Resident.load(shards)
    data.performance_label[0] = -1
    with pytest.raises(DataError, match="have no label to choose by"):
        Composition(imbalance=2).chosen(data, seed=0)
