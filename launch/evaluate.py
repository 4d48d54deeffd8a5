#!/usr/bin/env python3
"""Evaluate a model on recordings that it has never seen, beside the floors that it has to clear.

Whatever has to be chosen is chosen on held-out training subjects; the test recordings are read once, at the end.
`--on held-out` evaluates on those subjects instead, for choosing settings: train with --hold-out then.

Examples:
  python launch/evaluate.py linear --model runs/pretrained --data packed/nw-ucla
  python launch/evaluate.py knn --model runs/pretrained --data packed/nw-ucla --k 5
  python launch/evaluate.py test --model runs/student --data packed/nw-ucla
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
from typing import Any, Literal, NamedTuple

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
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
from launch import report, stage
from launch.cli import UserError, option, required, start_choice
from launch.reading import Reading, Recorded
from shards import splits
from shards.loader import balanced_subset


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Reading):
    """What every evaluation takes."""

    model: Path = required("model or run directory")
    protocol: str | None = option(None, "evaluation protocol; none takes the one that the model was trained under")
    on: Literal["test", "held-out"] = option("test", "held-out: training subjects set aside, for choosing settings")
    seed: int = option(0, "of the random encoder that is the floor")
    pictures: Path | None = option(None, "folder for a confusion matrix and a map of the features")
    report: Path | None = option(None, "file for a page about the model, which launch/report.py explains")
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

    Beside it, on the same labels: logistic regression on a random encoder, kernel ridge regression on raw joints.
    """


PROTOCOLS = {"linear": LinearProtocol, "knn": KnnProtocol, "test": TestProtocol}
Chosen = LinearProtocol | KnnProtocol | TestProtocol


class Split(NamedTuple):
    """Training recordings and, behind a function that reads them once, those that are scored."""

    train: Recorded
    held_out: Tensor  # (R,) bool: training recordings for choosing
    scored: Callable[[], Recorded]


