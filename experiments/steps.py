"""The commands that fill a table: pretraining, fine-tuning, distillation and evaluation, as one types them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import NamedTuple

from bonestrap.options import UserError
from bonestrap.recipe import Recipe
from evaluation import evaluation_file

Words = tuple[str, ...]


class Step(NamedTuple):
    """One command, and the run directory that it fills or measures."""

    script: str
    words: Words
    run: str
    measures: str = ""  # the protocol, of an evaluation


class Cell(NamedTuple):
    """One figure of a table, which the last of its steps measures."""

    row: str
    column: str
    seed: int
    steps: tuple[Step, ...]
    figure: str = ""  # the name of the figure, of an evaluation that measures several; none takes the step's

    @property
    def name(self) -> str:
        """What the figure is called in `evaluation.json`."""
        return self.figure or self.steps[-1].measures


class Plan(NamedTuple):
    """A table before it is filled."""

    title: str
    cells: tuple[Cell, ...]
    against: Mapping[str, str]  # row: the row that it is compared with
    published: Mapping[tuple[str, str], float]  # (row, column): percent
    source: str  # the data set of the published figures
    paper: str = "Moliner et al. (2022, arXiv:2202.02232)"  # nothing where nothing was published
    scored: str = "test recordings"

    @property
    def steps(self) -> list[Step]:
        """Every command once."""
        return list(dict.fromkeys(step for cell in self.cells for step in cell.steps))

    @property
    def stages(self) -> list[list[Step]]:
        """Every command once; those of a stage need only what earlier stages have done.

        A command stands in the same place in each of its cells.
        """
        place = {step: depth for cell in self.cells for depth, step in enumerate(cell.steps)}
        return [[step for step in place if place[step] == depth] for depth in range(max(place.values()) + 1)]


class OtherDataset(NamedTuple):
    """Another data set than the one that is pretrained on."""

    data: str
    split: str

    @property
    def suffix(self) -> str:
        return f"-on-{PurePath(self.data).name}"


class Settings(NamedTuple):
    """What the commands after pretraining are given, beside what a cell is about."""

    finetune: Words
    scratch: Words
    scratch_steps: tuple[int, int]  # the minimum, and those with all labels
    distill: Words


# Moliner et al., sections 4.2 and 4.4: 100, 20 and 10 epochs of 1, 5 and 10 % of NTU-60 in batches of 8 are 5,000 steps
# each; 80 epochs of all are 400,000.
PUBLISHED = Settings(
    finetune=(
        "--batch", "8", "--steps", "5000", "--learning-rate", "10", "--frozen", "0.333", "--encoder-rate", "0.001",
        "--method.statistics", "kept",
    ),
    scratch=("--batch", "8", "--learning-rate", "0.0125"),
    scratch_steps=(4000, 400_000),
    distill=("--epochs", "100", "--batch", "256", "--learning-rate", "0.2"),
)  # fmt: skip
SMALL = Settings(
    finetune=("--steps", "600"),
    scratch=(),
    scratch_steps=(400, 400),
    distill=("--epochs", "60", "--batch", "64", "--learning-rate", "0.1"),
)
# Mehraban et al., section 4.3: 100 epochs of NTU-60 in batches of 48, 5 of them warm-up, 3e-4 falling to 1e-5.
TRANSFORMER = (
    "--optimizer", "adamw", "--optimizer.layer-decay", "0.8", "--encoder.drop-path", "0.3", "--encoder.pool", "joint",
    "--method.head", "perceptron", "--method.smoothing", "0.1",
)  # fmt: skip
MAMP = Settings(
    finetune=(
        *TRANSFORMER, "--batch", "48", "--steps", "83500", "--warmup", "4180", "--learning-rate", "3e-4",
        "--floor", "0.033", "--frozen", "0", "--encoder-rate", "1",
    ),
    scratch=(*TRANSFORMER, "--batch", "48", "--warmup", "4180", "--learning-rate", "3e-4", "--floor", "0.033"),
    scratch_steps=(83_500, 83_500),
    distill=("--epochs", "100", "--batch", "256"),
)  # fmt: skip
MAMP_SMALL = Settings(
    finetune=(*TRANSFORMER, "--steps", "600", "--warmup", "30", "--frozen", "0", "--encoder-rate", "1"),
    scratch=(*TRANSFORMER, "--learning-rate", "1e-3"),
    scratch_steps=(600, 600),
    distill=("--epochs", "60", "--batch", "64"),
)
PRETRAINED_ONLY = ("--frozen", "--encoder-rate", "--freeze", "--method.statistics")  # options that --scratch refuses
# Naimi et al. state AdamW, its decay, the warm-up of 30 % and the smoothing; steps and learning rate are ours.
RELSAR_TUNING = (
    "--optimizer", "adamw", "--learning-rate", "5e-4", "--weight-decay", "1e-4", "--batch", "64", "--warmup", "600",
    "--method.smoothing", "0.1", "--views", "light",
)  # fmt: skip
RELSAR = SMALL._replace(
    finetune=("--steps", "2000", *RELSAR_TUNING, "--encoder-rate", "1", "--frozen", "0"),
    scratch=RELSAR_TUNING,
    scratch_steps=(2000, 2000),
)
# By recipe; every other one takes SMALL.
SETTINGS = {"ntu60": PUBLISHED, "mamp": MAMP, "mamp-small": MAMP_SMALL, "rel-sar": RELSAR}


def without(words: Words, flags: Words) -> Words:
    """The words without these options and their values, which are one word each."""
    kept = []
    for before, word in zip(("", *words), words, strict=False):
        if before not in flags and word.partition("=")[0] not in flags:
            kept.append(word)
    return tuple(kept)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """What the commands of a table have in common."""

    data: str
    runs: Path
    recipe: str
    base: Recipe  # the recipe of that name, with the user's own options
    others: Mapping[str, Recipe] = dataclasses.field(default_factory=dict)  # by name, those of a table of several
    splits: Words
    seeds: tuple[int, ...]
    dataset: str = ""
    classes: int = 0  # of the data set
    epochs: float | None  # of pretraining, instead of the recipe's
    common: Words  # of every training command
    pretrain: Words = ()  # the user's own options; what a row is about comes after them and counts
    finetune: Words = ()
    distill: Words = ()

    @property
    def settings(self) -> Settings:
        return SETTINGS.get(self.recipe, SMALL)

    def done(self, step: Step) -> bool:
        """Whether the command has finished: its model, or its figures, are there."""
        run = self.runs / step.run
        if not step.measures:
            return (run / "model" / "model.json").exists()
        return step.measures in evaluation_file.read(run)

    def folder(self, run: str) -> str:
        return str(self.runs / run)

    def pretraining(self, split: str, seed: int, width: float | None, variant: str = "full", words: Words = ()) -> Step:
        """A pretraining; without a width, of the recipe's own encoder."""
        run = f"pretrained-{variant}-{split}-{self._size(width)}-{seed}"
        schedule = self.base.schedule
        cut: Words = ()
        if self.epochs is not None:
            warmup = schedule.warmup * self.epochs / schedule.epochs
            cut = ("--schedule.epochs", f"{self.epochs:g}", "--schedule.warmup", f"{warmup:g}")
        own = ("--split", split, *self._width(width), *cut, *words)
        return Step("pretrain.py", (self.recipe, *self._where(run, seed), *self.pretrain, *own), run)

    def tuning(self, recipe: str, source: Step, split: str, seed: int, variant: str, words: Words = ()) -> Step:
        """Another stage of pretraining, by another recipe, which starts from the source's encoder or all networks."""
        run = f"{variant}-after-{source.run}"
        own = ("--split", split, "--init-from", self.folder(source.run), *words)
        return Step("pretrain.py", (recipe, *self._where(run, seed), *self.pretrain, *own), run)

    def finetuning(
        self,
        source: Step,
        labels: float,
        seed: int,
        other: OtherDataset | None = None,
        variant: str = "finetuned",
        words: Words = (),
    ) -> Step:
        run = f"{variant}-{labels:g}-{seed}-of-{source.run}{other.suffix if other else ''}"
        where = self._labelled(source, run, labels, seed, other)
        return Step("finetune.py", (*where, *self.settings.finetune, *self.finetune, *words), run)

    def scratch(
        self, source: Step, labels: float, seed: int, width: float | None, other: OtherDataset | None = None
    ) -> Step:
        """A network of the source's kind on the same labels from random weights."""
        run = f"scratch-{self._size(width)}-{labels:g}-{seed}-as-{source.run}{other.suffix if other else ''}"
        minimum, full = self.settings.scratch_steps
        where = self._labelled(source, run, labels, seed, other)
        own = ("--scratch", *self._width(width), "--steps", str(max(minimum, round(full * labels))))
        return Step(
            "finetune.py", (*where, *own, *self.settings.scratch, *without(self.finetune, PRETRAINED_ONLY)), run
        )

    def distilling(self, teacher: Step, width: float, seed: int) -> Step:
        run = f"distilled-{width:g}x-from-{teacher.run}"
        where = ("--teacher", self.folder(teacher.run), *self._where(run, seed), *self._width(width))
        return Step("distill.py", (*where, *self.settings.distill, *self.distill), run)

    def evaluating(self, protocol: str, of: Step, data: str = "") -> Step:
        words = (protocol, "--model", self.folder(of.run), "--data", data or self.data)
        return Step("evaluate.py", words, of.run, protocol)

    def _size(self, width: float | None) -> str:
        """The encoder in the name of a run."""
        own = re.sub(r"[^a-z0-9.]+", "-", self.base.encoder.label.split()[-1].lower())
        return own if width is None else f"{width:g}x"

    def _labelled(self, source: Step, run: str, labels: float, seed: int, other: OtherDataset | None) -> Words:
        there = ("--split", other.split) if other else ()
        where = self._where(run, seed, other.data if other else "")
        return ("--model", self.folder(source.run), *where, "--labels", f"{labels:g}", *there)

    def _where(self, run: str, seed: int, data: str = "") -> Words:
        return ("--data", data or self.data, "--run", self.folder(run), "--seed", str(seed), *self.common)

    def _width(self, width: float | None) -> Words:
        """The option of an encoder's width. UserError where the recipe's encoder has none."""
        if width is None:
            return ()
        encoder = self.base.encoder
        if "width" not in {field.name for field in dataclasses.fields(encoder)}:
            raise UserError(
                f"the encoder of recipe {self.recipe}, {encoder.label}, has no width, which this table sets: "
                "give --recipe one whose encoder has"
            )
        return ("--encoder.width", f"{width:g}")
