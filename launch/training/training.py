"""One training run, whatever the command: what it trains, and one rank's part of it.

    recordings -> loader -> method (encoder, views) -> optimizer -> distributed.loop -> model directory

Nothing here knows a method or an encoder by name: their configurations build them.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bonestrap.augment import ClipConfig
from bonestrap.encoders import EncoderConfig
from bonestrap.methods import MethodConfig, Task
from bonestrap.optim import OptimizerConfig, Schedule, cosine
from bonestrap.options import UserError
from distributed.record import Record
from distributed.tracking import Tracking
from evaluation.models import check_layout, chunks, load_model
from launch.training.options import Options
from shards import splits
from shards.composition import Composition
from shards.manifest import Manifest
from shards.splits import Split
from shards.storage.folder import resolved

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from bonestrap.augment.pipeline import Pipeline
    from bonestrap.model import Model
    from distributed.loop import Summary
    from distributed.probes import Probe
    from distributed.strategy import Strategy
    from shards.reading import Recorded

PROBED = 1000  # recordings a part of a probe
CALIBRATED = 1024  # recordings whose batch statistics a new encoder begins with


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
    init_from: Path | None = None
    probe_every: int | None = None  # steps between probes; None: no probe

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

    from bonestrap.augment.pipeline import Pipeline
    from distributed.loop import Job, train
    from launch.training.compilation import compile_encoders
    from launch.training.weights import start_from
    from shards.loader import Loader

    # ---------------------------------------------------------------- data
    source = None if training.source is None else load_model(training.source)
    split = splits.find(options.manifest.name, training.split)
    data, subset = recordings(training, options, split, strategy.device)
    if source is not None:
        check_layout(source, data, options.data)
    plan = options.plan(batch=training.schedule.batch, group=training.schedule.group, seed=options.seed)
    unit, pairs, labels = training.method.input
    loader = Loader(data, plan, unit=unit, pairs=pairs, labels=labels, subset=subset)
    steps, warmup = training.length(loader.epoch_length)

    # ---------------------------------------------------------------- method
    torch.manual_seed(options.seed)
    plain = Pipeline(data.layout, training.clip)
    encoder = new_encoder(training, source, data, plain, strategy.device)
    classes = data.manifest.classes if labels else source.classes if source else ()
    task = Task(data.layout, training.clip, steps, len(classes), source)
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
    summary = train(
        Job(
            method=method,
            loader=loader,
            optimizer=optimizer,
            learning_rate=cosine(training.optimizer.learning_rate, steps, warmup, training.schedule.floor),
            steps=steps,
            precision="bf16" if options.precision == "bf16" else "fp32",
            graph=options.graph,
            run=options.run,
            record=record,
            title=training.title,
            tracking=with_parameter_count(tracking, method.encoder, method.shipped_head()),
            probe=probe(training, method.encoder, plain, options, split, strategy),
            probe_every=training.probe_every or steps,
            checkpoint_every=options.checkpoint_every,
            checkpoints=options.checkpoints,
            keep=options.keep,
            log_every=options.log_every,
        ),
        strategy,
    )

    # ---------------------------------------------------------------- model
    if strategy.first:
        from bonestrap.model import Description, Model

        head = method.shipped_head()
        description = Description(
            stage=training.stage,
            encoder=training.encoder,
            layout=data.layout,
            clip=training.clip,
            classes=tuple(classes) if head is not None else (),
            lineage=lineage(training, options, data.manifest, summary, source, subset),
        )
        ship(training, options, Model(description, method.encoder, head), data, subset)
    return summary


def recordings(
    training: Training, options: Options, split: Split, device: torch.device
) -> tuple[Recorded, np.ndarray | None]:
    """The training recordings, and which of them have a label that is used (None: all)."""
    from shards.loader import balanced_subset

    select = split.fit if options.hold_out else split.train
    if training.method.input.labels:
        select = splits.labelled(select)
    data = training.composition.chosen(options.open(select, device), options.seed)
    if training.labels is None:
        return data, None
    return data, balanced_subset(data.labels(range(len(data))).cpu().numpy(), training.labels, options.seed)


def new_encoder(training: Training, source: Model | None, data: Recorded, plain: Pipeline, device: torch.device) -> Any:
    """The source's encoder, or one with random weights; one that pretrains begins with the recordings' statistics."""
    if training.continues:
        assert source is not None
        return source.encoder
    encoder = training.encoder.build(data.layout, training.clip)
    if training.source is None:
        from bonestrap.protocols.floor import calibrate

        encoder = encoder.to(device)
        calibrate(encoder, plain, (data.recordings(chunk) for chunk in chunks(min(len(data), CALIBRATED))))
    return encoder


def probe(
    training: Training, encoder: nn.Module, plain: Pipeline, options: Options, split: Split, strategy: Strategy
) -> Probe | None:
    """Measures the encoder on held-out training subjects, on the first rank. None where there are none with labels."""
    parts = [splits.labelled(part) for part in (split.fit, split.held_out)]
    if training.probe_every is None or not strategy.first or not all(options.counts(*parts)):
        return None
    from distributed.probes import Probe, Sample

    found = [options.sample(part, PROBED, strategy.device) for part in parts]
    fit, held_out = (Sample.of(data, limit=PROBED) for data in found)
    say = strategy.screen.message
    return Probe(encoder, plain, layout=found[0].layout, fit=fit, held_out=held_out, say=say)


def with_parameter_count(tracking: Tracking | None, *modules: nn.Module | None) -> Tracking | None:
    """Tracking that knows how many parameters the shipped modules have."""
    if tracking is None:
        return None
    count = sum(p.numel() for module in modules if module is not None for p in module.parameters())
    return dataclasses.replace(tracking, params={**tracking.params, "parameters": count})


def lineage(
    training: Training,
    options: Options,
    manifest: Manifest,
    summary: Summary,
    source: Model | None,
    subset: np.ndarray | None,
) -> dict[str, Any]:
    """What a shipped model says of its making."""
    out: dict[str, Any] = {
        "data": manifest.name,
        "digest": manifest.digest,
        "split": training.split,
        "seed": options.seed,
        "steps": summary.steps,
        "device_hours": round(summary.device_hours, 5),
        "run": options.run.name,
    }
    if not training.composition.whole:
        out["left_out"] = list(training.composition.without(manifest.name, len(manifest.classes)))
        out["imbalance"] = training.composition.imbalance
    if subset is not None:
        out |= {"labels": training.labels, "labelled": len(subset)}
    elif source is not None:
        out["labels"] = source.description.lineage.get("labels")
    if parents := [parent for folder in training.parents if (parent := parent_of(folder, source, training))]:
        out["parents"] = parents
    return out


def parent_of(folder: Path, source: Model | None, training: Training) -> dict[str, Any] | None:
    """How a model refers to the one that it was made from; None of a run that has checkpoints and no model yet."""
    from bonestrap import model as models

    if source is None or folder != training.source:
        try:
            source = models.load(folder)
        except models.ModelError:
            return None
    return {"stage": source.description.stage, "run": resolved(folder).name, "lineage": source.description.lineage}


def ship(training: Training, options: Options, model: Model, data: Recorded, subset: np.ndarray | None) -> None:
    """Write the run's model, what it was trained on and its card. UserError where the card fails; the model stays."""
    from bonestrap import model as models
    from evaluation import run_record, trained
    from reports import card
    from reports.dataset_facts import DatasetFacts

    models.save(options.run / "model", model)
    trained.keep(options.run, data, subset, training.parents)
    try:
        card.ship(run_record.read(options.run), DatasetFacts.of(options, training.split))
    except (ValueError, OSError) as error:
        raise UserError(
            f"{options.run / 'model'} is trained and written, but its card is not: {error}; "
            "once that is fixed, the same command writes the card"
        ) from error
