#!/usr/bin/env python3
"""Evaluate a model on recordings that it has never seen, beside the floors that it has to clear.

Whatever has to be chosen is chosen on held-out training subjects; the test recordings are read once, at the end.
`--on held-out` evaluates on those subjects instead, for choosing settings: train with --hold-out then.

Examples:
  python launch/evaluate.py linear --model runs/pretrained --data shards/nw-ucla
  python launch/evaluate.py knn --model runs/pretrained --data shards/nw-ucla --k 5
  python launch/evaluate.py test --model runs/student --data shards/nw-ucla
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from torch import Tensor, nn

from bonestrap.augment import Pipeline
from bonestrap.model import Model, build_encoder
from bonestrap.protocols.features import extract
from bonestrap.protocols.floor import KERNEL_STRENGTHS, RawJoints, calibrate, kernel_ridge, raw_pipeline
from bonestrap.protocols.knn import knn_predict
from bonestrap.protocols.linear import LOGISTIC_STRENGTHS, logistic, select
from bonestrap.protocols.scores import Scores, score
from distributed import tracking
from launch import stage
from launch.cli import UserError, option, required, start_choice
from shards import splits
from shards.loader import balanced_subset
from shards.reader import Resident


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What every evaluation takes."""

    model: Path = required("model or run directory")
    data: Path = required("folder of packed shards")
    protocol: str | None = option(None, "evaluation protocol; none takes the one that the model was trained under")
    on: Literal["test", "held-out"] = option("test", "held-out: training subjects set aside, for choosing settings")
    seed: int = option(0, "of the random encoder that is the floor")
    json: bool = option(False, "print the result as JSON")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearProtocol:
    """Logistic regression on frozen features; its strength of regularisation is chosen on held-out subjects.

    The raw-joint floor is kernel ridge regression on the joints themselves.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnnProtocol:
    """The majority label of the nearest training features, by cosine similarity."""

    k: int = option(1, "neighbours")

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TestProtocol:
    """The model's own classifier, as fine-tuned, distilled or trained from scratch.

    The raw-joint floor is kernel ridge regression on the joints of the recordings whose labels the model has used.
    """


PROTOCOLS = {"linear": LinearProtocol, "knn": KnnProtocol, "test": TestProtocol}
Chosen = LinearProtocol | KnnProtocol | TestProtocol


class Split(NamedTuple):
    """Training recordings and, behind a function that reads them once, those that are scored."""

    train: Resident
    held_out: Tensor  # (R,) bool: training recordings for choosing
    scored: Callable[[], Resident]


def open_split(options: Options, model: Model) -> Split:
    manifest = stage.dataset(options.data)
    protocol = splits.protocol(manifest.name, options.protocol or stage.protocol_of(model))
    choosing = options.on == "held-out"
    train = Resident.load(options.data, select=protocol.fit if choosing else protocol.train)
    stage.check_layout(model, train, options.data)
    subjects = sorted({train.info(view).subject or 0 for view in range(len(train))})
    # Scoring on the held-out subjects leaves others to choose on: the last fifth of the rest.
    held = set(subjects[-max(1, len(subjects) // 5) :])
    mask = [train.info(v).subject in held if choosing else protocol.held_out(train.info(v)) for v in range(len(train))]
    chosen = protocol.held_out if choosing else protocol.test
    return Split(train, torch.tensor(mask), lambda: Resident.load(options.data, select=chosen))


def labels_of(data: Resident) -> Tensor:
    return data.labels(range(len(data)))


def features(encoder: nn.Module, pipeline: Pipeline, data: Resident) -> Tensor:
    return extract(encoder, pipeline, (data.recordings(chunk) for chunk in stage.chunks(len(data))))


def subjects_for_floors(model: Model, train: Resident, seed: int) -> dict[str, tuple[nn.Module, Pipeline]]:
    """The model's encoder, one of its kind with random weights, and raw joints."""
    description = model.description
    torch.manual_seed(seed)
    untrained = build_encoder(description.encoder, description.config, model.layout)
    calibrate(untrained, model.pipeline, (train.recordings(chunk) for chunk in stage.chunks(len(train))))
    return {
        description.stage: (model.encoder, model.pipeline),
        "random encoder": (untrained, model.pipeline),
        "raw joints": (RawJoints(), raw_pipeline(model.layout)),
    }


def evaluate_features(chosen: LinearProtocol | KnnProtocol, model: Model, split: Split, seed: int) -> dict[str, Scores]:
    """Fit a classifier on every kind of features, then read the scored recordings and score them all."""
    classes = len(split.train.manifest.classes)
    y = labels_of(split.train)
    fitted: dict[str, Callable[[Tensor], Tensor]] = {}
    encoders = subjects_for_floors(model, split.train, seed)
    for name, (encoder, pipeline) in encoders.items():
        x = features(encoder, pipeline, split.train)
        if isinstance(chosen, KnnProtocol):
            fitted[name] = functools.partial(knn_predict, x, y, k=chosen.k)
        elif name == "raw joints":
            fitted[name] = select(kernel_ridge, KERNEL_STRENGTHS, x, y, split.held_out, classes)[0].predict
        else:
            fitted[name] = select(logistic, LOGISTIC_STRENGTHS, x, y, split.held_out, classes)[0].predict
    scored = split.scored()
    truth = labels_of(scored)
    return {
        name: score(fitted[name](features(encoder, pipeline, scored)), truth, classes)
        for name, (encoder, pipeline) in encoders.items()
    }


