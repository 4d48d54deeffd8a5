#!/usr/bin/env python3
"""Evaluate a model on recordings that it has never seen, beside the floors that it has to clear.

Whatever has to be chosen is chosen on held-out training subjects, or on half of the labels that a protocol allows; the
test recordings are read once, at the end. `--on held-out` evaluates on those subjects instead, for choosing settings:
train with --hold-out then. docs/protocols.md says what each protocol does.

Examples:
  python launch/evaluate.py linear --model runs/pretrained --data packed/nw-ucla --classes
  python launch/evaluate.py linear --model runs/pretrained --data packed/nw-ucla --fit sgd
  python launch/evaluate.py knn --model runs/pretrained --data packed/nw-ucla --k 20 --temperature 0.07
  python launch/evaluate.py semi-supervised --model runs/pretrained --data packed/nw-ucla --fractions 0.05 0.1
  python launch/evaluate.py few-shot --model runs/pretrained --data packed/nw-ucla --shots 5
  python launch/evaluate.py retrieval --model runs/pretrained --data packed/nw-ucla --gallery test
  python launch/evaluate.py transfer --model runs/pretrained --data packed/ntu60 --protocol cross-subject
  python launch/evaluate.py long-tailed --model runs/pretrained --data packed/nw-ucla --imbalance 20
  python launch/evaluate.py test --model runs/student --data packed/nw-ucla
"""

from __future__ import annotations

import dataclasses
import functools
import json
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
from bonestrap.bounds import SEED, Bounds
from bonestrap.clips import Recordings
from bonestrap.model import Model, build_encoder
from bonestrap.protocols.features import extract
from bonestrap.protocols.few_shot import novel_classes
from bonestrap.protocols.floor import RawJoints, calibrate, raw_pipeline
from bonestrap.protocols.transfer import correspondence, retarget
from launch import report, results, stage
from launch.cli import UserError, option, required, start_choice
from launch.judging import Judge, Known, Scored, judged
from launch.protocols import PROTOCOLS, Chosen, TestProtocol, TransferProtocol
from launch.reading import Reading, Recorded
from shards import splits
from shards.loader import balanced_subset

