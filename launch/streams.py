#!/usr/bin/env python3
"""Choose how a classifier recognises actions in a continuous stream, and evaluate it on untrimmed recordings.

`choose` makes streams of the held-out training subjects of a data set: pieces of one performer and camera, joined at
the pelvis, with interpolated ways between them. Classes that the model's training left out and the ways between pieces
show nothing. It keeps window, threshold and smoothing in stream.json beside the model, where `bonestrap recognise`
finds them. `test` makes streams of the test recordings and evaluates; `pku-mmd` evaluates on recordings in that format.
docs/streams.md explains the figures.

Examples:
  python launch/streams.py choose --model runs/stream --data packed/nw-ucla
  python launch/streams.py test --model runs/stream --data packed/nw-ucla
  python launch/streams.py pku-mmd --model runs/pku --input pku-mmd/phase1 --split cross-subject
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.bounds import COUNT, FRACTION, SEED, THREADS, Bounded, Bounds
from bonestrap.options import UserError, option, required
from evaluation.models import load_model, split_of
from launch.cli.parser import start_choice
from shards import splits, terms
from shards.reading import Reading

if TYPE_CHECKING:
    from bonestrap.model import Model
    from bonestrap.stream.config import StreamConfig
    from evaluation.streams.untrimmed import Untrimmed

RATE = 30.0  # frames a second of shards that do not say it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Bounded):
    """What all of it takes."""

    model: Path = required("model or run directory of a classifier")
    limit: int | None = option(None, "streams that are taken, evenly spread; none takes all", Bounds(1, COUNT))
    threads: int = option(1, "CPU threads", THREADS)
    json: bool = option(False, "print the result as JSON")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Made(Bounded):
    """Streams made of the recordings of shards."""

    data: str = required("folder of packed shards, or its address: s3://bucket/shards, https://host/shards")
    split: str | None = option(None, "whose recordings are taken; none takes the split that the model was trained on")
    seed: int = option(0, "of the order of pieces and the lengths of the ways between them", Bounds(0, SEED))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choose(Made):
    """Choose window, threshold and smoothing on streams of held-out training subjects; train with --hold-out."""

    lengths: tuple[float, ...] = option((0.8, 1.2, 1.6), "windows that are tried, seconds", Bounds(0, 3600, above=True))
    false_alarms: tuple[float, ...] = option(
        (0.05, 0.1, 0.2), "fractions of the windows that show nothing which may pass for an action", FRACTION
    )
    stride: int = option(3, "frames from one answer to the next", Bounds(1, COUNT))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Test(Made):
    """Evaluate on streams of the test recordings, beside a naive sliding window."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pku:
    """Evaluate on whole recordings in the format of PKU-MMD."""

    input: Path = required("folder of one phase: skeletons, labels, and the files of splits")
    split: str | None = option(None, "a split that the folder declares; none takes all recordings")
    part: Literal["train", "test"] = option("test", "which recordings of the split")


CHOICES = {"choose": Choose, "test": Test, "pku-mmd": Pku}


def main(name: str, options: Options, chosen: Choose | Test | Pku) -> None:
    import torch

    from bonestrap.model import ModelError
    from bonestrap.stream import config

    torch.set_num_threads(options.threads)
    model = load_model(options.model)
    if model.head is None:
        raise UserError(
            f"{options.model} is a {model.description.stage} model without a classifier; fine-tune it first"
        )
    file = config.beside(options.model)
    try:
        if isinstance(chosen, Choose):
            choose(options, chosen, model)
            return
        try:
            settings = config.read(file)
        except FileNotFoundError:
            raise UserError(f"{file} does not exist: run launch/streams.py choose first") from None
        evaluate(name, options, chosen, model, settings)
    except ModelError as error:
        raise UserError(f"{options.model}: {error}") from None


