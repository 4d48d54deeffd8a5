"""The tables of zero-shot recognition as data: by Li et al. (2024, arXiv:2407.13460), and for small data sets."""

from __future__ import annotations

import dataclasses
import math
import shlex

from bonestrap.bounds import WIDE, WIDTH, Bounded, Bounds
from bonestrap.options import UserError, option
from bonestrap.zero_shot import PUBLISHED as SIZES
from bonestrap.zero_shot.splits import PUBLISHED_SPLITS
from experiments.steps import Cell, Plan, Setup, Step, Words

# Row: the protocol, what its evaluation is called, and its options.
SADVAE_ROWS: dict[str, tuple[str, str, Words]] = {
    "SA-DVAE": ("zero-shot", "zero-shot {}", ()),
    "without penalty": ("zero-shot", "zero-shot {} without penalty", ("--method.penalty", "0")),
    "without disentanglement": ("zero-shot", "zero-shot {} without disentanglement", ("--method.style", "0")),
    "generalised, harmonic mean": ("generalised-zero-shot", "generalised zero-shot {}", ()),
}
SADVAE_FIGURES = {"ntu60": {"55/5": 82.37, "48/12": 41.38}, "ntu120": {"110/10": 68.77, "96/24": 46.12}}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SADVAETable(Bounded):
    """Zero-shot recognition (Li et al. 2024): SA-DVAE, its ablations, and the generalised protocol, by class split.

    The encoder is pretrained without the unseen classes: by the recipe, or with --recipe supervised on the labels of
    the seen ones, as published.
    """

    unseen: tuple[str, ...] = option((), "published class splits, such as 55/5; none takes all of the data set")
    width: float | None = option(None, "of the encoder; none takes the recipe's", WIDTH)
    method: str = option("", "more options of every evaluation, in quotes")

    def columns(self, dataset: str, own: str) -> Words:
        """The recipe's split of recordings."""
        return (own,)

    def plan(self, setup: Setup) -> Plan:
        known = PUBLISHED_SPLITS.get(setup.dataset, {})
        if not known or any(name not in known for name in self.unseen):
            raise UserError(
                f"--unseen: {setup.dataset} has the published class splits {', '.join(known) or 'none'}; evaluate "
                "others with launch/evaluate.py zero-shot"
            )
        sizes = ("--published",) if (setup.dataset, "fixed") in SIZES else ()
        cells = []
        for column in self.unseen or known:
            for seed in setup.seeds:
                variant = f"without-{column.replace('/', '-')}"
                words = ("--classes.leave-out", column)
                pretrained = setup.pretraining(setup.splits[0], seed, self.width, variant, words)
                for row, (protocol, name, more) in SADVAE_ROWS.items():
                    common = ("--unseen", column, "--seed", str(seed), *sizes, *more, *shlex.split(self.method))
                    step = setup.evaluating(protocol, pretrained)
                    step = step._replace(words=(*step.words, *common), measures=name.format(column))
                    cells.append(Cell(row, column, seed, (pretrained, step)))
        against = {row: "SA-DVAE" for row in SADVAE_ROWS if row.startswith("without")}
        published = {("SA-DVAE", column): figure for column, figure in SADVAE_FIGURES.get(setup.dataset, {}).items()}
        paper = "Li et al. (2024, arXiv:2407.13460), with sentence-BERT"
        return Plan("SA-DVAE: zero-shot recognition", tuple(cells), against, published, setup.dataset, paper)


# Nine groups of four of ten classes: every pair of classes is in one or more of them.
COVER = (
    "0,1,8,9", "0,2,4,7", "0,3,5,6", "1,2,3,4", "1,2,5,7", "1,4,6,7", "2,6,8,9", "3,7,8,9", "4,5,8,9",
)  # fmt: skip
COVERED = 10  # classes


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftOutTable(Bounded):
    """Zero-shot recognition over all class splits within groups of classes, each of which a pretraining leaves out.

    Where the data set has ten classes, nine groups of four have every pair of classes. A column is a group;
    `python -m evaluation.zero_shot.split_means RUNS/pretrained-*` gives the means over all class splits, also of the
    folders of several recipes together.
    """

    left_out: tuple[str, ...] = option(
        (), "groups of classes, each as numbers from 0, such as 0,1,8,9; none takes nine groups of four, of ten classes"
    )
    count: int = option(2, "unseen classes of a class split", Bounds(2, WIDE))
    splits: int = option(100, "class splits drawn of a group; all there are, if these are no more", Bounds(1, 100_000))
    split: str | None = option(None, "of the recordings, not of the classes; none takes the recipe's")
    width: float | None = option(None, "of the encoder; none takes the recipe's", WIDTH)
    generalised: bool = option(True, "the generalised protocol as well")
    method: str = option("", "more options of every evaluation, in quotes")

    def columns(self, dataset: str, own: str) -> Words:
        """The split of recordings."""
        return (self.split or own,)

    def plan(self, setup: Setup) -> Plan:
        if not self.left_out and setup.classes != COVERED:
            raise UserError(f"--left-out: {setup.dataset} has {setup.classes} classes; say which ones are left out")
        protocols = ("zero-shot", "generalised-zero-shot") if self.generalised else ("zero-shot",)
        cells = []
        for group in self.left_out or COVER:
            words = ("--classes.leave-out", group)
            for seed in setup.seeds:
                variant = f"without-{group.replace(',', '-')}"
                pretrained = setup.pretraining(setup.splits[0], seed, self.width, variant, words)
                cells += [Cell(each, group, seed, (pretrained, self.evaluating(each, pretrained, setup, group, seed)))
                          for each in protocols]  # fmt: skip
        paper = "none for these class splits"
        return Plan("Zero-shot recognition of classes left out", tuple(cells), {}, {}, setup.dataset, paper)

    def evaluating(self, protocol: str, pretrained: Step, setup: Setup, group: str, seed: int) -> Step:
        """The evaluation of an encoder on the classes that it left out."""
        splits = min(self.splits, math.comb(group.count(",") + 1, self.count))
        name = f"{protocol.replace('-zero', ' zero')} {setup.classes - self.count}/{self.count}"
        words = ("--among", "left-out", "--count", str(self.count), "--splits", str(self.splits), "--seed", str(seed))
        step = setup.evaluating(protocol, pretrained)
        return step._replace(
            words=(*step.words, *words, *shlex.split(self.method)),
            measures=name + (f" x{splits}" if splits > 1 else ""),
        )
