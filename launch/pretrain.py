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
  ray job submit --working-dir . -- python launch/pretrain.py ntu60 --data /mnt/ntu60 --run /mnt/run --workers 8
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.config import to_json
from bonestrap.options import UserError, option
from launch.cli.parser import start_choice
from launch.recipes import ALIASES, RECIPES, Recipe
from launch.training.options import EVERY
from launch.training.options import Options as TrainingOptions
from launch.training.run import run
from launch.training.training import Training
from shards.composition import Composition
from shards.storage.folder import resolved


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions):
    """How and where a pretraining run is done, and what it starts from."""

    init_from: Path | None = option(
        None, "run or model directory whose weights a new run starts from, at step 0; to resume, repeat the command"
    )
    classes: Composition = Composition()
    probe_every: int = option(500, "steps between probes of the encoder on held-out training subjects", EVERY)

    def absolute(self) -> Options:
        return dataclasses.replace(super().absolute(), init_from=self.init_from and resolved(self.init_from))


def main(name: str, options: Options, recipe: Recipe) -> None:
    options = options.absolute()
    if recipe.method.tunes and options.init_from is None:
        raise UserError(
            f"{recipe.method.label} tunes a trained encoder: name its run with --init-from, as one of --method mamp"
        )
    training = Training(
        stage="supervised" if recipe.method.input.labels else "pretrained",
        title="pretrain",
        split=recipe.split,
        clip=recipe.clip,
        encoder=recipe.encoder,
        method=recipe.method,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        labels=1.0 if recipe.method.input.labels else None,
        composition=options.classes,
        init_from=options.init_from,
        probe_every=options.probe_every,
    )
    settings = {
        "recipe": name,
        **to_json(recipe),
        **({"init_from": str(options.init_from)} if options.init_from else {}),
        **({} if options.classes.whole else {"classes": to_json(options.classes)}),
    }
    summary = run(training, options, settings)
    if said := against_raw_joints(summary.metrics):
        print(said)


def against_raw_joints(metrics: Mapping[str, float]) -> str:
    """How the last linear probe stands beside raw joints; nothing where nothing was probed."""
    if not {"linear", "raw_joints"} <= metrics.keys():
        return ""
    linear, raw = metrics["linear"], metrics["raw_joints"]
    said = f"linear probe {linear:.1%}, raw joints {raw:.1%}, on held-out subjects with all labels"
    return said if linear > raw else f"{said}: pretraining has not paid with so many labels; measure it with few"


if __name__ == "__main__":
    start_choice(main, "recipe", RECIPES, Options, aliases=ALIASES)
