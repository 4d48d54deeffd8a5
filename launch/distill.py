#!/usr/bin/env python3
"""Distil a fine-tuned teacher into a compact student on unlabelled recordings (Moliner et al., section 3.5).

The student learns the teacher's predictions on all training recordings; their labels are not read. It may be of another
kind than its teacher. Each student is a run of its own: compare them with launch/compare.py.

Examples:
  python launch/distill.py --teacher runs/teacher --data packed/nw-ucla --encoder.width 0.25 --run runs/student
  python launch/distill.py --teacher runs/teacher --data packed/nw-ucla --method.temperature 2 --run runs/softer
  python launch/distill.py --teacher runs/tuned --data packed/nw-ucla --encoder stgcn --run runs/graph
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.augment import CONSERVATIVE
from bonestrap.bounds import COUNT, DECAY, EPOCHS, RATE, WIDE, Bounds
from bonestrap.config import to_json
from bonestrap.methods import DistillConfig
from bonestrap.optim import SGD, Schedule
from bonestrap.options import UserError, option, required
from evaluation.models import load_model, located, split_of
from launch.cli.parser import Changes, start
from launch.training.options import Options as TrainingOptions
from launch.training.options import changed_optimizer, check_group, own_settings
from launch.training.run import run
from launch.training.training import Training
from launch.training.views import VIEWS, Views

if TYPE_CHECKING:
    from distributed.loop import Summary

ALIASES = {"--protocol": ("--split",)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions):
    """What shapes distillation."""

    teacher: Path = required("model or run directory of a fine-tuned model")
    split: str | None = option(None, "whose training recordings are used; none takes the teacher's")
    encoder: Changes = Changes("settings of the student's encoder that differ from the teacher's, or its kind")
    epochs: float = option(100.0, "passes over the training recordings", EPOCHS)
    batch: int = option(256, "recordings a step", Bounds(2, WIDE))
    group: int | None = option(None, "recordings normalised together; none takes the whole batch", Bounds(2, WIDE))
    optimizer: Changes = Changes("settings of the optimizer that differ from SGD's, or its kind: adamw")
    learning_rate: float | None = option(
        None, "peak, falls along a cosine; none: 0.2, or the other optimizer's own", RATE
    )
    weight_decay: float | None = option(None, "none: 1e-4, or the other optimizer's own", DECAY)
    method: DistillConfig = DistillConfig()
    views: Views = option(
        "conservative",
        "what the clips of teacher and student undergo: the paper's resampling; random frames, rotation and scale, for "
        "small data sets; or noise, scale and mirroring, as in ReL-SAR",
    )

    validate_every: int | None = option(
        None,
        "steps between accuracies on held-out training recordings; none: a tenth of the run; 0: never",
        Bounds(0, COUNT),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_group(self.batch, self.group)
        if self.views != "conservative" and self.method.view != CONSERVATIVE:
            raise ValueError(f"views {self.views} has its own operations: leave out --method.view")

    @property
    def loss(self) -> DistillConfig:
        """The method with the named views."""
        return self.method if self.views == "conservative" else dataclasses.replace(self.method, view=VIEWS[self.views])


def main(options: Options) -> Summary:
    options = dataclasses.replace(options.absolute(), teacher=located(options.teacher))
    teacher = load_model(options.teacher)
    if not teacher.classes:
        raise UserError(f"{options.teacher} has no classifier to distil; fine-tune it first with launch/finetune.py")
    usual = SGD(learning_rate=0.2, weight_decay=1e-4)
    optimizer = changed_optimizer(options.optimizer, usual, options.learning_rate, options.weight_decay)
    training = Training(
        stage="student",
        title="distil",
        split=options.split or split_of(teacher),
        clip=teacher.description.clip,
        encoder=options.encoder.applied(teacher.description.encoder),
        method=options.loss,
        optimizer=optimizer,
        schedule=Schedule(epochs=options.epochs, batch=options.batch, group=options.group or options.batch, warmup=0.0),
        source=options.teacher,
        validate_every=options.validate_every,
    )
    settings = {name: value for name, value in own_settings(options).items() if name not in ("views", "validate_every")}
    rates = {"learning_rate": optimizer.learning_rate, "weight_decay": optimizer.weight_decay}
    return run(training, options, {**settings, **rates, "method": to_json(options.loss)})  # which holds the views


if __name__ == "__main__":
    start(main, Options, aliases=ALIASES)
