"""The commands that fill a table: what one pretraining, fine-tuning, distillation or evaluation of it is typed as."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import NamedTuple

from bonestrap.recipe import Recipe
from evaluation.run_record import recorded

Words = tuple[str, ...]


class Step(NamedTuple):
    """One command, and the run directory that it fills or measures."""

    script: str
    words: Words
    run: str
    measures: str = ""  # of an evaluation: its protocol


class Cell(NamedTuple):
    """One figure: what the last of its steps measures."""

    row: str
    column: str
    seed: int
    steps: tuple[Step, ...]


class Plan(NamedTuple):
    """A table before it is filled."""

    title: str
    cells: tuple[Cell, ...]
    against: Mapping[str, str]  # row: the row that it is compared with
    published: Mapping[tuple[str, str], float]  # (row, column): percent
    source: str  # the data set of the published figures

    @property
    def steps(self) -> list[Step]:
        """Every command once."""
        return list(dict.fromkeys(step for cell in self.cells for step in cell.steps))

    @property
    def waves(self) -> list[list[Step]]:
        """Every command once, those together that need nothing of one another.

        A command stands in the same place in each of its cells.
        """
        place = {step: depth for cell in self.cells for depth, step in enumerate(cell.steps)}
        return [[step for step in place if place[step] == depth] for depth in range(max(place.values()) + 1)]


class Elsewhere(NamedTuple):
    """Another data set than the one that pretrains."""

    data: str
    protocol: str

    @property
    def suffix(self) -> str:
        return f"-on-{PurePath(self.data).name}"


class Settings(NamedTuple):
    """What the commands after pretraining are given, beside what a cell is about."""

    finetune: Words
    scratch: Words
    scratch_steps: tuple[int, int]  # at least, and with all labels
    distill: Words


# Sections 4.2 and 4.4: 100, 20 and 10 epochs of 1, 5 and 10 % of NTU-60 in batches of 8 are 5,000 steps each; 80 epochs
# of all are 400,000.
PUBLISHED = Settings(
    finetune=(
        "--batch",
        "8",
        "--steps",
        "5000",
        "--learning-rate",
        "10",
        "--frozen",
        "0.333",
        "--encoder-rate",
        "0.001",
    ),
    scratch=("--batch", "8", "--learning-rate", "0.0125"),
    scratch_steps=(4000, 400_000),
    distill=("--epochs", "100", "--batch", "256", "--learning-rate", "0.2"),
)
SMALL = Settings(
    finetune=("--steps", "600"),
    scratch=(),
    scratch_steps=(400, 400),
    distill=("--epochs", "60", "--batch", "64", "--learning-rate", "0.1"),
)
PACE = ("--frozen", "--encoder-rate")  # of a pretrained encoder: a network from scratch refuses them
SETTINGS = {"ntu60": PUBLISHED, "nw-ucla": SMALL, "own": SMALL, "demo": SMALL}


def without(words: Words, flags: Words) -> Words:
    """The words without these options and their values, which are one word each."""
    kept = []
    for before, word in zip(("", *words), words, strict=False):
        if before not in flags and word.partition("=")[0] not in flags:
            kept.append(word)
    return tuple(kept)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """What a table is filled with: the words that its commands have in common."""

    data: str
    runs: Path
    recipe: str
    base: Recipe  # what this name means
    protocols: Words
    seeds: tuple[int, ...]
    epochs: float | None  # of pretraining, instead of the recipe's
    common: Words  # of every training command
    pretrain: Words = ()  # more, which have the last word
    finetune: Words = ()
    distill: Words = ()

    def done(self, step: Step) -> bool:
        """Whether the command has reached its end: its model, or its figures, are there."""
        run = self.runs / step.run
        if not step.measures:
            return (run / "model" / "model.json").exists()
        file = run / "evaluation.json"
        return file.exists() and step.measures in recorded(file)

    def folder(self, run: str) -> str:
        return str(self.runs / run)

    def pretraining(
        self, protocol: str, seed: int, width: float | None, variant: str = "full", words: Words = ()
    ) -> Step:
        """Without a width, the recipe's own encoder."""
        run = f"pretrained-{variant}-{protocol}-{self._size(width)}-{seed}"
        schedule = self.base.schedule
        cut: Words = ()
        if self.epochs is not None:
            warmup = schedule.warmup * self.epochs / schedule.epochs
            cut = ("--schedule.epochs", f"{self.epochs:g}", "--schedule.warmup", f"{warmup:g}")
        own = ("--split", protocol, *_width(width), *cut, *words)
        return Step("pretrain.py", (self.recipe, *self._where(run, seed), *own, *self.pretrain), run)

    def finetuning(self, source: Step, labels: float, seed: int, elsewhere: Elsewhere | None = None) -> Step:
        run = f"finetuned-{labels:g}-{seed}-of-{source.run}{elsewhere.suffix if elsewhere else ''}"
        where = self._labelled(source, run, labels, seed, elsewhere)
        return Step("finetune.py", (*where, *SETTINGS[self.recipe].finetune, *self.finetune), run)

    def scratch(
        self, source: Step, labels: float, seed: int, width: float | None, elsewhere: Elsewhere | None = None
    ) -> Step:
        """A network of the source's kind on the same labels from random weights."""
        run = f"scratch-{self._size(width)}-{labels:g}-{seed}-as-{source.run}{elsewhere.suffix if elsewhere else ''}"
        settings = SETTINGS[self.recipe]
        least, most = settings.scratch_steps
        where = self._labelled(source, run, labels, seed, elsewhere)
        own = ("--scratch", *_width(width), "--steps", str(max(least, round(most * labels))))
        return Step("finetune.py", (*where, *own, *settings.scratch, *without(self.finetune, PACE)), run)

    def distilling(self, teacher: Step, width: float, seed: int) -> Step:
        run = f"distilled-{width:g}x-from-{teacher.run}"
        where = ("--teacher", self.folder(teacher.run), *self._where(run, seed), "--encoder.width", f"{width:g}")
        return Step("distill.py", (*where, *SETTINGS[self.recipe].distill, *self.distill), run)

    def evaluating(self, protocol: str, of: Step, data: str = "") -> Step:
        words = (protocol, "--model", self.folder(of.run), "--data", data or self.data)
        return Step("evaluate.py", words, of.run, protocol)

    def _size(self, width: float | None) -> str:
        """What a run's name says of the encoder."""
        return self.base.encoder.label.split()[-1].lower() if width is None else f"{width:g}x"

    def _labelled(self, source: Step, run: str, labels: float, seed: int, elsewhere: Elsewhere | None) -> Words:
        there = ("--split", elsewhere.protocol) if elsewhere else ()
        where = self._where(run, seed, elsewhere.data if elsewhere else "")
        return ("--model", self.folder(source.run), *where, "--labels", f"{labels:g}", *there)

    def _where(self, run: str, seed: int, data: str = "") -> Words:
        return ("--data", data or self.data, "--run", self.folder(run), "--seed", str(seed), *self.common)


def _width(width: float | None) -> Words:
    return () if width is None else ("--encoder.width", f"{width:g}")
