"""All methods on one data set: pretrained on the same number of clips, measured alike."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from bonestrap.bounds import EPOCHS, Bounded
from bonestrap.options import option
from experiments.steps import Cell, Plan, Setup, Step, Words
from shards import splits
from shards.reading import Reading

BYOL, VICREG, MASKED, LATENT, THREE, TWO = "BYOL", "VICReg", "MAMP", "latent targets", "STARS, three stages", "STARS"
# Recipes for some hundreds to some thousands of recordings, by row; STARS starts from MAMP's encoder.
RECIPES = {VICREG: "vicreg", BYOL: "byol-rotated", MASKED: "mamp-small", LATENT: "latent-small"}
TUNED = "stars-small"
# Column: the protocol, and the name of its figure.
MEASURES = {
    "linear, all labels": ("linear", "linear"),
    "kNN, k = 1": ("knn", "knn"),
    "1 % of the labels": ("semi-supervised", "semi-supervised 0.01"),
    "5 % of the labels": ("semi-supervised", "semi-supervised 0.05"),
    "10 % of the labels": ("semi-supervised", "semi-supervised 0.1"),
    "one exemplar of each novel class": ("few-shot", "few-shot 1"),
}
FIRST = {"semi-supervised": "semi-supervised 0.01", "few-shot": "few-shot 1"}  # of a protocol of several figures


@dataclasses.dataclass(frozen=True, kw_only=True)
class Methods(Bounded):
    """BYOL, VICReg, MAMP, latent targets and STARS, each on the same number of clips; frozen encoders, measured alike.

    The recipes for small data sets. Both views of a pair count as clips. STARS adds --tuning to MAMP's clips, and in
    three stages twice that.
    """

    others: ClassVar[Words] = (*RECIPES.values(), TUNED)  # recipes beside the one of --recipe, which is not used
    splits: tuple[str, ...] = option((), "splits of the data set; none takes cross-subject")
    passes: float = option(120.0, "clips of each training recording that a method learns from", EPOCHS)
    tuning: float = option(20.0, "further clips of each, for each further stage of STARS", EPOCHS)

    def columns(self, dataset: str, own: str) -> Words:
        """The splits that are asked for."""
        return self.splits or ("cross-subject",)

    def plan(self, setup: Setup) -> Plan:
        several = len(setup.splits) > 1
        cells = []
        for split in setup.splits:
            for seed in setup.seeds:
                for row, trained in self.trained(setup, split, seed).items():
                    for title, (protocol, figure) in MEASURES.items():
                        measured = setup.evaluating(protocol, trained[-1])
                        measured = measured._replace(measures=FIRST.get(protocol, protocol))
                        column = f"{split}: {title}" if several else title
                        cells.append(Cell(row, column, seed, (*trained, measured), figure))
        against = dict.fromkeys((TWO, THREE, LATENT), MASKED) | dict.fromkeys((BYOL, MASKED), VICREG)
        return Plan("Methods on the same clips, frozen encoders", tuple(cells), against, {}, "", "")

    def trained(self, setup: Setup, split: str, seed: int) -> dict[str, tuple[Step, ...]]:
        """The trainings of every row."""
        rows: dict[str, tuple[Step, ...]] = {}
        for row, recipe in RECIPES.items():
            own = dataclasses.replace(
                setup, recipe=recipe, base=setup.others[recipe], epochs=self.epochs(setup, recipe, split, self.passes)
            )
            rows[row] = (own.pretraining(split, seed, None, recipe),)
        (masked,) = rows[MASKED]
        tuned = f"{self.epochs(setup, TUNED, split, self.tuning):g}"
        words = ("--schedule.epochs", tuned)
        heads = setup.tuning(TUNED, masked, split, seed, "heads", ("--method.tuned", "0", *words))
        rows[THREE] = (masked, heads, setup.tuning(TUNED, heads, split, seed, "stars", words))
        rows[TWO] = (masked, setup.tuning(TUNED, masked, split, seed, "stars", words))
        return rows

    def epochs(self, setup: Setup, recipe: str, split: str, passes: float) -> float:
        """The epochs in which a recipe learns from `passes` clips of each training recording.

        An epoch goes once over the recordings, or once over the performances with two clips of each.
        """
        asked = setup.others[recipe].method.input
        if asked.unit == "view":
            return passes / (2 if asked.pairs else 1)
        reading = Reading(data=setup.data)
        select = splits.find(reading.manifest.name, split).train
        return round(passes * reading.views_each(select) / (2 if asked.pairs else 1), 2)
