#!/usr/bin/env python3
"""Pretrain an encoder without labels, with BYOL on pairs of views (Moliner et al., 2022) or another method.

A recipe holds the settings of a published or measured run; every one of them is an option. Training reads no labels,
unless the method is supervised or --classes selects recordings by class. A kNN and a linear probe on held-out training
subjects show whether the encoder learns; the BYOL loss does not. The same command resumes after an interruption, with
more or fewer workers if need be, and gives the same result.

Examples:
  python launch/pretrain.py nw-ucla --data packed/nw-ucla --run runs/pretrained
  python launch/pretrain.py ntu60 --data packed/ntu60 --run runs/ntu --workers 4 --encoder.width 2
  python launch/pretrain.py nw-ucla --data packed/nw-ucla --run runs/mild --method.view1.shear.limit 0.5
  python launch/pretrain.py supervised --data packed/nw-ucla --run runs/ceiling
  python launch/pretrain.py nw-ucla --data packed/nw-ucla --run runs/tail --classes.imbalance 20
  python launch/pretrain.py nw-ucla --data packed/nw-ucla packed/ui-prmd --pool.splits cross-view all --run runs/pool
  ray job submit --working-dir . -- python launch/pretrain.py ntu60 --data /mnt/ntu60 --run /mnt/run --workers 8
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.config import to_json
from bonestrap.options import UserError, option, required
from evaluation.models import located
from launch.cli.parser import start_choice
from launch.recipes import ALIASES, RECIPES, Recipe
from launch.training.options import EVERY
from launch.training.options import Options as TrainingOptions
from launch.training.run import run
from launch.training.training import Training
from shards.composition import Composition
from shards.pool import Pool, Pooled, pooled

if TYPE_CHECKING:
    from distributed.loop import Summary


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions):
    """How and where a pretraining run is done, and what it starts from."""

    data: tuple[str, ...] = required(  # type: ignore[assignment]  # `folders` gives each the options of one
        "folder of packed shards, or its address: s3://bucket/shards, https://host/shards; several are pooled"
    )
    pool: Pool = Pool()
    init_from: Path | None = option(
        None, "run or model directory whose weights a new run starts from, at step 0; to resume, repeat the command"
    )
    classes: Composition = Composition()
    probe_every: int = option(500, "steps between probes of the encoder on held-out training subjects", EVERY)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data:
            raise ValueError("data must name at least one folder of packed shards")

    def folders(self) -> tuple[TrainingOptions, ...]:
        """The options of a training on each folder, with paths that mean the same in a worker's directory."""
        names = [field.name for field in dataclasses.fields(TrainingOptions) if field.name != "data"]
        common = {name: getattr(self, name) for name in names}
        return tuple(TrainingOptions(data=folder, **common).absolute() for folder in self.data)

    def pooled(self, folders: Sequence[TrainingOptions], recipe: Recipe) -> Pooled | None:
        """The folders as one training set; None of one folder that is taken as it is."""
        if len(folders) == 1 and self.pool == Pool():
            return None
        if recipe.method.input.labels:
            raise UserError("a method with labels takes one folder, as each has its own classes: leave out the others")
        if not self.classes.whole:
            raise UserError("--classes chooses among the classes of one folder: leave it out, or pool none")
        return pooled(self.pool, folders, recipe.split)


def main(name: str, options: Options, recipe: Recipe) -> Summary:
    if recipe.method.tunes and options.init_from is None:
        raise UserError(
            f"{recipe.method.label} tunes a trained encoder: name its run with --init-from, as one of --method mamp"
        )
    folders = options.folders()
    pool = options.pooled(folders, recipe)
    init_from = options.init_from and located(options.init_from)
    training = Training(
        stage="supervised" if recipe.method.input.labels else "pretrained",
        title="pretrain",
        split=pool.corpora[0].split if pool else recipe.split,
        clip=recipe.clip,
        encoder=recipe.encoder,
        method=recipe.method,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        labels=1.0 if recipe.method.input.labels else None,
        composition=options.classes,
        init_from=init_from,
        pool=pool,
        probe_every=options.probe_every,
    )
    settings = {
        "recipe": name,
        **to_json(recipe),
        **({"init_from": str(init_from)} if init_from else {}),
        **({} if options.classes.whole else {"classes": to_json(options.classes)}),
        **({} if pool is None else {"pool": pool.about}),
    }
    summary = run(training, folders[0], settings)
    if said := against_raw_joints(summary.metrics):
        print(said)
    return summary


def against_raw_joints(metrics: Mapping[str, float]) -> str:
    """How the last linear probe stands beside raw joints; nothing where nothing was probed."""
    if not {"linear", "raw_joints"} <= metrics.keys():
        return ""
    linear, raw = metrics["linear"], metrics["raw_joints"]
    said = f"linear probe {linear:.1%}, raw joints {raw:.1%}, on held-out subjects with all labels"
    return said if linear > raw else f"{said}: pretraining has not paid with so many labels; measure it with few"


if __name__ == "__main__":
    start_choice(main, "recipe", RECIPES, Options, aliases=ALIASES)
