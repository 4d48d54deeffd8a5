#!/usr/bin/env python3
"""Fine-tune a pretrained encoder with few labels (document 001, section 4.4), or train one from scratch.

The labelled recordings are a class-balanced share of the training recordings, the same on every worker. A linear
layer is trained on the encoder, which stays frozen at first and moves slowly afterwards.
`--scratch` trains the whole network from random weights on the same labels: what pretraining has to beat.

Examples:
  python launch/finetune.py --model runs/pretrained --data packed/nw-ucla --labels 0.1 --run runs/teacher
  python launch/finetune.py --model runs/pretrained --data packed/nw-ucla --labels 0.1 --scratch --run runs/scratch
  python launch/finetune.py --model runs/pretrained --data packed/nw-ucla --scratch --encoder.width 0.25 --run runs/s
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

from bonestrap.augment import CONSERVATIVE, Pipeline
from bonestrap.bounds import COUNT, DECAY, RATE, SHARE, WIDE, Bounds
from bonestrap.methods.supervised import Classifier, Supervised, SupervisedConfig
from bonestrap.model import Model, build_encoder
from distributed.loop import Job, Summary, train
from distributed.strategy import Strategy
from distributed.tracking import Tracking
from launch import stage
from launch.cli import option, required, start
from launch.compilation import compile_encoders
from shards import splits
from shards.folder import resolved
from shards.loader import Loader, balanced_subset


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(stage.Options):
    """What shapes fine-tuning. None takes the value that suits the way: a pretrained encoder, or from scratch."""

    model: Path = required(
        "model or run directory: the pretrained encoder, or with --scratch the one to imitate in kind"
    )
    labels: float = option(1.0, "share of the training recordings whose labels are used, class-balanced", SHARE)
    protocol: str | None = option(None, "evaluation protocol; none takes the pretrained model's")
    scratch: bool = option(False, "random weights instead of the pretrained ones")
    encoder: stage.EncoderChange = stage.EncoderChange()
    steps: int = option(600, "optimizer steps", Bounds(1, COUNT))
    batch: int = option(32, "recordings a step", Bounds(2, WIDE))
    group: int | None = option(
        None, "recordings normalised together, from scratch; none takes the whole batch", Bounds(2, WIDE)
    )
    learning_rate: float = option(
        0.1, "peak, of the linear layer and of a network from scratch; falls along a cosine", RATE
    )
    # Section 4.4 has 1e-3 and a third: docs/methods.md has what these and others gave.
    encoder_rate: float = option(
        0.01, "the pretrained encoder's share of the learning rate once it moves", Bounds(0, 1e3)
    )
    frozen: float = option(0.1, "share of the steps during which the pretrained encoder is frozen", Bounds(0, 1))
    weight_decay: float | None = option(None, "L2 penalty; none: 0 for a pretrained encoder, 3e-4 from scratch", DECAY)
    method: SupervisedConfig = SupervisedConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        stage.check_group(self.batch, self.group)
        if self.encoder.width is not None and not self.scratch:
            raise ValueError("encoder.width needs --scratch: a pretrained encoder has its width")


def worker(options: Options, tracking: Tracking | None, strategy: Strategy) -> Summary:
    """One rank's part: data, method, optimizer, loop."""
    source = stage.load_model(options.model)
    protocol = options.protocol or stage.protocol_of(source)
    split = splits.protocol(options.manifest.name, protocol)
    select = splits.labelled(split.fit if options.hold_out else split.train)
    data = options.open(select, strategy.device)
    stage.check_layout(source, data, options.data)
    classes = data.manifest.classes
    subset = balanced_subset(data.labels(range(len(data))).cpu().numpy(), options.labels, options.seed)
    plan = options.plan(batch=options.batch, group=options.group or options.batch, seed=options.seed)
    loader = Loader(data, plan, unit="view", pairs=False, labels=True, subset=subset)

    torch.manual_seed(options.seed)
    description = source.description
    config = options.encoder.applied(description.config)
    encoder = build_encoder(description.encoder, config, data.layout) if options.scratch else source.encoder
    classifier = Classifier.new(encoder, len(classes))
    method = Supervised(
        classifier,
        options.method,
        view=Pipeline(data.layout, description.clip, CONSERVATIVE),
        pretrained=not options.scratch,
        frozen=0 if options.scratch else round(options.frozen * options.steps),
    ).to(strategy.device)
    if options.compile:
        compile_encoders(method, strategy.device)
    decay = options.weight_decay if options.weight_decay is not None else (3e-4 if options.scratch else 0.0)
    optimizer = torch.optim.SGD(
        [
            {"params": list(classifier.head.parameters()), "scale": 1.0},
            {"params": list(encoder.parameters()), "scale": 1.0 if options.scratch else options.encoder_rate},
        ],
        lr=options.learning_rate,
        momentum=0.9,
        weight_decay=decay,
    )
    summary = train(
        Job(
            method=method,
            loader=loader,
            optimizer=optimizer,
            learning_rate=stage.cosine(
                options.learning_rate, options.steps, options.steps // 20 if options.scratch else 0
            ),
            steps=options.steps,
            precision=stage.decided(options),
            run=options.run,
            title="train from scratch" if options.scratch else "fine-tune",
            tracking=stage.counted(tracking, classifier),
            checkpoint_every=options.checkpoint_every,
            checkpoints=options.checkpoints,
            keep=options.keep,
            log_every=options.log_every,
        ),
        strategy,
    )
    lineage = stage.lineage(data.manifest, protocol, options, summary, labels=options.labels, labelled=len(subset))
    if not options.scratch:
        lineage["parents"] = [stage.parent(source, options.model)]
    made = dataclasses.replace(description, stage=kind(options), config=config, classes=classes, lineage=lineage)
    stage.finish(strategy, options, Model(made, encoder, classifier.head))
    return summary


def kind(options: Options) -> str:
    return "scratch" if options.scratch else "teacher"


def main(options: Options) -> None:
    options = dataclasses.replace(options.absolute(), model=resolved(options.model))
    source = stage.load_model(options.model)
    stage.execute(
        worker,
        options,
        kind=kind(options),
        protocol=options.protocol or stage.protocol_of(source),
        encoder=options.encoder.applied(source.description.config),
        result=stage.shaping(options),
        groups=options.batch // (options.group or options.batch),
        parents=[] if options.scratch else [options.model],
        labels=options.labels,
    )


if __name__ == "__main__":
    start(main, Options)
