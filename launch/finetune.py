#!/usr/bin/env python3
"""Fine-tune a pretrained encoder with few labels (Moliner et al., section 4.4), or train one from scratch.

The labelled recordings are a class-balanced fraction of the training recordings, the same on every worker. A linear
layer is trained on the encoder, which stays frozen at first and moves more slowly afterwards.
`--scratch` trains the whole network from random weights on the same labels: what pretraining has to beat.

Examples:
  python launch/finetune.py --model runs/pretrained --data packed/nw-ucla --labels 0.1 --run runs/teacher
  python launch/finetune.py --model runs/pretrained --data packed/nw-ucla --labels 0.1 --scratch --run runs/scratch
  python launch/finetune.py --model runs/pretrained --data packed/nw-ucla --scratch --encoder.width 0.25 --run runs/s
  python launch/finetune.py --model runs/mamp --data packed/nw-ucla --run runs/tuned --optimizer adamw \
    --optimizer.layer-decay 0.8 --encoder.drop-path 0.3 --encoder.pool joint --method.head perceptron \
    --encoder-rate 1 --frozen 0
  python launch/finetune.py --model runs/rel-sar --data packed/nw-ucla --run runs/tuned --freeze convolutions.0 \
    --optimizer adamw --views light --encoder-rate 1 --frozen 0
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.bounds import COUNT, DECAY, FRACTION, RATE, WIDE, Bounded, Bounds
from bonestrap.config import to_json
from bonestrap.methods import SupervisedConfig
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
    from bonestrap.model import Model
    from distributed.loop import Summary

# Section 4.4 has 1e-3 and a third: docs/methods.md has what these and others gave.
ENCODER_RATE, FROZEN = 0.1, 0.1
ALIASES = {"--protocol": ("--split",)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(Bounded):
    """The loss on labels."""

    smoothing: float = option(0.0, "label smoothing", Bounds(0, 1, below=True))
    alpha: float = option(0.9, "momentum of the moving batch statistics", Bounds(0, 1, below=True))
    statistics: Literal["batch", "kept"] = option(
        "batch",
        "what a pretrained encoder normalises with: each batch, as from scratch, or the moving statistics of its "
        "pretraining, kept for good, which asks for a much lower --encoder-rate",
    )
    head: Literal["linear", "perceptron"] = option(
        "linear", "classifier: a linear layer, or 2,048 hidden units with batch normalisation and dropout"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions):
    """What shapes fine-tuning. None takes the value that suits the way: a pretrained encoder, or from scratch."""

    model: Path = required(
        "model or run directory, or bonestrap-small, which comes with the library: the pretrained encoder, or with "
        "--scratch the one whose kind is trained"
    )
    labels: float = option(1.0, "fraction of the training recordings whose labels are used, class-balanced", FRACTION)
    split: str | None = option(None, "whose training recordings are used; none takes the pretrained model's")
    scratch: bool = option(False, "random weights instead of the pretrained ones")
    freeze: tuple[str, ...] = option(
        (), "layers of a pretrained encoder that never move, such as blocks.0; a name stands for all that lies under it"
    )
    encoder: Changes = Changes("settings of the encoder that differ from the model's; with --scratch also its kind")
    optimizer: Changes = Changes("settings of the optimizer that differ from SGD's, or its kind: adamw")
    steps: int = option(600, "optimizer steps", Bounds(1, COUNT))
    batch: int = option(32, "recordings a step", Bounds(2, WIDE))
    group: int | None = option(None, "recordings normalised together; none takes the whole batch", Bounds(2, WIDE))
    learning_rate: float | None = option(
        None, "peak, of the classifier and of a network from scratch; none: 0.1, or the other optimizer's own", RATE
    )
    warmup: int | None = option(
        None, "steps of linear warm-up; none: 0 for a pretrained encoder, a twentieth from scratch", Bounds(0, COUNT)
    )
    floor: float = option(0.0, "fraction of the peak learning rate at the end of its cosine", Bounds(0, 1))
    encoder_rate: float | None = option(
        None, "factor of a pretrained encoder's learning rate once it moves; none: 0.1", Bounds(0, 1e3)
    )
    frozen: float | None = option(
        None, "fraction of the steps during which no weight of a pretrained encoder moves; none: 0.1", Bounds(0, 1)
    )
    weight_decay: float | None = option(
        None, "none: 0 for a pretrained encoder, 3e-4 from scratch, or the other optimizer's own", DECAY
    )
    method: Loss = Loss()
    views: Views = option(
        "conservative",
        "what the labelled recordings undergo: the paper's resampling; random frames, rotation and scale, for small "
        "data sets; or noise, scale and mirroring, as in ReL-SAR",
    )

    validate_every: int | None = option(
        None,
        "steps between accuracies on held-out training recordings; none: a tenth of the run; 0: never",
        Bounds(0, COUNT),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_group(self.batch, self.group)
        for name in ("frozen", "encoder_rate"):
            if self.scratch and getattr(self, name) is not None:
                raise ValueError(f"{name} has no effect with --scratch, which starts from random weights: leave it out")
        if self.scratch and self.method.statistics == "kept":
            raise ValueError("--method.statistics kept has no effect with --scratch: there are no statistics yet")
        if self.warmup is not None and self.warmup >= self.steps:
            raise ValueError(f"warmup must be less than the {self.steps} steps, got {self.warmup}")
        if self.freeze and self.scratch:
            raise ValueError("freeze has no effect with --scratch but to keep random weights: leave it out")
        if self.encoder.kind is not None and not self.scratch:
            raise ValueError("encoder can be of another kind with --scratch alone: a pretrained encoder has its own")

    @property
    def pace(self) -> dict[str, float]:
        """How long a pretrained encoder stays frozen, and how fast it moves then."""
        return {
            "frozen": FROZEN if self.frozen is None else self.frozen,
            "encoder_rate": ENCODER_RATE if self.encoder_rate is None else self.encoder_rate,
        }


def check_layers(source: Model, names: tuple[str, ...]) -> None:
    """UserError where the model's encoder has no such layers: before a run directory is made."""
    from bonestrap.methods.supervised.method import freeze

    try:
        freeze(source.encoder, names)
    except ValueError as error:
        raise UserError(f"--{error}") from None