Adapt = Callable[[Recordings], Recordings]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Reading):
    """What every evaluation takes."""

    model: Path = required("model or run directory")
    protocol: str | None = option(None, "evaluation protocol; none takes the one that the model was trained under")
    on: Literal["test", "held-out"] = option("test", "held-out: training subjects set aside, for choosing settings")
    seed: int = option(
        0, "of the random encoder that is the floor, of SGD's order and of few-shot exemplars", Bounds(0, SEED)
    )
    classes: bool = option(False, "print recall and precision of every class")
    pictures: Path | None = option(None, "folder for a confusion matrix and a map of the features")
    report: Path | None = option(None, "file for a page about the model, which launch/report.py explains")
    json: bool = option(False, "print the result as JSON")


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
    views = train.views
    # Where the held-out subjects are scored, the last fifth of the others is left to choose on.
    subjects = np.unique(np.maximum(views.subject, 0))
    last = subjects[-max(1, len(subjects) // 5) :]
    held_out = np.isin(views.subject, last) if choosing else protocol.held_out(views)
    if not held_out.any() or held_out.all():  # nobody is known, or nothing set aside: every fifth performance
        held_out = train.view_performance % 5 == 4
    scored = protocol.held_out if choosing else protocol.test
    return Split(train, torch.from_numpy(held_out), lambda: options.open(splits.labelled(scored), "cpu"))


def adaptation(chosen: Chosen, options: Options, model: Model, data: Recorded) -> Adapt:
    """How recordings reach the model's joints. UserError where another layout does not fit, or none is expected."""
    if not isinstance(chosen, TransferProtocol):
        stage.check_layout(model, data, options.data)
    if model.layout == data.layout:
        return lambda recordings: recordings
    try:
        weights = correspondence(model.layout, data.layout)
    except ValueError as error:
        raise UserError(str(error)) from None
    return functools.partial(retarget, weights=weights, layout=model.layout)


class Contender(NamedTuple):
    """Something that is scored: how recordings become rows, and who judges the rows."""

    encoder: nn.Module
    pipeline: Pipeline
    adapt: Adapt
    judge: Judge | None = None  # until it has learned

    def rows(self, data: Recorded) -> Tensor:
        """Features, or logits, of all recordings, (R, D)."""
        chunks = (self.adapt(data.recordings(chunk)) for chunk in stage.chunks(len(data)))
        return extract(self.encoder, self.pipeline, chunks)


def labels_of(data: Recorded) -> Tensor:
    return data.labels(range(len(data)))


def contenders(chosen: Chosen, options: Options, model: Model, split: Split) -> dict[str, Contender]:
    """The model and its floors, an encoder of its kind with random weights and raw joints, ready to be judged."""
    train, stage_name = split.train, model.description.stage
    adapt = adaptation(chosen, options, model, train)
    torch.manual_seed(options.seed)
    untrained = build_encoder(model.description.encoder, model.description.config, model.layout)
    calibrate(untrained, model.pipeline, (adapt(train.recordings(part)) for part in stage.chunks(len(train))))
    raw = RawJoints(train.layout.coordinates)
    out = {
        stage_name: Contender(model.encoder, model.pipeline, adapt),
        "random encoder": Contender(untrained, model.pipeline, adapt),
        "raw joints": Contender(raw, raw_pipeline(train.layout), lambda recordings: recordings),
    }
    rows, held_out = torch.arange(len(train)), split.held_out
    if isinstance(chosen, TestProtocol):  # the floors get the labels that the model got, and choose on half of them
        out[stage_name] = Contender(model, model.pipeline, adapt, judged("test", lambda logits: logits))
        rows, held_out = labels_of_model(model, labels_of(train))
    y = labels_of(train)[rows]
    for who, one in out.items():
        if one.judge is None:
            known = Known(
                x=one.rows(train)[rows],
                y=y,
                held_out=held_out[rows],
                keys=train.views.key.take(rows.numpy()),
                dataset=train.manifest.name,
                classes=len(train.manifest.classes),
                raw=who == "raw joints",
                seed=options.seed,
                novel=novel(model, train),
            )
            out[who] = one._replace(judge=chosen.learn(known))
    return out


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
    lineage = model.description.lineage
    while lineage.get("parents"):
        lineage = lineage["parents"][0]["lineage"]
    return tuple(lineage.get("left_out", ())) if lineage["data"] == data.manifest.name else ()


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


def main(name: str, options: Options, chosen: Chosen) -> None:
    options, _ = options.settled(workers=1, cuda=False)
    model = stage.load_model(options.model)
    if isinstance(chosen, TestProtocol) and model.head is None:
        raise UserError(
            f"{options.model} is a {model.description.stage} model without a classifier; "
            "fine-tune it first, or evaluate linear"
        )
    split = open_split(options, model)
    ready = contenders(chosen, options, model, split)
    first = next(iter(ready))
    milliseconds = latency(model, split.train, ready[first].adapt)
    scored = split.scored()  # read once, after everything has been chosen
    truth, classes = labels_of(scored), scored.manifest.classes
    rows = {who: one.rows(scored) for who, one in ready.items()}
    outcomes = {
        who: one.judge(Scored(rows[who], truth, scored.views.key)) for who, one in ready.items() if one.judge
    }  # fmt: skip
    own = stage.protocol_of(model)
    under = "" if options.protocol in (None, own) else f" under {options.protocol}"  # beside the own one's, not over it
    found = {key + under: {who: each.figures[key] for who, each in outcomes.items()} for key in outcomes[first].figures}
    plain = results.as_json(found, classes)
    results.record(options.model, options.on, plain, {**results.metrics(options.on, found), "latency_ms": milliseconds})
    if options.pictures:
        draw(name, options, classes, rows[first], outcomes[first].predicted, truth)
    if options.json:
        print(json.dumps(plain, indent=2))
    else:
        say(name, options, model, scored, found)
        print(f"  one clip takes {milliseconds:.1f} ms on one CPU thread")
    if options.on == "test":
        predicted = outcomes[first].predicted
        failing = None if predicted is None else (next(iter(found)), predicted, truth)
        report.conclude(options, options.model, failing, options.report)


def say(name: str, options: Options, model: Model, scored: Recorded, found: results.Results) -> None:
    """The figures, and what has to be known to read them."""
    classes = scored.manifest.classes
    print(f"{name}, {options.on} recordings of {scored.manifest.name}, {options.protocol or stage.protocol_of(model)}")
    print(*results.table(found), sep="\n")
    if options.classes:
        print(*results.class_table(found, classes), sep="\n")
    if name == "few-shot":
        been = (
            "was trained without these classes" if left_out(model, scored) else "has seen these classes, without labels"
        )
        print(f"  pretraining {been}: {', '.join(classes[label] for label in novel(model, scored))}")


def draw(
    name: str, options: Options, classes: tuple[str, ...], rows: Tensor, predicted: Tensor | None, truth: Tensor
) -> None:
    """A map of the features, and the confusion matrix of a classifier, into the folder of pictures."""
    from launch import pictures

    assert options.pictures is not None
    options.pictures.mkdir(parents=True, exist_ok=True)
    who = options.model.name
    if predicted is not None:
        title = f"{who}: {options.on} recordings, {(predicted == truth).float().mean():.1%} right ({name})"
        file = options.pictures / f"{who}-{name}.png"
        pictures.confusion_matrix(file, truth.numpy(), predicted.numpy(), classes, title=title)
    if name != "test":  # the rows of a test are logits
        file = options.pictures / f"{who}-embedding.png"
        pictures.embedding_map(file, rows.numpy(), truth.numpy(), classes, title=f"{who}: features (t-SNE)")


if __name__ == "__main__":
    start_choice(main, "protocol", PROTOCOLS, Options)
