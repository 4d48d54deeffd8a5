"""A stranger's recordings: seventeen joints, no cameras, and the commands that the documentation gives for them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import bonestrap
from launch import pretrain
from launch.cli.parser import start_choice
from launch.pack import Options as PackOptions
from launch.pack import main as pack
from launch.recipes import RECIPES
from shards.reader import Resident
from shards.sources.formats import FORMATS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "data.md").read_text().partition("## Your own recordings")[2].partition("\n## ")[0]
COMMANDS = re.findall(r"^    (python launch/\S+ .*)$", PAGE, flags=re.MULTILINE)
LAYOUT = json.loads(re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)[0])
CLASSES = ("squat", "wave", "kick")


def person(label: str, seed: int) -> np.ndarray:
    """(T, V, 3): somebody of some build, seen from somewhere, does something at some tempo."""
    rng = np.random.default_rng(seed)
    height = {"ankle": 0.05, "knee": 0.5, "hip": 1.0, "pelvis": 1.0, "spine": 1.25, "shoulder": 1.45, "neck": 1.5}
    height |= {"elbow": 1.2, "wrist": 0.95, "head": 1.7, "nose": 1.65}
    joints = LAYOUT["joints"]
    part = [name.rpartition("_")[2] for name in joints]
    side = np.array([-0.2 if name.startswith("left") else 0.2 if name.startswith("right") else 0 for name in joints])
    phase = np.linspace(0, 2 * np.pi * rng.uniform(0.9, 1.6), int(rng.integers(20, 40)))
    x = np.zeros((len(phase), len(joints), 3))
    x[..., 0], x[..., 2] = side, [height[name] for name in part]
    x[:, part.index("nose"), 1] = 0.1
    if label == "squat":
        x[:, [name not in ("ankle", "knee") for name in part], 2] -= 0.25 * (1 - np.cos(phase))[:, None]
    elif label == "wave":
        x[:, joints.index("right_wrist"), 2] += 0.5 + 0.3 * np.sin(2 * phase)
    else:
        x[:, joints.index("right_ankle"), 1] += 0.6 * np.abs(np.sin(phase))
    turn = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    return (rng.uniform(0.9, 1.1) * x @ rotation.T + rng.normal(0, 0.005, x.shape) + [0.5, 3, 0]).astype(np.float32)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Fifteen recordings of three classes in two folders, a table of them, and the layout of the documentation."""
    folder = tmp_path / "lab"
    rows = ["file,label,subject"]
    for number in range(15):
        day, label = ("monday", "tuesday")[number % 2], CLASSES[number % 3]
        (folder / day).mkdir(parents=True, exist_ok=True)
        np.save(folder / day / f"{number:03}.npy", person(label, number))
        rows.append(f"{day}/{number:03}.npy,{label},{('eva', 'adam')[number % 4 == 0]}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    (folder / "layout.json").write_text(json.dumps(LAYOUT))
    (tmp_path / "launch").symlink_to(ROOT / "launch")
    return tmp_path


def test_the_page_gives_three_commands() -> None:
    assert [command.split()[1] for command in COMMANDS] == [
        "launch/pack.py",
        "launch/pretrain.py",
        "launch/evaluate.py",
    ]
    assert len(LAYOUT["joints"]) == 17 and "camera" not in LAYOUT


def test_a_drawn_split_says_which_classes_it_does_not_test(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every fifth performance of a class tests, and one class has four."""
    table = lab / "lab" / "table.csv"
    rows = table.read_text().splitlines()
    rows.remove(next(row for row in rows if ",kick," in row))
    table.write_text("\n".join(rows) + "\n")
    folder = lab / "lab"
    words = ["arrays", "--input", folder, "--layout", folder / "layout.json", "--table", table]
    words += ["--output", lab / "packed", "--workers", "1"]
    start_choice(pack, "format", FORMATS, PackOptions, [str(word) for word in words])
    assert "  split: no test recording of 1 of 3 classes: kick\n" in capsys.readouterr().out
    start_choice(pack, "format", FORMATS, PackOptions, [str(word) for word in (*words, "--existing", "keep")])
    assert "no test recording of 1 of 3 classes: kick" in capsys.readouterr().out


@pytest.mark.timeout(900)  # forty seconds of work, and some do it on busy machines
def test_a_strangers_folder_trains_in_three_commands(lab: Path, mlflow_uri: str) -> None:
    """The commands as they stand on the page, one after the other, in a folder that holds nothing but recordings."""
    said = []
    for command in COMMANDS:
        words = [sys.executable, *shlex.split(command)[1:]]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": mlflow_uri}
        done = subprocess.run(words, check=False, cwd=lab, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert "performances 15" in said[0] and "lab17" in said[0]
    model = bonestrap.load(lab / "runs" / "lab")
    assert model.layout.to_json()["joints"] == LAYOUT["joints"] and model.layout.name == "lab17"
    assert model.embed(np.load(lab / "lab" / "monday" / "000.npy")[:, None]).isfinite().all()
    assert "raw joints" in said[2] and "pretrained" in said[2]
    scores = json.loads((lab / "runs" / "lab" / "evaluation.json").read_text())["linear"]
    assert set(scores) == {"pretrained", "random encoder", "raw joints"} and scores["raw joints"]["accuracy"] == 1
    journal = [json.loads(line) for line in (lab / "runs" / "lab" / "journal.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in journal if "loss" in line]
    assert losses[-1] < losses[0] - 0.1  # of VICReg, which begins near 1.6; collapsed features would have 2 or more


def run(recipe: str, folder: Path, *words: str) -> None:
    short = "--schedule.epochs 2 --schedule.batch 8 --schedule.group 8 --schedule.warmup 0.5 --no-track --clip.frames 8"
    given = ["--data", str(folder / "packed"), "--run", str(folder / "run"), "--encoder.width", "0.0625", *words]
    start_choice(pretrain.main, "recipe", RECIPES, pretrain.Options, [recipe, *short.split(), *given])


def test_recordings_of_which_nothing_is_known_are_pretrained_on(lab: Path) -> None:
    words = ["--input", str(lab / "lab"), "--layout", str(lab / "lab" / "layout.json"), "--output", str(lab / "packed")]
    start_choice(pack, "format", FORMATS, PackOptions, ["arrays", *words, "--workers", "1"])
    data = Resident.load(lab / "packed")
    assert len(data) == 15 and all((column == -1).all() for column in data.views[:5])
    for protocol in ("split", "all"):
        run("own", lab, "--split", protocol)
        assert bonestrap.load(lab / "run").description.lineage["split"] == protocol
        (lab / "run").rename(lab / protocol)


def test_masked_prediction_needs_no_more_than_its_name(lab: Path) -> None:
    """Seventeen joints that nobody has seen before: MAMP by its name, and its encoder tuned by another."""
    words = ["--input", str(lab / "lab"), "--layout", str(lab / "lab" / "layout.json"), "--output", str(lab / "packed")]
    start_choice(pack, "format", FORMATS, PackOptions, ["arrays", *words, "--workers", "1"])
    run("own", lab, "--method", "mamp")
    (lab / "run").rename(lab / "first")
    run("own", lab, "--method", "stars", "--method.queue", "16", "--init-from", str(lab / "first"))
    first, second = (bonestrap.load(lab / name) for name in ("first", "run"))
    assert first.layout.name == second.layout.name == "lab17"
    assert first.state_dict()["encoder.positions.joint"].shape == (1, 17, 16)
    moved = {
        name.split(".")[2]
        for name, value in second.state_dict().items()
        if name.startswith("encoder.blocks") and not torch.equal(value, first.state_dict()[name])
    }
    assert moved == {"4", "5", "6", "7"}
    assert second.embed(np.load(lab / "lab" / "monday" / "000.npy")[:, None]).isfinite().all()


def test_two_recordings_are_too_few_to_hold_any_out_and_still_train(lab: Path) -> None:
    for path in sorted((lab / "lab").rglob("*.npy"))[2:]:
        path.unlink()
    words = ["--input", str(lab / "lab"), "--layout", str(lab / "lab" / "layout.json"), "--output", str(lab / "packed")]
    start_choice(pack, "format", FORMATS, PackOptions, ["arrays", *words, "--workers", "1"])
    run("own", lab, "--split", "all")
    assert bonestrap.load(lab / "run").description.stage == "pretrained"


@pytest.mark.parametrize("confidence", ["hide", "keep"])
def test_keypoints_in_an_image_go_all_the_way(tmp_path: Path, confidence: str) -> None:
    """Packed, augmented, trained on, shipped: planar joints, with their confidence as an input and without."""
    rng = np.random.default_rng(0)
    for clip in range(10):
        places = rng.uniform(-80, 80, (1, 17, 2)) + rng.normal(0, 2, (12, 17, 2)).cumsum(0) + 300
        keypoints = np.concatenate([places, rng.uniform(0.2, 1, (12, 17, 1))], axis=-1)
        entries = [{"image_id": t, "keypoints": keypoints[t].ravel().tolist()} for t in range(12)]
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{clip}.json").write_text(json.dumps(entries))
    words = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "packed"), "--confidence", confidence]
    start_choice(pack, "format", FORMATS, PackOptions, ["coco", *words, "--workers", "1"])
    run("own", tmp_path)
    model = bonestrap.load(tmp_path / "run")
    kept = confidence == "keep"
    assert (model.layout.coordinates, model.layout.confidence) == (2, kept)
    assert model.state_dict()["encoder.norm.weight"].shape == (17 * (4 + kept),)
    joints = keypoints[:, None, :, : 2 + kept].astype(np.float32)
    nearer = joints * np.array([2, 2, 1][: 2 + kept], dtype=np.float32)
    assert model.embed(joints).allclose(model.embed(nearer), rtol=1e-3, atol=1e-4)