def open_split(options: Options, model: Model) -> Split:
    """The recordings of the protocol; those that will be scored are not read yet."""
    manifest = options.manifest
    protocol = splits.protocol(manifest.name, options.protocol or stage.protocol_of(model))
    choosing = options.on == "held-out"
    train = options.open(splits.labelled(protocol.fit if choosing else protocol.train), "cpu")
    stage.check_layout(model, train, options.data)
    views = train.views
    # Where the held-out subjects are scored, the last fifth of the others is left to choose on.
    subjects = np.unique(np.maximum(views.subject, 0))
    last = subjects[-max(1, len(subjects) // 5) :]
    held_out = np.isin(views.subject, last) if choosing else protocol.held_out(views)
    if not held_out.any() or held_out.all():  # nobody is known, or nothing set aside: every fifth performance
        held_out = train.view_performance % 5 == 4
    scored = protocol.held_out if choosing else protocol.test
    return Split(train, torch.from_numpy(held_out), lambda: options.open(splits.labelled(scored), "cpu"))


def features(encoder: nn.Module, pipeline: Pipeline, data: Recorded) -> Tensor:
    """Features, or logits, of all recordings, (R, D)."""
    return extract(encoder, pipeline, (data.recordings(chunk) for chunk in stage.chunks(len(data))))


def labels_of(data: Recorded) -> Tensor:
    return data.labels(range(len(data)))


class Contender(NamedTuple):
    """Something that is scored: how recordings become rows, and how rows become classes."""

    encoder: nn.Module
    pipeline: Pipeline
    predict: Callable[[Tensor], Tensor]


def contenders(chosen: Chosen, model: Model, split: Split, seed: int) -> dict[str, Contender]:
    """The model and its floors, an encoder of its kind with random weights and raw joints, ready to be scored."""
    train, held_out = split.train, split.held_out
    description = model.description
    y = labels_of(train)
    rows = torch.arange(len(y))
    if isinstance(chosen, TestProtocol):  # the floors get the labels that the model got, and choose on half of them
        lineage = description.lineage
        rows = torch.from_numpy(balanced_subset(y.numpy(), lineage["labels"], label_seed(lineage)))
        held_out = torch.zeros(len(y), dtype=torch.bool)
        held_out[rows[1::2]] = True
    torch.manual_seed(seed)
    untrained = build_encoder(description.encoder, description.config, model.layout)
    calibrate(untrained, model.pipeline, (train.recordings(chunk) for chunk in stage.chunks(len(train))))
    out = {}
    for name, encoder, pipeline in (
        (description.stage, model.encoder, model.pipeline),
        ("random encoder", untrained, model.pipeline),
        ("raw joints", RawJoints(model.layout.coordinates), raw_pipeline(model.layout)),
    ):
        if isinstance(chosen, TestProtocol) and name == description.stage:
            out[name] = Contender(model, pipeline, lambda logits: logits.argmax(1))
            continue
        x = features(encoder, pipeline, train)[rows]
        predict = classifier(chosen, x, y[rows], held_out[rows], len(train.manifest.classes), raw=name == "raw joints")
        out[name] = Contender(encoder, pipeline, predict)
    return out


def classifier(
    chosen: Chosen, x: Tensor, y: Tensor, held_out: Tensor, classes: int, *, raw: bool
) -> Callable[[Tensor], Tensor]:
    """Fit what the protocol puts on features, or on raw joints."""
    if isinstance(chosen, KnnProtocol):
        return functools.partial(knn_predict, x, y, k=chosen.k)
    if raw:
        return select(kernel_ridge, KERNEL_STRENGTHS, x, y, held_out, classes)[0].predict
    return select(logistic, LOGISTIC_STRENGTHS, x, y, held_out, classes)[0].predict


def label_seed(lineage: dict[str, Any]) -> int:
    """The seed that chose the labelled recordings: a student's labels are its teacher's."""
    return lineage["seed"] if "labelled" in lineage else label_seed(lineage["parents"][0]["lineage"])


@torch.no_grad()
def latency(model: Model, data: Recorded, repeats: int = 30) -> float:
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
    options, _ = options.settled(workers=1, cuda=False)
    model = stage.load_model(options.model)
    if isinstance(chosen, TestProtocol) and model.head is None:
        raise UserError(
            f"{options.model} is a {model.description.stage} model without a classifier; "
            "fine-tune it first, or evaluate linear"
        )
    split = open_split(options, model)
    ready = contenders(chosen, model, split, options.seed)
    milliseconds = latency(model, split.train)
    scored = split.scored()  # read once, after everything has been chosen
    truth, classes = labels_of(scored), scored.manifest.classes
    rows = {who: features(one.encoder, one.pipeline, scored) for who, one in ready.items()}
    predicted = {who: one.predict(rows[who]) for who, one in ready.items()}
    results = {who: score(predicted[who], truth, len(classes)) for who in ready}
    record(name, options, results, milliseconds)
    if options.on == "test":
        report.conclude(name, options, options.model, (predicted[next(iter(ready))], truth), options.report)
    if options.pictures:
        first = next(iter(ready))
        draw(name, options, classes, rows[first], predicted[first], truth)
    if options.json:
        print(json.dumps({who: scores._asdict() for who, scores in results.items()}, indent=2))
        return
    print(f"{name}, {options.on} recordings of {scored.manifest.name}, {options.protocol or stage.protocol_of(model)}")
    for who, scores in results.items():
        print(f"  {who:16} {scores.accuracy:6.1%}   95 %: {scores.low:.1%} to {scores.high:.1%}", end="")
        print(f"   balanced {scores.balanced:.1%}   of {scores.recordings}")
    print(f"  one clip takes {milliseconds:.1f} ms on one CPU thread")


def draw(name: str, options: Options, classes: tuple[str, ...], rows: Tensor, predicted: Tensor, truth: Tensor) -> None:
    """A map of the features, or the confusion matrix of a classifier, into the folder of pictures."""
    from launch import pictures

    assert options.pictures is not None
    options.pictures.mkdir(parents=True, exist_ok=True)
    title = f"{options.model.name}: {options.on} recordings, {(predicted == truth).float().mean():.1%} right ({name})"
    file = options.pictures / f"{options.model.name}-{name}.png"
    pictures.confusion_matrix(file, truth.numpy(), predicted.numpy(), classes, title=title)
    if name != "test":  # the rows of a test are logits
        file = options.pictures / f"{options.model.name}-embedding.png"
        pictures.embedding_map(
            file, rows.numpy(), truth.numpy(), classes, title=f"{options.model.name}: features (t-SNE)"
        )


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