def main(options: Options) -> Summary:
    options = dataclasses.replace(options.absolute(), model=located(options.model))
    source = load_model(options.model)
    check_layers(source, options.freeze)
    encoder = options.encoder.applied(source.description.encoder)
    loss, scratch = options.method, options.scratch
    method = SupervisedConfig(
        smoothing=loss.smoothing,
        alpha=loss.alpha,
        statistics=loss.statistics,
        head=loss.head,
        freeze=options.freeze,
        view=VIEWS[options.views],
    )
    if not scratch:
        pace = options.pace
        method = dataclasses.replace(method, frozen=pace["frozen"], encoder_rate=pace["encoder_rate"])
    usual = SGD(learning_rate=0.1, weight_decay=3e-4 if scratch else 0.0)
    optimizer = changed_optimizer(options.optimizer, usual, options.learning_rate, options.weight_decay)
    training = Training(
        stage="scratch" if scratch else "teacher",
        title="train from scratch" if scratch else "fine-tune",
        split=options.split or split_of(source),
        clip=source.description.clip,
        encoder=encoder,
        method=method,
        optimizer=optimizer,
        schedule=Schedule(batch=options.batch, group=options.group or options.batch, floor=options.floor),
        steps=options.steps,
        warmup_steps=options.warmup if options.warmup is not None else options.steps // 20 if scratch else 0,
        source=options.model,
        continues=not scratch,
        labels=options.labels,
        validate_every=options.validate_every,
    )
    settings = {
        name: value
        for name, value in own_settings(options).items()
        if name not in ("views", "freeze", "validate_every")
    }
    rate = {"learning_rate": optimizer.learning_rate}
    return run(training, options, {**settings, **rate, **options.pace, "method": to_json(method)})  # which holds them


if __name__ == "__main__":
    start(main, Options, aliases=ALIASES)
