"""What an evaluation scores: the model and its floors, on recordings that none of them has seen."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from bonestrap.model import Model
from bonestrap.options import UserError
from bonestrap.protocols.few_shot import novel_classes
from bonestrap.protocols.linear import NotConverged
from bonestrap.retarget import Retarget
from evaluation.features import EvaluationData, Features, random_encoder, raw_joints
from evaluation.lineage import never_seen
from evaluation.protocols import Chosen, TestProtocol
from evaluation.scoring import Scorer, TrainingSet, scorer_of
from shards.loader import balanced_subset
from shards.reading import Recorded


class Candidate(NamedTuple):
    """Something that is scored: its features of the recordings, and what scores them."""

    features: Features
    scorer: Scorer


def labels_of(data: Recorded) -> Tensor:
    """The class of every recording, (R,) int64."""
    return data.labels(range(len(data)))


def candidates(chosen: Chosen, model: Model, data: EvaluationData, adapt: Retarget, seed: int) -> dict[str, Candidate]:
    """The model and its floors, a random encoder of its kind and raw joints, fitted and ready to score."""
    stage, out = model.description.stage, {}
    features = {
        stage: Features(model.encoder, model.pipeline, adapt, data),
        "random encoder": random_encoder(model, data, adapt, seed),
        "raw joints": raw_joints(data),
    }
    rows, held_out = torch.arange(len(data.train)), data.held_out
    if isinstance(chosen, TestProtocol):  # the floors get the labels that the model got, and choose on half of them
        del features[stage]
        own = Features(model, model.pipeline, adapt, data)
        out[stage] = Candidate(own, scorer_of("test", lambda logits: logits))
        rows, held_out = labels_of_model(model, labels_of(data.train))
    for name, each in features.items():
        seen = training_set(name, each, data.train, rows, held_out, seed, model)
        try:
            out[name] = Candidate(each, chosen.learn(seen))
        except NotConverged as error:
            raise UserError(f"{name}: {error}") from None
    return out


def training_set(
    name: str, features: Features, train: Recorded, rows: Tensor, held_out: Tensor, seed: int, model: Model
) -> TrainingSet:
    """The training recordings in `rows` as a candidate sees them."""
    return TrainingSet(
        x=features.train[rows],
        y=labels_of(train)[rows],
        held_out=held_out[rows],
        keys=train.views.key.take(rows.numpy()),
        classes=len(train.manifest.classes),
        raw=name == "raw joints",
        seed=seed,
        novel=novel(model, train),
        left_out=left_out(model, train),
        names=train.manifest.classes,
        dataset=train.manifest.name,
    )


def labels_of_model(model: Model, y: Tensor) -> tuple[Tensor, Tensor]:
    """The recordings whose labels a model was given, and a mask of those to choose on: every second of them."""
    lineage = model.description.lineage
    rows = torch.from_numpy(balanced_subset(y.numpy(), lineage["labels"], label_seed(lineage)))
    held_out = torch.zeros(len(y), dtype=torch.bool)
    held_out[rows[1::2]] = True
    return rows, held_out


def novel(model: Model, data: Recorded) -> tuple[int, ...]:
    """The classes that the model's pretraining left out; if none, those that it could have left out."""
    return left_out(model, data) or novel_classes(data.manifest.name, len(data.manifest.classes))


def left_out(model: Model, data: Recorded) -> tuple[int, ...]:
    """The classes of the data set that every pretraining in the model's lineage left out."""
    return never_seen(model.description.lineage, data.manifest.name)


def label_seed(lineage: dict[str, Any]) -> int:
    """The seed that chose the labelled recordings: a student's labels are its teacher's."""
    return lineage["seed"] if "labelled" in lineage else label_seed(lineage["parents"][0]["lineage"])
