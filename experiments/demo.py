"""The demo: every step from generated recordings to a comparison, each a command that can be typed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bonestrap.recipe import Recipe
from distributed.registry import BEST
from distributed.telemetry import view
from distributed.tracking import default_uri
from evaluation import evaluation_file
from evaluation.results_text import below
from evaluation.text_table import Column, aligned, percent
from experiments import demo_pictures
from experiments.commands import Commands, heading
from shards.storage.redaction import shown

LABELS = 0.05
STUDENT = 0.125  # width
LOCAL = "http://127.0.0.1:5000"  # where `mlflow ui` answers
TESTED = ("teacher", "student", "scratch-wide", "scratch-compact")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo:
    """Where the demo's runs are, and what its commands have in common. A second run skips what is done."""

    runs: Path
    seed: int
    workers: int
    recipe: Recipe  # that pretrains, whose clips and views are drawn

    @property
    def data(self) -> Path:
        return self.runs / "shards"

    @property
    def pictures(self) -> Path:
        return self.runs / "pictures"

    @property
    def common(self) -> list[object]:
        return ["--data", self.data, "--experiment", self.runs.name, "--seed", self.seed]

    def run(self) -> None:
        """Run every step in order, and print the results."""
        began, commands = time.monotonic(), Commands()
        heading("1. Recordings: generated people in front of three cameras, packed once")
        self.pack(commands)
        heading("2. Pretraining: no labels, pairs of cameras and of augmentations")
        how = ["--workers", self.workers, "--probe-every", 600]
        commands.run("pretrain.py", "demo", *self.common, "--run", self.runs / "pretrained", *how)
        self.train(commands)
        heading("5. Test: people that no training has seen")
        names = (word for name in TESTED for word in ("--model", self.runs / name))
        commands.run("evaluate.py", "test", *names, "--data", self.data, "--pictures", self.pictures)
        heading("6. Comparison")
        self.compare(commands)
        print(f"\nfinished in {(time.monotonic() - began) / 60:.1f} minutes")

    def pack(self, commands: Commands) -> None:
        """Generate and pack the recordings, and draw some of them."""
        if not (self.data / "manifest.json").exists():
            commands.run("pack.py", "synthetic", "--output", self.data, "--seed", self.seed)
        demo_pictures.draw_recordings(self.data, self.pictures, self.recipe)

    def train(self, commands: Commands) -> None:
        """A teacher and a student, and beside them what they are compared with."""
        runs, compact = self.runs, ("--encoder.width", STUDENT)
        few = ["--model", runs / "pretrained", *self.common, "--labels", LABELS, "--steps", 400]
        few += ["--views", "rotated", "--threads", 1]
        baselines: list[tuple[object, ...]] = [
            ("evaluate.py", "linear", "--model", runs / "pretrained", "--data", self.data, "--pictures", self.pictures),
            ("finetune.py", *few, "--scratch", "--run", runs / "scratch-wide"),
            ("finetune.py", *few, "--scratch", *compact, "--run", runs / "scratch-compact"),
        ]
        student = [*compact, "--epochs", 30, "--batch", 64, "--learning-rate", 0.1]
        student += ["--views", "rotated", "--threads", 1]
        log = runs / "baselines.log"
        with ThreadPoolExecutor(1) as pool:
            heading(f"3. A teacher from {LABELS:.0%} of the labels; in parallel, the same networks from scratch")
            others = pool.submit(commands.in_order, baselines, log)
            commands.run("finetune.py", *few, "--run", runs / "teacher")
            heading("4. A compact student, distilled from the teacher on recordings without labels")
            where = ["--teacher", runs / "teacher", *self.common]
            commands.run("distill.py", *where, *student, "--run", runs / "student")
            print(f"linear evaluation of the encoder, and the networks from scratch: {log}")
            others.result()

    def compare(self, commands: Commands) -> None:
        """The page, the table and a summary."""
        names = (*TESTED, "pretrained")
        demo_pictures.draw_accuracy(
            self.runs,
            TESTED,
            self.pictures,
            title=f"Test accuracy with {LABELS:.0%} of the labels\nsynthetic, {self.recipe.split}",
        )
        models = [word for name in names for word in ("--model", self.runs / name)]
        commands.run("report.py", *models, "--data", self.data, "--output", self.runs / "report.html")
        commands.run("compare.py", "--experiment", self.runs.name)
        print(summary(self.runs))
        print(f"page: {self.runs / 'report.html'}, pictures: {self.pictures}")
        print(f"models: {', '.join(str(self.runs / name / 'model') for name in names)}")
        print(f"learning curves: {curves(default_uri())}")
        print(f"the models beside each other: {beside(default_uri(), self.runs.name)}")


def curves(uri: str) -> str:
    """How to see the runs in MLflow."""
    return f"mlflow ui --backend-store-uri {uri}" if uri.startswith("sqlite:") else f"MLflow at {shown(uri)}"


def beside(uri: str, experiment: str) -> str:
    """Where that server has the columns that matter, and what the best model is called."""
    from mlflow import MlflowClient

    number = MlflowClient(uri).get_experiment_by_name(experiment).experiment_id
    page = (LOCAL if uri.startswith("sqlite:") else shown(uri)) + view.path(number)
    return f"{page}, the best on held-out recordings: models:/{experiment}@{BEST}"


def summary(runs: Path) -> str:
    """Accuracies on the test recordings, and which of them a floor exceeds."""
    found = {name: tested(runs / name) for name in TESTED}
    own = {name: accuracy for name, (accuracy, _) in found.items()}
    encoder, floors = tested(runs / "pretrained", "linear")
    few = {
        "teacher, pretrained": (own["teacher"], own["scratch-wide"]),
        "student, distilled": (own["student"], own["scratch-compact"]),
        **{who: (floor,) for who, floor in found["teacher"][1].items()},
    }
    frozen = {"pretrained encoder": (encoder,), **{who: (floor,) for who, floor in floors.items()}}
    lines = [
        f"with {LABELS:.0%} of the labels, accuracy on the test recordings:",
        *accuracies(("", "accuracy", "from scratch"), few),
        "with all labels, a linear classifier on frozen features:",
        *accuracies(("", "accuracy"), frozen),
    ]
    every = {**found, "the pretrained encoder with all labels": (encoder, floors)}
    under = [line for name, (accuracy, each) in every.items() for line in below(name, accuracy, each)]
    for name, scratch in (("teacher", "scratch-wide"), ("student", "scratch-compact")):
        if own[scratch] > own[name]:
            under.append(
                f"the {name} is below its network from scratch: {percent(own[name])} against {percent(own[scratch])}"
            )
    return "\n".join(lines + (under or ["nothing is below a random encoder or raw joints"]))


def accuracies(names: tuple[str, ...], rows: Mapping[str, tuple[float, ...]]) -> list[str]:
    """The lines of a table; where a row has no figure, nothing stands."""
    columns = [Column(name, text=not name) for name in names]
    cells = [[who, *map(percent, row)] for who, row in rows.items()]
    return aligned(columns, [row + [""] * (len(names) - len(row)) for row in cells], indent="  ").lines


def tested(run: Path, evaluation: str = "test") -> tuple[float, dict[str, float]]:
    """A run's accuracy on the test recordings, and that of its floors."""
    result = evaluation_file.read(run)[evaluation]
    first, *floors = result
    return result[first]["accuracy"], {who: result[who]["accuracy"] for who in floors}
