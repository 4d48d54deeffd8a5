"""The tables of Mehraban et al., STARS, as data: the commands that fill a cell, and what was published."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from bonestrap.bounds import WIDTH, Bounded
from bonestrap.options import UserError, option, required
from experiments.steps import Cell, OtherDataset, Plan, Setup, Step, Words

PAPER = "Mehraban et al. (STARS)"
TUNED_BY = {"mamp": "stars", "mamp-small": "stars-small"}  # the second stage's recipe, by the first one's
MASKED, THREE, TWO = "MAMP", "STARS-3stage", "STARS"
SPLITS = {"ntu60": ("cross-subject", "cross-view"), "ntu120": ("cross-subject", "cross-setup")}
MIRRORED = ("--method.view.mirror.probability", "0.5")
ROTATED = tuple(word for axis in ("yaw", "pitch", "roll") for word in (f"--method.view.rotate.{axis}", "17.2"))
PAIRS = ("--method.pair",)
BATCH = ("--schedule.batch", "32", "--schedule.group", "32")  # tables 8 and 10

Row = tuple[float | None, ...]  # percent, in the order of the columns


@dataclasses.dataclass(frozen=True, kw_only=True)
class STARSTable(Bounded, ABC):
    """What the tables have in common: an encoder pretrained by MAMP, and tuned in one more stage or in two."""

    recipes: ClassVar[tuple[str, str]] = ("mamp", "mamp-small")  # of the data sets of the paper, and of others
    splits: tuple[str, ...] = option((), "splits of the data set; none takes the published ones, or the recipe's")
    width: float | None = option(None, "of the encoder; none takes the recipe's", WIDTH)

    @abstractmethod
    def plan(self, setup: Setup) -> Plan:
        """The commands, and the cells that they fill."""

    def columns(self, dataset: str, own: str) -> Words:
        """The splits that are asked for, or were published for the data set, or the recipe's own."""
        return self.splits or SPLITS.get(dataset, (own,))

    def masked(self, setup: Setup, split: str, seed: int, words: Words = ()) -> Step:
        """The first stage."""
        variant = "-".join(("mamp", *(["without"] if words else [])))
        return setup.pretraining(split, seed, self.width, variant, words)

    def tuned(self, setup: Setup, source: Step, split: str, seed: int, variant: str, words: Words = ()) -> Step:
        """A further stage. UserError where the first one's recipe has none."""
        if setup.recipe not in TUNED_BY:
            raise UserError(f"--recipe {setup.recipe} has no second stage here: give {' or '.join(TUNED_BY)}")
        size = () if self.width is None else ("--encoder.width", f"{self.width:g}")
        return setup.tuning(TUNED_BY[setup.recipe], source, split, seed, variant, (*size, *words))

    def stages(self, setup: Setup, split: str, seed: int, words: Words = ()) -> dict[str, tuple[Step, ...]]:
        """The trainings of every row, by row."""
        first = self.masked(setup, split, seed, words)
        heads = self.tuned(setup, first, split, seed, "heads", ("--method.tuned", "0", *words))
        third = self.tuned(setup, heads, split, seed, "stars", words)
        second = self.tuned(setup, first, split, seed, "stars", words)
        return {MASKED: (first,), THREE: (first, heads, third), TWO: (first, second)}


def measured(setup: Setup, of: Step, protocol: str, name: str, *words: str) -> Step:
    """An evaluation with options, and the name of its figures."""
    step = setup.evaluating(protocol, of)
    return step._replace(words=(*step.words, *words), measures=name)


