"""The ablations of ReL-SAR (Naimi et al. 2024): selection and order of joints, frames of a clip, what is frozen."""

from __future__ import annotations

import dataclasses
from typing import Literal

from bonestrap.bounds import FRACTION, FRAMES, Bounded, Bounds
from bonestrap.options import option
from experiments.steps import Cell, Plan, Setup, Words

Part = Literal["selection", "order", "frames", "freezing"]
FULL, WHOLE = "first convolution frozen", "full fine-tuning"
FREEZING: dict[str, Words] = {
    WHOLE: (),
    FULL: ("--freeze", "convolutions.0"),
    "both convolutions frozen": ("--freeze", "convolutions"),
}
SCRATCH = "from scratch"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RelSar(Bounded):
    """ReL-SAR: selection and order of the joints, clips of 10 to 60 frames, frozen convolutions, and from scratch.

    Every row is pretrained, fine-tuned and tested; rows that do not say otherwise have 15 ordered points, 30 frames and
    a frozen first convolution, with which they are compared; from scratch is compared with full fine-tuning. The
    documents of this project have no figures of the paper, so none stand beside.
    """

    splits: tuple[str, ...] = option((), "splits of the data set; none takes the recipe's")
    parts: tuple[Part, ...] = option(("selection", "order", "frames", "freezing"), "which ablations")
    frames: tuple[int, ...] = option((10, 20, 30, 60), "of a clip, in the part frames", Bounds(2, FRAMES))
    labels: float = option(1.0, "fraction of the training labels, class-balanced", FRACTION)

    def columns(self, dataset: str, own: str) -> Words:
        """The splits that are asked for, or the recipe's own."""
        return self.splits or (own,)

    def plan(self, setup: Setup) -> Plan:
        cells = []
        for split in setup.splits:
            for seed in setup.seeds:
                for row, (variant, words) in self.rows(setup, seed).items():
                    pretrained = setup.pretraining(split, seed, None, variant, words)
                    if row == SCRATCH:
                        step = setup.scratch(pretrained, self.labels, seed, None)
                    else:
                        frozen = FREEZING.get(row, FREEZING[FULL])
                        name = "-".join(("finetuned", *frozen[1:]))
                        step = setup.finetuning(pretrained, self.labels, seed, variant=name, words=frozen)
                    cells.append(Cell(row, split, seed, (pretrained, step, setup.evaluating("test", step))))
        against = {cell.row: WHOLE if cell.row == SCRATCH else FULL for cell in cells if cell.row != FULL}
        title = "ReL-SAR: selection, frames and freezing"
        return Plan(title, tuple(cells), against, {}, "nw-ucla", "Naimi et al. (2024, arXiv:2409.05749)")

    def rows(self, setup: Setup, seed: int) -> dict[str, tuple[str, Words]]:
        """By row the name and the options of its pretraining; the full recipe first."""
        rows: dict[str, tuple[str, Words]] = {FULL: ("full", ())}
        if "selection" in self.parts:
            rows["all joints"] = ("all-joints", ("--encoder.joints", "all"))
        if "order" in self.parts:
            rows["random order"] = ("random-order", ("--encoder.permutation", str(seed)))
        if "frames" in self.parts:
            own = setup.base.clip.frames
            rows |= {f"{t} frames": (f"{t}-frames", ("--clip.frames", str(t))) for t in self.frames if t != own}
        if "freezing" in self.parts:
            rows |= {row: ("full", ()) for row in (*FREEZING, SCRATCH) if row != FULL}
        return rows
