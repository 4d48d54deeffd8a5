#!/usr/bin/env python3
"""The whole way on generated people, in minutes: `make demo`.

Recordings are packed, an encoder is pretrained on them without labels by two workers, fine-tuned on few labels, and
distilled into a compact student. The same networks are trained from scratch on the same labels, and everything is
tested on people who were never seen. Each step is a command that can be typed; the demo prints it. A second start
goes on where the first one stopped.

Examples:
  python launch/demo.py
  python launch/demo.py --runs runs/another-seed --seed 1
"""

from __future__ import annotations

import dataclasses
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

from bonestrap.augment import AGGRESSIVE, CONSERVATIVE, Pipeline
from bonestrap.bounds import SEED, Bounded, Bounds
from bonestrap.model import load
from launch.cli import option, start
from launch.commands import Commands, say
from launch.dossier import recorded
from launch.recipes import demo
from shards import splits
from shards.reader import Resident

LABELS = 0.05
STUDENT = 0.125  # width


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Bounded):
    """Where and with which seed."""

    runs: Path = option(Path("runs/demo"), "folder for shards, runs and pictures")
    seed: int = option(0, "of recordings, weights, order, draws and label subset", Bounds(0, SEED))
    workers: int = option(
        2, "workers that pretrain, through Ray Train; 0 pretrains in one process without Ray", Bounds(0, 4096)
    )


def main(options: Options) -> None:
    began = time.monotonic()
    commands = Commands()
    command = commands.run
    runs, seed = options.runs, ["--seed", str(options.seed)]
    data, pictures, experiment = runs / "shards", runs / "pictures", runs.name
    common = ["--data", data, "--experiment", experiment, *seed]

    say("1. Recordings: generated people before three cameras, packed once")
    if not (data / "manifest.json").exists():
        command("pack.py", "synthetic", "--output", data, *seed)
    draw_recordings(data, pictures)

    say("2. Pretraining: no labels, pairs of cameras and of augmentations")
    often = ["--workers", options.workers, "--probe-every", 600]
    command("pretrain.py", "demo", *common, "--run", runs / "pretrained", *often)

    few = ["--model", runs / "pretrained", *common, "--labels", LABELS, "--steps", 400, "--threads", 1]
    test = ["--data", data, "--pictures", pictures]
    meanwhile = [
        ("evaluate.py", "linear", "--model", runs / "pretrained", *test),
        ("finetune.py", *few, "--scratch", "--run", runs / "scratch-wide"),
        ("finetune.py", *few, "--scratch", "--encoder.width", STUDENT, "--run", runs / "scratch-compact"),
    ]
    student = ["--encoder.width", STUDENT, "--epochs", 30, "--batch", 64, "--learning-rate", 0.1, "--threads", 1]
    with ThreadPoolExecutor(1) as beside:
        say(f"3. A teacher from {LABELS:.0%} of the labels; beside it, the same networks from scratch")
        others = beside.submit(commands.in_order, meanwhile, runs / "beside.log")
        command("finetune.py", *few, "--run", runs / "teacher")

        say("4. A compact student from the teacher, on recordings without labels")
        command("distill.py", "--teacher", runs / "teacher", *common, *student, "--run", runs / "student")

        print(f"the encoder under a linear classifier, and the networks from scratch: {runs / 'beside.log'}")
        others.result()

    say("5. Test: people that nothing was trained on")
    names = ("teacher", "student", "scratch-wide", "scratch-compact")
    for name in names:  # one after the other: each measures how long a clip takes
        command("evaluate.py", "test", "--model", runs / name, *test)

    say("6. The comparison")
    draw_accuracy(runs, names, pictures)
    models = [word for name in (*names, "pretrained") for word in ("--model", runs / name)]
    command("report.py", *models, "--data", data, "--output", runs / "report.html")
    command("compare.py", "--experiment", experiment)
    print(summary(runs, names))
    print(f"\nall of it in {(time.monotonic() - began) / 60:.1f} minutes")
    print(f"page: {runs / 'report.html'}, pictures: {pictures}")
    print("every curve and model: mlflow ui --backend-store-uri sqlite:///mlflow.db")


def summary(runs: Path, names: tuple[str, ...]) -> str:
    """What the table says, in sentences; each figure is a share of the test recordings."""
    found = {name: tested(runs / name)[0] for name in names}
    floors = tested(runs / "teacher")[1]
    lines = [
        f"with {LABELS:.0%} of the labels, in percent of the test recordings:",
        f"  teacher, pretrained        {found['teacher']:6.1%}   from scratch {found['scratch-wide']:6.1%}",
        f"  student, distilled         {found['student']:6.1%}   from scratch {found['scratch-compact']:6.1%}",
    ]
    return "\n".join(lines + [f"  {who:25}  {share:6.1%}" for who, share in floors.items()])


def tested(run: Path) -> tuple[float, dict[str, float]]:
    """A run's test accuracy, and that of its floors."""
    result: dict[str, Any] = recorded(run / "evaluation.json")["test"]
    first, *floors = result
    return result[first]["accuracy"], {who: result[who]["accuracy"] for who in floors}


def draw_recordings(data: Path, folder: Path) -> None:
    """One performance before its cameras, and one recording beside its augmented views."""
    from launch import pictures

    folder.mkdir(parents=True, exist_ok=True)
    clip = demo().clip
    train = Resident.load(data, select=splits.protocol("synthetic", demo().protocol).train)
    views = range(3)
    label = train.manifest.classes[int(train.labels([0])[0])]
    plain = Pipeline(train.layout, clip)(train.recordings(views))
    cameras = {f"camera {train.view_camera[view]}": bodies(plain, view) for view in views}
    pictures.skeleton_strip(folder / "cameras.png", cameras, train.layout, title=f"{label}: one performance")
    augmented = {}
    for name, augment in (("aggressive", AGGRESSIVE), ("conservative", CONSERVATIVE)):
        for draw in range(2):
            generator = torch.Generator().manual_seed(draw + 1)
            clips = Pipeline(train.layout, clip, augment)(train.recordings([0]), generator)
            augmented[f"{name} {draw + 1}"] = bodies(clips, 0)
    source = bodies(plain, 0)
    pictures.augmented_views(
        folder / "augmentations.png", source, augmented, train.layout, title=f"{label}: what the two networks see"
    )


def bodies(clips: Any, clip: int) -> Any:
    """One clip's bodies as (T, M, V, 3)."""
    return clips.joints[clips.owner == clip].transpose(0, 1)[..., :3].numpy()


def draw_accuracy(runs: Path, names: tuple[str, ...], folder: Path) -> None:
    """Test accuracy against the number of parameters."""
    from launch import pictures

    rows = []
    for name in names:
        model = load(runs / name)
        count = sum(p.numel() for p in model.parameters())
        rows.append(
            pictures.Result(
                label=name, parameters=count, accuracy=tested(runs / name)[0], stage=model.description.stage
            )
        )
    rows += [
        pictures.Result(label=who, parameters=None, accuracy=share, stage=who)
        for who, share in tested(runs / "teacher")[1].items()
    ]
    pictures.accuracy_against_parameters(
        folder / "accuracy.png", rows, title=f"Test accuracy with {LABELS:.0%} of the labels"
    )


if __name__ == "__main__":
    start(main, Options)