def published(figures: dict[str, Row], columns: Iterable[str]) -> dict[tuple[str, str], float]:
    """Figures by row and column, without those that were not stated."""
    return {
        (row, column): figure
        for row, each in figures.items()
        for column, figure in zip(columns, each, strict=False)
        if figure is not None
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frozen(STARSTable):
    """What tables 1 and 2 have in common: frozen encoders, measured in one way."""

    number: ClassVar[str]
    how: ClassVar[tuple[str, ...]]  # protocol, the name of its figures, options
    figures: ClassVar[dict[str, dict[str, Row]]]

    def plan(self, setup: Setup) -> Plan:
        protocol, name, *words = self.how
        cells = [
            Cell(row, split, seed, (*steps, measured(setup, steps[-1], protocol, name, *words)))
            for split in setup.splits
            for seed in setup.seeds
            for row, steps in self.stages(setup, split, seed).items()
        ]
        known = published(self.figures.get(setup.dataset, {}), SPLITS.get(setup.dataset, ()))
        against = {TWO: MASKED, THREE: MASKED}
        return Plan(f"STARS, table {self.number}: {name}", tuple(cells), against, known, setup.dataset, PAPER)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear(Frozen):
    """Table 1: linear evaluation of MAMP and of STARS in two stages and three."""

    number = "1"
    how = ("linear", "linear sgd-bn", "--fit", "sgd-bn")
    figures: ClassVar = {
        "ntu60": {MASKED: (84.9, 89.1), THREE: (86.3, 90.7), TWO: (87.1, 90.9)},
        "ntu120": {MASKED: (78.6, 79.1), THREE: (79.3, 80.6), TWO: (79.9, 80.8)},
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nearest(Frozen):
    """Table 2: the nearest neighbour (kNN, k = 1) of MAMP and of STARS in two stages and three."""

    number = "2"
    how = ("knn", "knn")
    figures: ClassVar = {
        "ntu60": {MASKED: (63.1, 80.3), THREE: (76.9, 88.0), TWO: (79.9, 88.6)},
        "ntu120": {MASKED: (51.8, 56.1), THREE: (65.7, 68.0), TWO: (67.6, 67.7)},
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finetuned(STARSTable):
    """Table 3: fine-tuned on all labels, beside a network from random weights."""

    def plan(self, setup: Setup) -> Plan:
        alone = "without pretraining"
        cells = []
        for split in setup.splits:
            for seed in setup.seeds:
                stages = self.stages(setup, split, seed)
                scratch = setup.scratch(stages[MASKED][0], 1.0, seed, self.width)
                steps = (stages[MASKED][0], scratch, setup.evaluating("test", scratch))
                cells.append(Cell(alone, split, seed, steps))
                for row, trained in stages.items():
                    tuned = setup.finetuning(trained[-1], 1.0, seed)
                    cells.append(Cell(row, split, seed, (*trained, tuned, setup.evaluating("test", tuned))))
        figures: dict[str, dict[str, Row]] = {
            "ntu60": {MASKED: (93.1, 97.5), alone: (83.1, 92.6), THREE: (93.2, 97.5), TWO: (93.0, 97.5)},
            "ntu120": {MASKED: (90.0, 91.3), alone: (76.8, 79.7), THREE: (89.8, 91.3), TWO: (89.9, 91.4)},
        }
        known = published(figures.get(setup.dataset, {}), SPLITS.get(setup.dataset, ()))
        against = {MASKED: alone, THREE: MASKED, TWO: MASKED}
        return Plan("STARS, table 3: fine-tuned", tuple(cells), against, known, setup.dataset, PAPER)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transferred(STARSTable):
    """Table 4: pretrained on the data, fine-tuned on all labels of another data set of the same joint layout."""

    target: str = required("folder or address of the other data set's shards")
    target_split: str = option("cross-subject", "its split")

    def columns(self, dataset: str, own: str) -> Words:
        """One split, whose training recordings are pretrained on."""
        return super().columns(dataset, own)[:1]

    def plan(self, setup: Setup) -> Plan:
        other = OtherDataset(self.target, self.target_split)
        cells = []
        for split in setup.splits:
            for seed in setup.seeds:
                for row, trained in self.stages(setup, split, seed).items():
                    tuned = setup.finetuning(trained[-1], 1.0, seed, other)
                    steps = (*trained, tuned, setup.evaluating("test", tuned, self.target))
                    cells.append(Cell(row, self.target_split, seed, steps))
        figures: dict[str, dict[str, Row]] = {
            "ntu60": {MASKED: (70.6,), THREE: (71.8,), TWO: (71.9,)},
            "ntu120": {MASKED: (73.2,), THREE: (72.7,), TWO: (72.2,)},
        }
        known = published(figures.get(setup.dataset, {}), ("cross-subject",))
        source = f"{setup.dataset} to pku-mmd-2"
        against = {THREE: MASKED, TWO: MASKED}
        return Plan("STARS, table 4: transfer by fine-tuning", tuple(cells), against, known, source, PAPER)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FewShots(STARSTable):
    """Table 5: n exemplars of classes that pretraining never saw, by the n nearest of them.

    NTU-120 without its classes from 60 on is pretrained on, which are those of NTU-60; of another data set the novel
    half of the classes is left out.
    """

    def columns(self, dataset: str, own: str) -> Words:
        """One split, whose training recordings are pretrained on."""
        return super().columns(dataset, own)[:1]

    def plan(self, setup: Setup) -> Plan:
        novel = ",".join(map(str, range(60, 120))) if setup.dataset == "ntu120" else "novel"
        columns = {1: "1-shot", 2: "2-shot", 5: "5-shot"}
        cells = []
        for split in setup.splits:
            for seed in setup.seeds:
                for row, steps in self.stages(setup, split, seed, ("--classes.leave-out", novel)).items():
                    for shots, column in columns.items():
                        name = f"few-shot {shots}" + (f" by {shots}" if shots > 1 else "")
                        words = ("--shots", str(shots), "--neighbours", str(shots))
                        found = measured(setup, steps[-1], "few-shot", name, *words)
                        cells.append(Cell(row, column, seed, (*steps, found)))
        figures: dict[str, Row] = {MASKED: (47.6, 44.4, 48.4), THREE: (59.3, 57.8, 61.5), TWO: (63.5, 62.2, 65.7)}
        known = published(figures, columns.values()) if setup.dataset == "ntu120" else {}
        against = {THREE: MASKED, TWO: MASKED}
        return Plan("STARS, table 5: few-shot", tuple(cells), against, known, setup.dataset, PAPER)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variants(STARSTable):
    """What tables 6 and 7 have in common: other ways of the second stage, by ten nearest neighbours."""

    number: ClassVar[str]
    rows: ClassVar[dict[str, tuple[Words, float, float]]]  # options, and NTU-60 cross-subject and cross-view
    base: ClassVar[str]

    def plan(self, setup: Setup) -> Plan:
        cells = []
        for split in setup.splits:
            for seed in setup.seeds:
                first = self.masked(setup, split, seed)
                for row, (words, *_) in self.rows.items():
                    variant = "stars" if not words else f"stars-{self.number}-{list(self.rows).index(row)}"
                    tuned = self.tuned(setup, first, split, seed, variant, words)
                    cells.append(
                        Cell(row, split, seed, (first, tuned, measured(setup, tuned, "knn", "knn 10", "--k", "10")))
                    )
        figures: dict[str, Row] = {row: tuple(both) for row, (_, *both) in self.rows.items()}
        known = published(figures, SPLITS["ntu60"]) if setup.dataset == "ntu60" else {}
        against = {row: self.base for row in self.rows if row != self.base}
        return Plan(f"STARS, table {self.number}: kNN, k = 10", tuple(cells), against, known, "ntu60", PAPER)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Strategies(Variants):
    """Table 6: nearest neighbours against DINO and MoCo, with and without mirroring and rotation; kNN, k = 10."""

    number = "6"
    base = "NNCLR"
    rows: ClassVar = {
        "DINO": (("--method", "dino", *BATCH), 77.6, 86.3),
        "DINO, augmented": (("--method", "dino", *BATCH, *MIRRORED, *ROTATED), 77.4, 86.7),
        "MoCo": (("--method", "moco", *BATCH), 72.2, 86.7),
        "MoCo, augmented": (("--method", "moco", *BATCH, *MIRRORED, *ROTATED), 73.9, 88.0),
        "NNCLR": ((), 81.9, 89.6),
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmented(Variants):
    """Table 7: augmentations of two views in the second stage; kNN, k = 10. Axis masking is left out."""

    number = "7"
    base = "no augmentation"
    rows: ClassVar = {
        "mirroring": ((*PAIRS, *MIRRORED), 85.0, 90.6),
        "rotation": ((*PAIRS, *ROTATED), 84.8, 90.1),
        "shear": ((*PAIRS, "--method.view.shear.limit", "1"), 83.2, 90.4),
        "mirroring and rotation": ((*PAIRS, *MIRRORED, *ROTATED), 84.6, 90.4),
        "no augmentation": ((), 84.5, 89.6),
    }


STARS_TABLES = {
    "stars-1": Linear,
    "stars-2": Nearest,
    "stars-3": Finetuned,
    "stars-4": Transferred,
    "stars-5": FewShots,
    "stars-6": Strategies,
    "stars-7": Augmented,
}
