#!/usr/bin/env python3
"""Pretrain an encoder without labels: BYOL on pairs of views (document 001), on any number of workers.

A recipe names the settings of a published or measured run; every one of them can be changed. Labels are never read by
training, unless --classes asks for a part of the recordings by class. A kNN and a linear probe on held-out training
subjects say whether anything is being learned: the BYOL loss does not. The same command goes on after a stop, with more
or fewer workers if need be, and gives the same result.

Examples:
  python launch/pretrain.py nw-ucla --data packed/nw-ucla --run runs/pretrained
  python launch/pretrain.py ntu60 --data packed/ntu60 --run runs/ntu --workers 4 --encoder.width 2
  python launch/pretrain.py nw-ucla --data packed/nw-ucla --run runs/tail --classes.imbalance 20
  ray job submit --working-dir . -- python launch/pretrain.py ntu60 --data /mnt/ntu60 --run /mnt/run --workers 8
"""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

from bonestrap.augment import Pipeline
from bonestrap.encoders.stgcn import STGCN
from bonestrap.methods.byol import BYOL
from bonestrap.model import Description, Model
from bonestrap.protocols.floor import calibrate
from distributed.loop import Job, Summary, train
from distributed.strategy import Strategy
from distributed.tracking import Tracking
from launch import stage
from launch.cli import option, start_choice
from launch.compilation import compile_encoders
from launch.recipes import RECIPES, Recipe
from launch.weights import begin_from
from shards import splits
from shards.composition import Composition
from shards.folder import resolved
from shards.loader import Loader
from shards.manifest import Manifest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(stage.Options):
    """How and where a pretraining run is done, and what it starts from."""

    init_from: Path | None = option(
        None, "run or model directory whose weights a new run starts from, at step 0; to go on, repeat the command"
    )
    classes: Composition = Composition()

    def absolute(self) -> Options:
        return dataclasses.replace(super().absolute(), init_from=self.init_from and resolved(self.init_from))


def worker(recipe: Recipe, options: Options, tracking: Tracking | None, strategy: Strategy) -> Summary:
    """One rank's part: data, method, optimizer, loop."""
    split = splits.protocol(options.manifest.name, recipe.protocol)
    select = split.fit if options.hold_out else split.train
    data = options.classes.chosen(options.open(select, strategy.device), options.seed)
    plan = options.plan(batch=recipe.schedule.batch, group=recipe.schedule.group, seed=options.seed)
    loader = Loader(data, plan, unit="performance" if recipe.multiview else "view", pairs=True, labels=False)
    steps = math.ceil(recipe.schedule.epochs * loader.epoch_length)
    warmup = round(recipe.schedule.warmup * loader.epoch_length)

    torch.manual_seed(options.seed)
    plain = Pipeline(data.layout, recipe.clip)
    encoder = STGCN(recipe.encoder, data.layout, data.layout.channels).to(strategy.device)
    calibrate(encoder, plain, (data.recordings(chunk) for chunk in stage.chunks(min(len(data), 1024))))
    method = BYOL(
        encoder,
        recipe.method,
        view1=Pipeline(data.layout, recipe.clip, recipe.view1),
        view2=Pipeline(data.layout, recipe.clip, recipe.view2),
        steps=steps,
    )
    if options.init_from is not None:
        strategy.screen.message(f"Starting from {begin_from(method, options.init_from)}.")
    method = method.to(strategy.device)
    if options.compile:
        compile_encoders(method, strategy.device)
    optimizer = torch.optim.SGD(
        [
            {"params": list(method.online.parameters()), "scale": 1.0},
            {"params": list(method.predictor.parameters()), "scale": recipe.schedule.predictor_rate},
        ],
        lr=recipe.schedule.learning_rate,
        momentum=0.9,
        weight_decay=recipe.schedule.weight_decay,
    )
    summary = train(
        Job(
            method=method,
            loader=loader,
            optimizer=optimizer,
            learning_rate=stage.cosine(recipe.schedule.learning_rate, steps, warmup),
            steps=steps,
            precision=stage.decided(options),
            run=options.run,
            title="pretrain",
            tracking=stage.counted(tracking, encoder),
            probe=stage.probe(encoder, plain, options, split, strategy),
            probe_every=options.probe_every,
            checkpoint_every=options.checkpoint_every,
            checkpoints=options.checkpoints,
            keep=options.keep,
            log_every=options.log_every,
        ),
        strategy,
    )
    description = Description(
        stage="pretrained",
        encoder="stgcn",
        config=dataclasses.asdict(recipe.encoder),
        layout=data.layout,
        clip=recipe.clip,
        classes=(),
        lineage=stage.lineage(data.manifest, recipe.protocol, options, summary, **composed(options, data.manifest)),
    )
    stage.finish(strategy, options, Model(description, encoder, None))
    return summary


def composed(options: Options, manifest: Manifest) -> dict[str, Any]:
    """What the lineage says of a part of the recordings that was chosen by class; nothing of all."""
    if options.classes.whole:
        return {}
    left_out = options.classes.without(manifest.name, len(manifest.classes))
    return {"left_out": list(left_out), "imbalance": options.classes.imbalance}


def main(name: str, options: Options, recipe: Recipe) -> None:
    stage.execute(
        functools.partial(worker, recipe),
        options.absolute(),
        kind="pretrained",
        protocol=recipe.protocol,
        encoder=dataclasses.asdict(recipe.encoder),
        groups=recipe.schedule.batch // recipe.schedule.group,
        result={
            "recipe": name,
            **dataclasses.asdict(recipe),
            **({"init_from": str(options.init_from)} if options.init_from else {}),
            **({} if options.classes.whole else {"classes": dataclasses.asdict(options.classes)}),
        },
        parents=[options.init_from] if options.init_from else [],
    )


if __name__ == "__main__":
    start_choice(main, "recipe", RECIPES, Options)
