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

from bonestrap.augment import AGGRESSIVE, CONSERVATIVE
from bonestrap.bounds import SEED, Bounded, Bounds
from bonestrap.options import option
from distributed.tracking import default_uri
from evaluation.run_record import recorded
from experiments.commands import Commands, say
from launch.cli.parser import start
from launch.recipes import demo
from shards import splits
from shards.storage.redaction import shown

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
    command("evaluate.py", "test", *(word for name in names for word in ("--model", runs / name)), *test)

    say("6. The comparison")
    draw_accuracy(runs, names, pictures)
    models = [word for name in (*names, "pretrained") for word in ("--model", runs / name)]
    command("report.py", *models, "--data", data, "--output", runs / "report.html")
    command("compare.py", "--experiment", experiment)
    print(summary(runs, names))
    print(f"\nall of it in {(time.monotonic() - began) / 60:.1f} minutes")
    print(f"page: {runs / 'report.html'}, pictures: {pictures}")
    print(f"models: {', '.join(str(runs / name / 'model') for name in (*names, 'pretrained'))}")
    print(f"every curve and figure: {curves(default_uri())}")
    print(f"into MLflow's registry goes a model by: python launch/register.py --run {runs / 'student'}")


def curves(uri: str) -> str:
    """How to see the runs in MLflow."""
    return f"mlflow ui --backend-store-uri {uri}" if uri.startswith("sqlite:") else f"MLflow at {shown(uri)}"


def summary(runs: Path, names: tuple[str, ...]) -> str:
    """What the table says and leaves out, in sentences; each figure is a share of the test recordings."""
    found = {name: tested(runs / name) for name in names}
    share = {name: own for name, (own, _) in found.items()}
    encoder = tested(runs / "pretrained", "linear")
    lines = [
        f"with {LABELS:.0%} of the labels, in percent of the test recordings:",
        f"  teacher, pretrained        {share['teacher']:6.1%}   from scratch {share['scratch-wide']:6.1%}",
        f"  student, distilled         {share['student']:6.1%}   from scratch {share['scratch-compact']:6.1%}",
        *(f"  {who:25}  {floor:6.1%}" for who, floor in found["teacher"][1].items()),
        "with all labels, linear classifiers on what does not move any more:",
        f"  pretrained encoder         {encoder[0]:6.1%}",
        *(f"  {who:25}  {floor:6.1%}" for who, floor in encoder[1].items()),
    ]
    figures = {**found, "the pretrained encoder with all labels": encoder}
    below = [
        f"{name} is below {who}: {own:.1%} against {floor:.1%}"
        for name, (own, floors) in figures.items()
        for who, floor in floors.items()
        if own < floor
    ]
    return "\n".join(lines + (below or ["nothing is below a random encoder or raw joints"]))


def tested(run: Path, evaluation: str = "test") -> tuple[float, dict[str, float]]:
    """A run's accuracy on the test recordings, and that of its floors."""
    result: dict[str, Any] = recorded(run / "evaluation.json")[evaluation]
    first, *floors = result
    return result[first]["accuracy"], {who: result[who]["accuracy"] for who in floors}


def draw_recordings(data: Path, folder: Path) -> None:
    """One performance before its cameras, and one recording beside its augmented views."""
    import torch

    from bonestrap.augment.pipeline import Pipeline
    from reports import pictures
    from shards.reader import Resident

    folder.mkdir(parents=True, exist_ok=True)
    clip = demo().clip
    train = Resident.load(data, select=splits.find("synthetic", demo().split).train)
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
    from evaluation import run_record
    from reports import figures, pictures

    shown = figures.accuracies([run_record.read(runs / name) for name in names])
    title = f"Test accuracy with {LABELS:.0%} of the labels"
    pictures.accuracy_against_parameters(folder / "accuracy.png", shown, title=title)


if __name__ == "__main__":
    start(main, Options)