def evaluate_classifier(model: Model, split: Split) -> dict[str, Scores]:
    """The model's own predictions, and what raw joints do with the same labels."""
    if model.head is None:
        raise UserError(
            f"a {model.description.stage} model has no classifier to test; fine-tune it first, or evaluate linear"
        )
    classes = len(model.classes)
    lineage = model.description.lineage
    y = labels_of(split.train)
    subset = torch.from_numpy(balanced_subset(y.numpy(), lineage["labels"], _label_seed(lineage)))
    raw = features(RawJoints(), raw_pipeline(model.layout), split.train)
    # Few labels leave no held-out subject with every class: half of the labelled recordings choose the strength.
    halves = torch.arange(len(subset)) % 2 == 1
    floor, *_ = select(kernel_ridge, KERNEL_STRENGTHS, raw[subset], y[subset], halves, classes)
    scored = split.scored()
    truth = labels_of(scored)
    classifier = nn.Sequential(_Logits(model))
    predicted = features(classifier, model.pipeline, scored).argmax(1)
    raw_scored = features(RawJoints(), raw_pipeline(model.layout), scored)
    return {
        model.description.stage: score(predicted, truth, classes),
        "raw joints": score(floor.predict(raw_scored), truth, classes),
    }


class _Logits(nn.Module):
    """The model as something that features are extracted from."""

    def __init__(self, model: Model):
        super().__init__()
        self.model = model
        self.forward = model.forward


def _label_seed(lineage: dict[str, object]) -> int:
    """The seed that chose the labelled recordings: a student's labels are its teacher's."""
    parents = lineage.get("parents") or []
    assert isinstance(parents, list)
    if "labelled" in lineage or not parents:
        return int(str(lineage["seed"]))
    return _label_seed(parents[0]["lineage"])


@torch.no_grad()
def latency(model: Model, data: Resident, repeats: int = 30) -> float:
    """Milliseconds for one clip of one recording on one CPU thread, float32: the median of `repeats`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        clips = model.pipeline(data.recordings([0]))
        call = model if model.head is not None else model.encoder
        times = []
        for _ in range(repeats + 5):
            begin = time.perf_counter()
            call(clips)
            times.append(time.perf_counter() - begin)
        return statistics.median(times[5:]) * 1000
    finally:
        torch.set_num_threads(threads)


def main(name: str, options: Options, chosen: Chosen) -> None:
    model = stage.load_model(options.model)
    split = open_split(options, model)
    if isinstance(chosen, TestProtocol):
        results = evaluate_classifier(model, split)
    else:
        results = evaluate_features(chosen, model, split, options.seed)
    milliseconds = latency(model, split.train)
    record(name, options, results, milliseconds)
    if options.json:
        print(json.dumps({key: scores._asdict() for key, scores in results.items()}, indent=2))
        return
    data = split.train.manifest.name
    print(f"{name}, {options.on} recordings of {data}, {options.protocol or stage.protocol_of(model)}")
    for key, scores in results.items():
        print(f"  {key:16} {scores.accuracy:6.1%}   95 %: {scores.low:.1%} to {scores.high:.1%}", end="")
        print(f"   balanced {scores.balanced:.1%}   of {scores.recordings}")
    print(f"  one clip takes {milliseconds:.1f} ms on one CPU thread")


def record(name: str, options: Options, results: dict[str, Scores], milliseconds: float) -> None:
    """Keep the result beside the model, and in the run's journal and MLflow if the model lies in a run."""
    folder = next((p for p in (options.model, options.model.parent) if (p / "run.json").exists()), None)
    if folder is None:
        return
    file = folder / "evaluation.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    key = name if options.on == "test" else f"{name} on held-out"
    known[key] = {who: scores._asdict() for who, scores in results.items()}
    aside = folder / "evaluation.json.partial"
    aside.write_text(json.dumps(known, indent=2) + "\n")
    os.replace(aside, file)
    metric = name if options.on == "test" else f"held_out_{name}"
    values = {f"{metric}/{who.replace(' ', '_')}": scores.accuracy for who, scores in list(results.items())[1:]}
    tracking.add(
        folder, {f"{metric}/accuracy": next(iter(results.values())).accuracy, "latency_ms": milliseconds, **values}
    )
    if tracking.about(folder):
        try:
            tracking.replay(folder)
        except Exception as error:  # an evaluation is not lost because MLflow is away
            print(f"MLflow has not taken the result ({error}); it stands in {file}", file=sys.stderr)


if __name__ == "__main__":
    start_choice(main, "protocol", PROTOCOLS, Options)
