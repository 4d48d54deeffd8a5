"""Features of an evaluation's recordings: the model's, and those of its floors.

Legend: R recordings, D features or classes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Recordings
from bonestrap.model import Model, ModelError
from bonestrap.options import UserError
from bonestrap.protocols.features import extract
from bonestrap.protocols.floor import RawJoints, calibrate, raw_pipeline
from bonestrap.retarget import Joints, Retarget
from distributed.workers import local_device
from evaluation.models import chunks
from shards import splits, terms
from shards.reading import Reading, Recorded

CALIBRATED = 256  # recordings that set a random encoder's batch statistics; with all of them accuracy differs by noise


class EvaluationData:
    """Training recordings, and those that are scored, which are read once, when they are first asked for.

    It also keeps the floors' features: the models that one command evaluates share them.
    """

    def __init__(self, train: Recorded, held_out: Tensor, scored: Callable[[], Recorded]) -> None:
        self.train = train
        self.held_out = held_out  # (R,) bool: training recordings for choosing
        self._scored = scored
        self.floors: dict[str, Features] = {}

    @functools.cached_property
    def scored(self) -> Recorded:
        return self._scored()


def scored_side(split: splits.Split, *, choosing: bool) -> splits.Predicate:
    """The recordings that are scored: the test ones, or held-out training subjects to choose on."""
    return splits.labelled(split.held_out if choosing else split.test)


def open_data(reading: Reading, name: str, *, choosing: bool) -> EvaluationData:
    """The recordings of a split, of which those of `scored_side` are read when they are first asked for."""
    split = splits.find(reading.manifest.name, name)
    train = reading.open(splits.labelled(split.fit if choosing else split.train), "cpu")
    views = train.views
    # Where the held-out subjects are scored, the last fifth of the others is left to choose on.
    subjects = np.unique(np.maximum(views.subject, 0))
    last = subjects[-max(1, len(subjects) // 5) :]
    held_out = np.isin(views.subject, last) if choosing else split.held_out(views)
    if not held_out.any() or held_out.all():  # subjects unknown, or none set aside: every fifth performance
        held_out = train.view_performance % 5 == 4
    scored = scored_side(split, choosing=choosing)
    return EvaluationData(train, torch.from_numpy(held_out), lambda: reading.open(scored, "cpu"))


def adaptation(model: Model, data: Recorded, declared: Mapping[str, Joints] | None = None) -> Retarget:
    """How recordings reach the joints and the frame rate of a model's training. UserError where they cannot.

    `declared` says by layout what joints are made of, before what the model's own training was told.
    """
    try:
        return model.adaptation(data.layout, terms.rate(data.manifest), declared)
    except ModelError as error:
        raise UserError(str(error)) from None


class Features:
    """Features, or logits, of all recordings, (R, D), each computed once."""

    def __init__(self, encoder: nn.Module, pipeline: Pipeline, adapt: Retarget, data: EvaluationData) -> None:
        self.encoder, self.pipeline, self.adapt, self.data = encoder, pipeline, adapt, data

    @functools.cached_property
    def train(self) -> Tensor:
        return self.rows(self.data.train)

    @functools.cached_property
    def scored(self) -> Tensor:
        return self.rows(self.data.scored)

    def rows(self, data: Recorded) -> Tensor:
        return features_of(self.encoder, self.pipeline, self.adapt, data)


def features_of(encoder: nn.Module, pipeline: Pipeline, adapt: Retarget, data: Recorded) -> Tensor:
    """One row a recording, (R, D), computed on a GPU where there is one; the encoder comes back to the CPU."""
    device = local_device("auto")
    parts = (on(adapt(data.recordings(chunk)), device) for chunk in chunks(len(data)))
    try:
        return extract(encoder.to(device), pipeline, parts)
    finally:
        encoder.to("cpu")


def on(recordings: Recordings, device: torch.device) -> Recordings:
    """The same with frames on a device."""
    return recordings._replace(frames=recordings.frames.to(device))


def random_encoder(model: Model, data: EvaluationData, adapt: Retarget, seed: int) -> Features:
    """A floor: an untrained encoder with these settings, whose weights are drawn once a command."""
    about = model.description
    kind = repr((about.encoder, about.clip, about.layout))
    if kind not in data.floors:
        torch.manual_seed(seed)
        encoder = about.build_encoder()
        count = len(data.train)
        some = torch.linspace(0, count - 1, min(count, CALIBRATED)).round().long()
        calibrate(encoder, model.pipeline, [adapt(data.train.recordings(some))])
        data.floors[kind] = Features(encoder, model.pipeline, adapt, data)
    return data.floors[kind]


def raw_joints(data: EvaluationData) -> Features:
    """A floor: the joints themselves, the same for all models."""
    if "raw joints" not in data.floors:
        layout = data.train.layout
        raw = RawJoints(layout.coordinates), raw_pipeline(layout)
        data.floors["raw joints"] = Features(*raw, Retarget.of(layout, layout), data)
    return data.floors["raw joints"]
