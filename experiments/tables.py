"""The tables of Moliner et al. (2022) as data: the commands that fill a cell, its baseline, and what was published."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from bonestrap.bounds import FRACTION, WIDTH, Bounded
from bonestrap.options import option, required
from experiments.methods_table import Methods
from experiments.relsar import RelSar
from experiments.stars_tables import STARS_TABLES, STARSTable
from experiments.steps import Cell, OtherDataset, Plan, Setup, Step, Words
from experiments.views_table import Views
from experiments.zero_shot_table import LeftOutTable, SADVAETable

CONSERVATIVE_1 = (
    "--method.view1.smooth.probability", "0", "--method.view1.shear.limit", "0", "--method.view1.shift.limit", "0",
    "--method.view1.drop.probability", "0",
)  # fmt: skip
AGGRESSIVE_2 = (
    "--method.view2.smooth.probability", "0.5", "--method.view2.shear.limit", "1", "--method.view2.shift.limit", "1",
    "--method.view2.drop.probability", "0.5",
)  # fmt: skip
ALONE = ("--no-method.multiview",)
FULL = "full recipe"
# Row of table 2: how it leaves the full recipe, and what was published for NTU-60 cross-subject and cross-view.
ABLATION: dict[str, tuple[Words, float, float]] = {
    "BYOL, only conservative augmentation": ((*ALONE, *CONSERVATIVE_1), 51.1, 55.1),
    "BYOL, only aggressive augmentation": ((*ALONE, *AGGRESSIVE_2), 79.6, 81.0),
    "no shear": (("--method.view1.shear.limit", "0"), 78.0, 81.1),
    "no low-pass filter": (("--method.view1.smooth.probability", "0"), 84.4, 90.2),
    "no temporal shift": (("--method.view1.shift.limit", "0"), 84.7, 89.4),
    "no resampling": (("--method.view1.resample.rate", "1", "1", "--method.view2.resample.rate", "1", "1"), 85.6, 90.6),
    "no left/right drop": (("--method.view1.drop.probability", "0"), 85.6, 89.7),
    "no multi-viewpoint sampling": (ALONE, 81.8, 82.3),
    "no asymmetry, only aggressive": (AGGRESSIVE_2, 83.8, 88.7),
    FULL: ((), 86.8, 91.2),
}


PUBLISHED_FOR = {"ntu60": ("cross-subject", "cross-view"), "ntu120": ("cross-subject", "cross-setup")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BySplit(Bounded):
    """A table with a part for each split."""

    splits: tuple[str, ...] = option((), "splits of the data set; none takes the published ones, or the recipe's")

    def columns(self, dataset: str, own: str) -> Words:
        """The splits that are asked for, or were published for the data set, or the recipe's own."""
        return self.splits or PUBLISHED_FOR.get(dataset, (own,))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table2(BySplit):
    """Ablation: multi-viewpoint sampling, asymmetric pipelines and each augmentation left out; linear evaluation.

    Every row is pretrained anew for every seed.
    """

    width: float | None = option(None, "of the encoder; none takes the recipe's", WIDTH)

    def plan(self, setup: Setup) -> Plan:
        cells = []
        for split in setup.splits:
            for row, (words, *_) in ABLATION.items():
                variant = row.replace(", ", "-").replace("/", "-").replace(" ", "-")
                for seed in setup.seeds:
                    pretrained = setup.pretraining(split, seed, self.width, variant if words else "full", words)
                    cells.append(Cell(row, split, seed, (pretrained, setup.evaluating("linear", pretrained))))
        figures = {
            (row, split): figure
            for row, (_, *both) in ABLATION.items()
            for split, figure in zip(("cross-subject", "cross-view"), both, strict=True)
        }
        against = {row: FULL for row in ABLATION if row != FULL}
        return Plan("Table 2: ablation, linear evaluation", tuple(cells), against, figures, "ntu60")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FewLabels(BySplit):
    """What tables 3, 4 and 5 have in common: a wide teacher fine-tuned on few labels."""

    labels: tuple[float, ...] = option((0.01, 0.05, 0.1), "fractions of the training labels, class-balanced", FRACTION)
    teacher: float = option(2.0, "width of the teacher", WIDTH)
    one_pretraining: bool = option(
        True,
        "all seeds draw their labels for the pretraining of the first seed, as published; no: each pretrains its own",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.labels:
            raise ValueError("labels must be one number or more")

    def pretraining(self, setup: Setup, split: str, seed: int, width: float) -> Step:
        return setup.pretraining(split, setup.seeds[0] if self.one_pretraining else seed, width)

    def each(self, setup: Setup) -> list[tuple[str, float, int, str]]:
        """Split, fraction of the labels, seed, and the column that they belong to."""
        return [
            (split, fraction, seed, f"{split}, {100 * fraction:g} % of the labels")
            for split in setup.splits
            for fraction in self.labels
            for seed in setup.seeds
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table3(FewLabels):
    """Semi-supervised learning on NTU-60: supervised alone, fine-tuned and distilled, by fraction of the labels."""

    student: float = option(1.0, "width of the student and of the supervised network", WIDTH)

    def plan(self, setup: Setup) -> Plan:
        rows = {"supervised": f"{self.student:g}x supervised alone", "distilled": f"{self.student:g}x distilled"}
        rows["teacher"] = f"{self.teacher:g}x fine-tuned"
        cells = []
        for split, fraction, seed, column in self.each(setup):
            wide = self.pretraining(setup, split, seed, self.teacher)
            teacher = setup.finetuning(wide, fraction, seed)
            alone = setup.scratch(wide, fraction, seed, self.student)
            student = setup.distilling(teacher, self.student, seed)
            cells += [
                Cell(rows["supervised"], column, seed, (wide, alone, setup.evaluating("test", alone))),
                Cell(rows["distilled"], column, seed, (wide, teacher, student, setup.evaluating("test", student))),
                Cell(rows["teacher"], column, seed, (wide, teacher, setup.evaluating("test", teacher))),
            ]
        against = dict.fromkeys((rows["distilled"], rows["teacher"]), rows["supervised"])
        figures = _few(rows, self.published(), (self.student, self.teacher))
        return Plan(self.title(), tuple(cells), against, figures, self.source())

    def title(self) -> str:
        return "Table 3: few labels"

    def source(self) -> str:
        return "ntu60"

    def published(self) -> dict[str, dict[str, tuple[float, ...]]]:
        """By split and row, at 1, 5 and 10 %."""
        return {
            "cross-subject": {
                "supervised": (19.3, 59.1, 71.7), "distilled": (79.4, 83.6, 84.6), "teacher": (79.3, 84.5, 86.0),
            },
            "cross-view": {
                "supervised": (20.6, 61.6, 75.9), "distilled": (81.7, 87.5, 89.5), "teacher": (81.5, 87.5, 89.8),
            },
        }  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table4(Table3):
    """Semi-supervised learning on NTU-120: as table 3."""

    def title(self) -> str:
        return "Table 4: few labels"

    def source(self) -> str:
        return "ntu120"

    def published(self) -> dict[str, dict[str, tuple[float, ...]]]:
        return {
            "cross-subject": {
                "supervised": (15.2, 51.2, 63.0), "distilled": (66.8, 74.2, 77.0), "teacher": (65.9, 73.9, 76.7),
            },
            "cross-setup": {
                "supervised": (14.0, 49.9, 61.9), "distilled": (67.1, 76.2, 78.0), "teacher": (66.6, 76.1, 78.6),
            },
        }  # fmt: skip


# Table 5, NTU-60 cross-subject, at 1, 5 and 10 %: by width, alone and distilled from 2x.
DISTILLATION = {
    0.25: ((53.5, 68.9, 71.2), (76.8, 80.4, 81.3)),
    0.5: ((66.9, 78.4, 80.4), (78.3, 81.7, 82.8)),
    1.0: ((75.8, 82.8, 84.5), (79.4, 83.6, 84.6)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table5(FewLabels):
    """Effect of distillation by width and fraction of the labels: distilled against pretrained and fine-tuned alone."""

    widths: tuple[float, ...] = option((0.25, 0.5, 1.0), "of the students", WIDTH)

    def columns(self, dataset: str, own: str) -> Words:
        return self.splits or super().columns(dataset, own)[:1]

    def plan(self, setup: Setup) -> Plan:
        cells, against, rows = [], {}, {"teacher": f"{self.teacher:g}x teacher"}
        for width in self.widths:
            rows |= {f"alone {width:g}": f"{width:g}x alone", f"distilled {width:g}": f"{width:g}x distilled"}
            against[f"{width:g}x distilled"] = f"{width:g}x alone"
        for split, fraction, seed, column in self.each(setup):
            wide = self.pretraining(setup, split, seed, self.teacher)
            teacher = setup.finetuning(wide, fraction, seed)
            for width in self.widths:
                own = self.pretraining(setup, split, seed, width)
                alone = setup.finetuning(own, fraction, seed)
                student = setup.distilling(teacher, width, seed)
                cells += [
                    Cell(f"{width:g}x alone", column, seed, (own, alone, setup.evaluating("test", alone))),
                    Cell(
                        f"{width:g}x distilled", column, seed,
                        (wide, teacher, student, setup.evaluating("test", student)),
                    ),
                ]  # fmt: skip
            cells.append(Cell(rows["teacher"], column, seed, (wide, teacher, setup.evaluating("test", teacher))))
        figures = {"teacher": (79.3, 84.5, 86.0)}
        for width, (alone_figures, distilled_figures) in DISTILLATION.items():
            figures |= {f"alone {width:g}": alone_figures, f"distilled {width:g}": distilled_figures}
        known = {name: each for name, each in figures.items() if name in rows}
        published = _few(rows, {"cross-subject": known}, (1.0, self.teacher))
        return Plan("Table 5: effect of distillation, by width", tuple(cells), against, published, "ntu60")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table6(BySplit):
    """Transfer: pretrained on the data, fine-tuned on all labels of another data set of the same joint layout."""

    target: str = required("folder or address of the other data set's shards")
    target_split: str = option("cross-subject", "its split")
    labels: float = option(1.0, "fraction of its training labels", FRACTION)
    width: float | None = option(None, "of the encoder; none takes the recipe's", WIDTH)

    def columns(self, dataset: str, own: str) -> Words:
        """One split, whose training recordings are pretrained on."""
        return super().columns(dataset, own)[:1]

    def plan(self, setup: Setup) -> Plan:
        cells, finetuned, alone = [], "pretrained, fine-tuned", "supervised alone"
        other, width = OtherDataset(self.target, self.target_split), self.width
        for split in setup.splits:
            for seed in setup.seeds:
                pretrained = setup.pretraining(split, seed, width)
                for row, step in (
                    (alone, setup.scratch(pretrained, self.labels, seed, width, other)),
                    (finetuned, setup.finetuning(pretrained, self.labels, seed, other)),
                ):
                    measured = setup.evaluating("test", step, self.target)
                    cells.append(Cell(row, self.target_split, seed, (pretrained, step, measured)))
        published = {(alone, "cross-subject"): 61.9, (finetuned, "cross-subject"): 68.3}
        return Plan("Table 6: transfer to another data set", tuple(cells), {finetuned: alone}, published, "ntu60")


TABLES = {
    "table-2": Table2,
    "table-3": Table3,
    "table-4": Table4,
    "table-5": Table5,
    "table-6": Table6,
    "sa-dvae": SADVAETable,
    "zero-shot": LeftOutTable,
    **STARS_TABLES,
    "rel-sar": RelSar,
    "methods": Methods,
    "views": Views,
}
Table = Table2 | Table3 | Table5 | Table6 | SADVAETable | LeftOutTable | STARSTable | RelSar | Methods | Views


def _few(
    rows: Mapping[str, str], figures: Mapping[str, Mapping[str, Sequence[float]]], widths: tuple[float, float]
) -> dict[tuple[str, str], float]:
    """Published figures by row and column; none for widths other than the published 1 and 2."""
    if widths != (1.0, 2.0):
        return {}
    return {
        (rows[row], f"{split}, {100 * fraction:g} % of the labels"): figure
        for split, each in figures.items()
        for row, known in each.items()
        for fraction, figure in zip((0.01, 0.05, 0.1), known, strict=True)
    }
