"""Which views a recipe owes its result to: every operation left out once."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from bonestrap.augment import View
from bonestrap.bounds import Bounded
from bonestrap.options import UserError, option
from experiments.steps import Cell, Plan, Setup, Words
from shards import splits
from shards.reading import Reading

FULL = "all of them"
ALONE = "cameras of a performance as pairs"
SINGLE = "no-multiview"
# By kind of operation: what a row calls it, and its options at the strength that changes nothing.
NEUTRAL: dict[str, tuple[str, dict[str, Words]]] = {
    "resample": ("resampling", {"rate": ("1", "1")}),
    "shift": ("temporal shift", {"limit": ("0",)}),
    "smooth": ("low-pass filter", {"probability": ("0",)}),
    "window": ("window", {"fraction": ("1", "1")}),
    "frames": ("random frames", {"randomness": ("0",)}),
    "reverse": ("reversal", {"probability": ("0",)}),
    "rotate": ("rotation", {"yaw": ("0",), "pitch": ("0",), "roll": ("0",)}),
    "scale": ("scale", {"factor": ("1", "1")}),
    "shear": ("shear", {"limit": ("0",)}),
    "mirror": ("mirroring", {"probability": ("0",)}),
    "jitter": ("jitter", {"std": ("0",)}),
    "noise": ("noise", {"std": ("0",)}),
    "drop": ("left/right drop", {"probability": ("0",)}),
    "mask": ("joint masking", {"probability": ("0",)}),
    "part": ("part masking", {"probability": ("0",)}),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Views(Bounded):
    """Ablation of a recipe's own views: each operation, and pairs of cameras, left out once, in both views.

    All rows take as many steps. Without --on test, every row is trained without the held-out training subjects and
    measured on them, to choose by.
    """

    summary: ClassVar[str] = "Views left out one at a time"
    splits: tuple[str, ...] = option((), "splits of the data set; none takes the recipe's")
    protocol: Literal["linear", "knn"] = option("linear", "how the frozen encoder is measured")
    on: Literal["held-out", "test"] = option("held-out", "held-out: training subjects set aside, to choose by")

    def columns(self, dataset: str, own: str) -> Words:
        """The splits that are asked for, or the recipe's own."""
        return self.splits or (own,)

    def plan(self, setup: Setup) -> Plan:
        choosing = self.on == "held-out"
        own = ("--hold-out",) if choosing else ()
        cells = []
        for split in setup.splits:
            single = self.single(setup, split)
            for row, (variant, words) in self.rows(setup).items():
                made = single if variant == SINGLE else setup
                for seed in setup.seeds:
                    pretrained = made.pretraining(split, seed, None, variant, (*own, *words))
                    measured = setup.evaluating(self.protocol, pretrained)
                    if choosing:
                        measured = measured._replace(
                            words=(*measured.words, "--on", "held-out"), measures=f"{self.protocol} on held-out"
                        )
                    cells.append(Cell(row, split, seed, (pretrained, measured)))
        against = {cell.row: FULL for cell in cells if cell.row != FULL}
        scored = "recordings of held-out training subjects" if choosing else "test recordings"
        return Plan(f"{self.summary}, {self.protocol}", tuple(cells), against, {}, "", "", scored)

    def rows(self, setup: Setup) -> dict[str, tuple[str, Words]]:
        """By row the name and the options of its pretraining. UserError where the recipe has no two views."""
        method = setup.base.method
        views: dict[str, View] = {name: getattr(method, name, ()) for name in ("view1", "view2")}
        if not all(views.values()):
            raise UserError(
                f"recipe {setup.recipe}, {method.label}, has no pair of views: give --recipe vicreg or another"
            )
        rows: dict[str, tuple[str, Words]] = {FULL: ("full", ())}
        for kind in dict.fromkeys(operation.kind for view in views.values() for operation in view):
            if kind in NEUTRAL:
                title, fields = NEUTRAL[kind]
                words: Words = ()
                for name, view in views.items():
                    if any(operation.kind == kind for operation in view):
                        for field, values in fields.items():
                            words += (f"--method.{name}.{kind}.{field}", *values)
                rows[f"without {title}"] = (f"no-{kind}", words)
        if getattr(method, "multiview", False):
            rows[f"without {ALONE}"] = (SINGLE, ("--no-method.multiview",))
        return rows

    def single(self, setup: Setup, split: str) -> Setup:
        """The same with as many steps for a method that goes over recordings, and not over the fewer performances."""
        reading = Reading(data=setup.data)
        found = splits.find(reading.manifest.name, split)
        select = found.fit if self.on == "held-out" else found.train
        epochs = setup.base.schedule.epochs if setup.epochs is None else setup.epochs
        return dataclasses.replace(setup, epochs=round(epochs / reading.views_each(select), 2))