def choose(options: Options, chosen: Choose, model: Model) -> None:
    """Choose settings and keep them beside the model."""
    from bonestrap.stream import config
    from evaluation.streams.choose import choose as best_of

    streams = build_streams(options, chosen, model, held_out=True)
    base = config.StreamConfig(rate=streams[0].rate, stride=chosen.stride)
    say = (lambda line: print(line, file=sys.stderr, flush=True)) if options.json else print
    say(f"{len(streams)} streams of held-out subjects, {sum(stream.seconds for stream in streams):.0f} s")
    try:
        best = best_of(model, streams, base, chosen.lengths, chosen.false_alarms, say)
    except ValueError as error:
        raise UserError(f"{chosen.data}: {error}") from None
    manifest = Reading(data=chosen.data).manifest
    about = {
        "data": manifest.name,
        "digest": manifest.digest,
        "split": chosen.split or split_of(model),
        "seed": chosen.seed,
        "streams": len(streams),
        "false_alarms": best.false_alarms,
        "frame_accuracy": best.accuracy,
        "map_at_0.5": best.precision,
    }
    file = config.write(config.beside(options.model).parent, best.config, about)
    if options.json:
        print(json.dumps({**vars(best.config), "chosen": about}, indent=2))
        return
    kept = best.config
    print(
        f"{file}: window {kept.window:g} s, {kept.score} from {kept.threshold:.3f}, released below {kept.release:.3f}"
    )
    print(f"  smoothing {kept.smoothing:g} s, lag {kept.behind:.2f} s, {kept.start_after} answers begin an action")
    print(f"  false alarms {best.false_alarms:g}, frame accuracy {best.accuracy:.1%}, mAP at 0.5 {best.precision:.1%}")


def evaluate(name: str, options: Options, chosen: Test | Pku, model: Model, settings: StreamConfig) -> None:
    """Score the recogniser beside a naive sliding window of the same length."""
    from evaluation.streams.answers import naive, recognise
    from evaluation.streams.scores import as_json, score, table
    from evaluation.streams.untrimmed import pku_mmd

    if isinstance(chosen, Pku):
        streams = list(pku_mmd(chosen.input, model, chosen.split, chosen.part))[: options.limit]
    else:
        streams = build_streams(options, chosen, model, held_out=False)
    length = round(settings.window * streams[0].rate)
    ways = {
        "recogniser": [recognise(model, settings, number, stream) for number, stream in enumerate(streams)],
        "naive window": [naive(model, length, number, stream) for number, stream in enumerate(streams)],
    }
    rows = {way: score(streams, answers, settings.window) for way, answers in ways.items()}
    if options.json:
        print(json.dumps(as_json(rows), indent=2))
        return
    actions = sum(len(stream.segments) for stream in streams)
    seconds = sum(stream.seconds for stream in streams)
    print(f"{name}: {len(streams)} recordings, {seconds:.0f} s, {actions} actions, window {settings.window:g} s")
    print(*table(rows), sep="\n")


def build_streams(options: Options, chosen: Made, model: Model, *, held_out: bool) -> list[Untrimmed]:
    """Streams of the held-out training subjects, or of the test recordings."""
    from evaluation.lineage import never_seen
    from evaluation.streams.made import known, streams
    from evaluation.streams.untrimmed import check_layout
    from shards.reader import Resident

    reading = Reading(data=chosen.data, stream="no")
    manifest = reading.manifest
    check_layout(model, manifest.layout.joints, manifest.layout.name)
    split = splits.find(manifest.name, chosen.split or split_of(model))
    part = split.held_out if held_out else split.test
    data = Resident.load(chosen.data, select=splits.labelled(part), cache=reading.store)
    labels = known(manifest.classes, model.classes, never_seen(model.description.lineage, manifest.name))
    out = streams(data, labels, terms.rate(manifest) or RATE, chosen.seed, options.limit)
    if not any(stream.segments for stream in out):
        raise UserError(f"{chosen.data}: no recording of a class that the model knows; take the shards of its training")
    return out


if __name__ == "__main__":
    start_choice(main, "part", CHOICES, Options)
