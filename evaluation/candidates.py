"""What an evaluation scores: the model and its floors, on recordings that none of them has seen.

Legend: R recordings, D features or classes.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Recordings
from bonestrap.model import Model
from bonestrap.options import UserError
from bonestrap.protocols.features import extract
from bonestrap.protocols.few_shot import novel_classes
from bonestrap.protocols.floor import RawJoints, calibrate, raw_pipeline
from bonestrap.protocols.linear import NotConverged
from bonestrap.protocols.transfer import correspondence, retarget
from evaluation.models import check_layout, chunks
from evaluation.protocols import Chosen, TestProtocol, TransferProtocol
from evaluation.scoring import Known, Scorer, scorer_of
from shards import splits
from shards.loader import balanced_subset
from shards.reading import Reading, Recorded

CALIBRATED = 256  # recordings whose batch statistics the random encoder gets; all of them change its accuracy by noise

Adapt = Callable[[Recordings], Recordings]


class Split:
    """Training recordings and those that are scored, which are read once and when they are asked for.

    It also keeps the floors' features: several models that are evaluated by one command share them.
    """

    def __init__(self, train: Recorded, held_out: Tensor, scored: Callable[[], Recorded]) -> None:
        self.train = train
        self.held_out = held_out  # (R,) bool: training recordings for choosing
        self._scored = scored
        self.floors: dict[str, Features] = {}

    @functools.cached_property
    def scored(self) -> Recorded:
        return self._scored()


def open_split(reading: Reading, name: str, *, choosing: bool) -> Split:
    """The recordings of a protocol; `choosing` scores held-out training subjects in place of the test ones."""
    protocol = splits.find(reading.manifest.name, name)
    train = reading.open(splits.labelled(protocol.fit if choosing else protocol.train), "cpu")
    views = train.views
    # Where the held-out subjects are scored, the last fifth of the others is left to choose on.
    subjects = np.unique(np.maximum(views.subject, 0))
    last = subjects[-max(1, len(subjects) // 5) :]
    held_out = np.isin(views.subject, last) if choosing else protocol.held_out(views)
    if not held_out.any() or held_out.all():  # nobody is known, or nothing set aside: every fifth performance
        held_out = train.view_performance % 5 == 4
    scored = protocol.held_out if choosing else protocol.test
    return Split(train, torch.from_numpy(held_out), lambda: reading.open(splits.labelled(scored), "cpu"))


def adaptation(chosen: Chosen, folder: str, model: Model, data: Recorded) -> Adapt:
    """How recordings reach the model's joints. UserError where another layout does not fit, or none is expected."""
    if not isinstance(chosen, TransferProtocol):
        check_layout(model, data, folder)
    if model.layout == data.layout:
        return lambda recordings: recordings
    try:
        weights = correspondence(model.layout, data.layout)
    except ValueError as error:
        raise UserError(str(error)) from None
    return functools.partial(retarget, weights=weights, layout=model.layout)


class Features:
    """Features, or logits, of all recordings of a split, (R, D), each computed once."""

    def __init__(self, encoder: nn.Module, pipeline: Pipeline, adapt: Adapt, split: Split) -> None:
        self.encoder, self.pipeline, self.adapt, self.split = encoder, pipeline, adapt, split

    @functools.cached_property
    def train(self) -> Tensor:
        return self.rows(self.split.train)

    @functools.cached_property
    def scored(self) -> Tensor:
        return self.rows(self.split.scored)

    def rows(self, data: Recorded) -> Tensor:
        parts = (self.adapt(data.recordings(chunk)) for chunk in chunks(len(data)))
        return extract(self.encoder, self.pipeline, parts)


class Candidate(NamedTuple):
    """Something that is scored: its rows of the recordings, and who judges them."""

    features: Features
    scorer: Scorer


def labels_of(data: Recorded) -> Tensor:
    return data.labels(range(len(data)))


