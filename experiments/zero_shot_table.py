"""The table of zero-shot recognition by Li et al. (2024, arXiv:2407.13460) as data."""

from __future__ import annotations

import dataclasses
import shlex

from bonestrap.bounds import WIDTH, Bounded
from bonestrap.options import UserError, option
from bonestrap.zero_shot import PUBLISHED as SIZES
from bonestrap.zero_shot.splits import PUBLISHED_SPLITS
from experiments.steps import Cell, Plan, Setup, Words

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
