#!/usr/bin/env python3
"""Distil a fine-tuned teacher into a compact student on unlabelled recordings (document 001, section 3.5).

The student learns the teacher's predictions on all training recordings; their labels are not read. Several students of
different widths are several runs: compare them with launch/compare.py.

Examples:
  python launch/distill.py --teacher runs/teacher --data packed/nw-ucla --encoder.width 0.25 --run runs/student
  python launch/distill.py --teacher runs/teacher --data packed/nw-ucla --method.temperature 2 --run runs/softer
"""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

from bonestrap.augment import CONSERVATIVE, Pipeline
from bonestrap.bounds import DECAY, EPOCHS, RATE, WIDE, Bounds
from bonestrap.methods.distill import Distill, DistillConfig
from bonestrap.methods.supervised import Classifier
from bonestrap.model import Model, build_encoder
from distributed.loop import Job, Summary, train
from distributed.strategy import Strategy
from distributed.tracking import Tracking
from launch import stage
from launch.cli import UserError, option, required, start
from launch.compilation import compile_encoders
from shards import splits
from shards.folder import resolved
from shards.loader import Loader


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(stage.Options):
    """What shapes distillation."""

    teacher: Path = required("model or run directory of a fine-tuned model")
    protocol: str | None = option(None, "whose training recordings are used; none takes the teacher's")
    encoder: stage.EncoderChange = stage.EncoderChange()
    epochs: float = option(100.0, "passes over the training recordings", EPOCHS)
    batch: int = option(256, "recordings a step", Bounds(2, WIDE))
    group: int | None = option(None, "recordings normalised together; none takes the whole batch", Bounds(2, WIDE))
    learning_rate: float = option(0.2, "peak, falls along a cosine", RATE)
    weight_decay: float = option(1e-4, "L2 penalty", DECAY)
    method: DistillConfig = DistillConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        stage.check_group(self.batch, self.group)


def worker(options: Options, tracking: Tracking | None, strategy: Strategy) -> Summary:
    """One rank's part: data, method, optimizer, loop."""
    teacher = stage.load_model(options.teacher)
    protocol = options.protocol or stage.protocol_of(teacher)
    split = splits.protocol(options.manifest.name, protocol)
    data = options.open(split.fit if options.hold_out else split.train, strategy.device)
    stage.check_layout(teacher, data, options.data)
    plan = options.plan(batch=options.batch, group=options.group or options.batch, seed=options.seed)
    loader = Loader(data, plan, unit="view", pairs=False, labels=False)
    steps = math.ceil(options.epochs * loader.epoch_length)

    torch.manual_seed(options.seed)
    description = teacher.description
    config = options.encoder.applied(description.config)
    student = Classifier.new(build_encoder(description.encoder, config, data.layout), len(teacher.classes))
    assert teacher.head is not None
    view = Pipeline(data.layout, description.clip, CONSERVATIVE)
    method = Distill(
        Classifier(teacher.encoder, teacher.head), student, options.method, teacher_view=view, view=view
    ).to(strategy.device)
    if options.compile:
        compile_encoders(method, strategy.device)
    optimizer = torch.optim.SGD(
        student.parameters(), lr=options.learning_rate, momentum=0.9, weight_decay=options.weight_decay
    )
    summary = train(
        Job(
            method=method,
            loader=loader,
            optimizer=optimizer,
            learning_rate=stage.cosine(options.learning_rate, steps),
            steps=steps,
            precision=stage.decided(options),
            run=options.run,
            title="distil",
            tracking=stage.counted(tracking, student),
            checkpoint_every=options.checkpoint_every,
            checkpoints=options.checkpoints,
            keep=options.keep,
            log_every=options.log_every,
        ),
        strategy,
    )
    lineage = stage.lineage(
        data.manifest,
        protocol,
        options,
        summary,
        labels=description.lineage.get("labels"),
        parents=[stage.parent(teacher, options.teacher)],
    )
    made = dataclasses.replace(description, stage="student", config=config, lineage=lineage)
    stage.finish(strategy, options, Model(made, student.encoder, student.head))
    return summary


def main(options: Options) -> None:
    options = dataclasses.replace(options.absolute(), teacher=resolved(options.teacher))
    teacher = stage.load_model(options.teacher)
    if not teacher.classes:
        raise UserError(f"{options.teacher} has no classifier to distil; fine-tune it first with launch/finetune.py")
    stage.execute(
        worker,
        options,
        kind="student",
        protocol=options.protocol or stage.protocol_of(teacher),
        encoder=options.encoder.applied(teacher.description.config),
        result=stage.shaping(options),
        groups=options.batch // (options.group or options.batch),
        parents=[options.teacher],
        labels=teacher.description.lineage.get("labels"),
    )


if __name__ == "__main__":
    start(main, Options)