def candidates(chosen: Chosen, model: Model, split: Split, adapt: Adapt, seed: int) -> dict[str, Candidate]:
    """The model and its floors, an encoder of its kind with random weights and raw joints, ready to be scorer_of."""
    train, stage_name = split.train, model.description.stage
    features = {
        stage_name: Features(model.encoder, model.pipeline, adapt, split),
        "random encoder": random_encoder(model, split, adapt, seed),
        "raw joints": raw_joints(split),
    }
    out: dict[str, Candidate] = {}
    rows, held_out = torch.arange(len(train)), split.held_out
    if isinstance(chosen, TestProtocol):  # the floors get the labels that the model got, and choose on half of them
        own = Features(model, model.pipeline, adapt, split)
        out[stage_name] = Candidate(own, scorer_of("test", lambda logits: logits))
        rows, held_out = labels_of_model(model, labels_of(train))
    y = labels_of(train)[rows]
    for who, one in features.items():
        if who in out:
            continue
        known = Known(
            x=one.train[rows],
            y=y,
            held_out=held_out[rows],
            keys=train.views.key.take(rows.numpy()),
            classes=len(train.manifest.classes),
            raw=who == "raw joints",
            seed=seed,
            novel=novel(model, train),
        )
        try:
            out[who] = Candidate(one, chosen.learn(known))
        except NotConverged as error:
            raise UserError(f"{who}: {error}") from None
    return out


def random_encoder(model: Model, split: Split, adapt: Adapt, seed: int) -> Features:
    """The floor of all models of one kind of encoder: its weights are drawn once a command."""
    about = model.description
    kind = repr((about.encoder, about.clip, about.layout))
    if kind not in split.floors:
        torch.manual_seed(seed)
        encoder = about.build_encoder()
        count = len(split.train)
        some = torch.linspace(0, count - 1, min(count, CALIBRATED)).round().long()
        calibrate(encoder, model.pipeline, [adapt(split.train.recordings(some))])
        split.floors[kind] = Features(encoder, model.pipeline, adapt, split)
    return split.floors[kind]


def raw_joints(split: Split) -> Features:
    """The floor of all models."""
    if "raw joints" not in split.floors:
        layout = split.train.layout
        raw = RawJoints(layout.coordinates), raw_pipeline(layout)
        split.floors["raw joints"] = Features(*raw, lambda recordings: recordings, split)
    return split.floors["raw joints"]


def labels_of_model(model: Model, y: Tensor) -> tuple[Tensor, Tensor]:
    """The recordings whose labels a model has seen, and which of all are left to choose on: every second of them."""
    lineage = model.description.lineage
    rows = torch.from_numpy(balanced_subset(y.numpy(), lineage["labels"], label_seed(lineage)))
    held_out = torch.zeros(len(y), dtype=torch.bool)
    held_out[rows[1::2]] = True
    return rows, held_out


def novel(model: Model, data: Recorded) -> tuple[int, ...]:
    """The classes that the model's pretraining left out; if none, those that it could have left out."""
    return left_out(model, data) or novel_classes(data.manifest.name, len(data.manifest.classes))


def left_out(model: Model, data: Recorded) -> tuple[int, ...]:
    """The classes of the data set of which no recording has been in the model's pretraining."""
    lineage, found = model.description.lineage, []
    while True:
        if "labels" not in lineage:  # a pretraining, which another may have started from
            found.append(set(lineage.get("left_out", ())) if lineage["data"] == data.manifest.name else set())
        if not lineage.get("parents"):
            return tuple(sorted(set.intersection(*found))) if found else ()
        lineage = lineage["parents"][0]["lineage"]


def label_seed(lineage: dict[str, Any]) -> int:
    """The seed that chose the labelled recordings: a student's labels are its teacher's."""
    return lineage["seed"] if "labelled" in lineage else label_seed(lineage["parents"][0]["lineage"])


@torch.no_grad()
def latency(model: Model, data: Recorded, adapt: Adapt, repeats: int = 30) -> float:
    """Milliseconds for one clip of one recording on one CPU thread, float32: the median of `repeats`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        clips = model.pipeline(adapt(data.recordings([0])))
        call = model if model.head is not None else model.encoder
        times = []
        for _ in range(repeats + 5):
            begin = time.perf_counter()
            call(clips)
            times.append(time.perf_counter() - begin)
        return statistics.median(times[5:]) * 1000
    finally:
        torch.set_num_threads(threads)
