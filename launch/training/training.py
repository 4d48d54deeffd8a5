"""One training run, whatever the command: what it trains, and one rank's part of it.

    recordings -> loader -> method (encoder, views) -> optimizer -> distributed.loop -> model directory

Nothing here knows a method or an encoder by name: their configurations build them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bonestrap.augment import ClipConfig
from bonestrap.encoders import EncoderConfig
from bonestrap.methods import MethodConfig, Task
from bonestrap.optim import OptimizerConfig, Schedule, cosine
from bonestrap.options import UserError
from distributed.record import Record
from distributed.tracking import Tracking
from evaluation.models import load_model
from launch.training.options import Options
from shards.composition import Composition
from shards.pool import Pooled
from shards.storage.folder import resolved

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bonestrap.augment.pipeline import Pipeline
    from bonestrap.model import Model
    from distributed.loop import Summary
    from distributed.probes import Probe
    from distributed.strategy import Strategy
    from launch.training.data import TrainingData


POINTS = 10  # of a validation curve, beside the one before the first step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """What a command trains: picklable, and the same on every worker."""

    stage: str  # of the model that comes of it: pretrained, supervised, teacher, student, scratch
    title: str  # in the progress line
    split: str
    clip: ClipConfig
    encoder: EncoderConfig
    method: MethodConfig
    optimizer: OptimizerConfig
    schedule: Schedule
    steps: int | None = None  # instead of the schedule's epochs and warm-up
    warmup_steps: int = 0
    source: Path | None = None  # the model that a method starts from or learns from
    continues: bool = False  # the encoder is the source's, not a new one
    labels: float | None = None  # fraction of the labels that is used, class-balanced
    composition: Composition = Composition()  # which classes train
    pool: Pooled | None = None  # the folders that are pooled; None: one folder, as it is
    init_from: Path | None = None
    probe_every: int | None = None  # steps between probes; None: no probe
    validate_every: int | None = 0  # steps between points of the validation curve; None: ten points; 0: no curve

    def __post_init__(self) -> None:
        if self.continues and self.source is None:
            raise ValueError("an encoder that is trained further needs its model")

    @property
    def groups(self) -> int:
        """Normalisation groups a step."""
        return self.schedule.batch // self.schedule.group

    @property
    def parents(self) -> list[Path]:
        """The models and runs that this one comes from."""
        learned = self.source is not None and (self.continues or not self.method.input.labels)
        return [folder for folder in (self.source if learned else None, self.init_from) if folder is not None]

    def length(self, steps_an_epoch: float) -> tuple[int, int]:
        """Steps of the run, and of its warm-up."""
        if self.steps is not None:
            return self.steps, self.warmup_steps
        return math.ceil(self.schedule.epochs * steps_an_epoch), round(self.schedule.warmup * steps_an_epoch)


def train_worker(
    training: Training, options: Options, record: Record, tracking: Tracking | None, strategy: Strategy
) -> Summary:
    """One rank's part: data, method, optimizer, loop, model."""
    import torch
    from torch import nn

    from bonestrap.augment.pipeline import Pipeline
    from distributed.loop import Job, train
    from launch.training.compilation import compile_encoders
    from launch.training.data import open_data
    from launch.training.validation import validation
    from launch.training.weights import start_from

    # ---------------------------------------------------------------- data
    source = None if training.source is None else load_model(training.source)
    data = open_data(training, options, source, strategy.device)
    steps, warmup = training.length(data.loader.epoch_length)

    # ---------------------------------------------------------------- method
    torch.manual_seed(options.seed)
    plain = Pipeline(data.layout, training.clip)
    encoder = new_encoder(training, source, data, plain, strategy.device)
    classes = data.manifest.classes if training.method.input.labels else source.classes if source else ()
    task = Task(data.layout, training.clip, steps, len(classes), source, training.schedule.batch, training.groups)
    try:
        method = training.method.build(encoder, task)
    except ValueError as error:
        raise UserError(str(error)) from None
    if training.init_from is not None:
        strategy.screen.message(f"Starting from {start_from(method, training.init_from)}.")
    method = method.to(strategy.device)
    if options.compile:
        compile_encoders(method, strategy.device)
    optimizer = training.optimizer.build(method)

    # ---------------------------------------------------------------- loop
    head = method.shipped_head()
    measure: Callable[[], dict[str, float]] | None = None
    every, measured = steps, nn.ModuleList([method.encoder])
    if training.probe_every is not None:
        measure = probe(training, method.encoder, plain, options, strategy)
        every = training.probe_every
    elif training.validate_every != 0 and source is not None and head is not None:
        classifier = (method.encoder, head)
        measure = validation(training, options, data, source, classifier, plain, strategy)
        every, measured = training.validate_every or max(1, steps // POINTS), nn.ModuleList(classifier)
    summary = train(
        Job(
            method=method,
            loader=data.loader,
            optimizer=optimizer,
            learning_rate=cosine(training.optimizer.learning_rate, steps, warmup, training.schedule.floor),
            steps=steps,
            precision="bf16" if options.precision == "bf16" else "fp32",
            graph=options.graph,
            run=options.run,
            record=record,
            title=training.title,
            tracking=with_parameter_count(tracking, method.encoder, head),
            probe=measure,
            probe_every=every,
            measured=measured,
            checkpoint_every=options.checkpoint_every,
            checkpoints=options.checkpoints,
            keep=options.keep,
            log_every=options.log_every,
        ),
        strategy,
    )

    # ---------------------------------------------------------------- model
    if strategy.first:
        from bonestrap.classifiers import head_name
        from bonestrap.model import Description, Model

        description = Description(
            stage=training.stage,
            encoder=training.encoder,
            layout=data.layout,
            clip=training.clip,
            classes=tuple(classes) if head is not None else (),
            lineage=lineage(training, options, data, summary, source),
            head=head_name(head),
        )
        ship(training, options, Model(description, method.encoder, head), data)
    return summary


def new_encoder(
    training: Training, source: Model | None, data: TrainingData, plain: Pipeline, device: torch.device
) -> Any:
    """The source's encoder, or one with random weights; one that pretrains begins with the recordings' statistics."""
    if training.continues:
        assert source is not None
        return source.encoder if training.encoder == source.description.encoder else changed(training, source)
    try:
        encoder = training.encoder.build(data.layout, training.clip)
    except ValueError as error:
        raise UserError(str(error)) from None
    if training.source is None:
        from bonestrap.protocols.floor import calibrate

        encoder = encoder.to(device)
        calibrate(encoder, plain, data.some())
    return encoder


def changed(training: Training, source: Model) -> Any:
    """The source's encoder with other settings and the same weights. UserError where these do not fit."""
    encoder = training.encoder.build(source.layout, training.clip)
    try:
        encoder.load_state_dict(source.encoder.state_dict())
    except RuntimeError:
        raise UserError(
            f"--encoder changes the shape of the weights of {training.source}; leave that out, or train with --scratch"
        ) from None
    return encoder


def probe(
    training: Training, encoder: nn.Module, plain: Pipeline, options: Options, strategy: Strategy
) -> Probe | None:
    """Measures the encoder on held-out training subjects, on the first rank. None where there are none with labels."""
    if training.probe_every is None or not strategy.first:
        return None
    from distributed.probes import Probe
    from launch.training.data import probed

    found = probed(training, options, strategy.device)
    if found is None:
        return None
    fit, held_out, layout = found
    return Probe(encoder, plain, layout=layout, fit=fit, held_out=held_out, say=strategy.screen.message)


def with_parameter_count(tracking: Tracking | None, *modules: nn.Module | None) -> Tracking | None:
    """Tracking that knows how many parameters the shipped modules have."""
    if tracking is None:
        return None
    count = sum(p.numel() for module in modules if module is not None for p in module.parameters())
    return dataclasses.replace(tracking, params={**tracking.params, "parameters": count})


def lineage(
    training: Training, options: Options, data: TrainingData, summary: Summary, source: Model | None
) -> dict[str, Any]:
    """What a shipped model says of its making."""
    manifest = data.manifest
    out: dict[str, Any] = {
        "data": manifest.name,
        "digest": manifest.digest,
        "split": training.split,
        "seed": options.seed,
        "steps": summary.steps,
        "device_hours": round(summary.device_hours, 5),
        "run": options.run.name,
        **data.lineage,
    }
    if not training.composition.whole:
        out["left_out"] = list(training.composition.without(manifest.name, manifest.classes))
        out["imbalance"] = training.composition.imbalance
    if data.labelled is not None:
        out |= {"labels": training.labels, "labelled": data.labelled}
    elif source is not None:
        out["labels"] = source.description.lineage.get("labels")
    if parents := [parent for folder in training.parents if (parent := parent_of(folder, source, training))]:
        out["parents"] = parents
    return out


def parent_of(folder: Path, source: Model | None, training: Training) -> dict[str, Any] | None:
    """How a model refers to the one that it was made from; None of a run that has checkpoints and no model yet."""
    from bonestrap import serialization
    from bonestrap.model import ModelError

    if source is None or folder != training.source:
        try:
            source = serialization.load(folder)
        except ModelError:
            return None
    return {"stage": source.description.stage, "run": resolved(folder).name, "lineage": source.description.lineage}


def ship(training: Training, options: Options, model: Model, data: TrainingData) -> None:
    """Write the run's model, what it was trained on and its card. UserError where the card fails; the model stays."""
    from bonestrap import serialization
    from evaluation import run_record, trained
    from reports import card
    from reports.data.facts import DatasetFacts

    serialization.save(options.run / "model", model)
    trained.keep(options.run, data.fingerprints, training.parents)
    read = data.fingerprints if training.method.input.labels else data.fingerprints[:0]
    trained.keep(options.run, read, training.parents, trained.LABELLED)
    try:
        facts = None if training.pool else DatasetFacts.of(options, training.split)
        card.ship(run_record.read(options.run), facts)
    except (ValueError, OSError) as error:
        raise UserError(
            f"{options.run / 'model'} is trained and written, but its card is not: {error}; "
            "once that is fixed, the same command writes the card"
        ) from error
