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
  python launch/evaluate.py transfer --model runs/pretrained --data packed/ntu60 --split cross-subject
  python launch/evaluate.py long-tailed --model runs/pretrained --data packed/nw-ucla --imbalance 20
  python launch/evaluate.py test --model runs/student --data packed/nw-ucla
  python launch/evaluate.py test --model runs/teacher --model runs/student --data packed/nw-ucla
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.bounds import SEED, Bounds
from bonestrap.options import UserError, option, required
from evaluation import results, trained
from evaluation.models import load_model, split_of
from evaluation.protocols import PROTOCOLS, Chosen, FewShotProtocol, RetrievalProtocol, TestProtocol
from launch.cli.parser import start_choice
from shards import splits
from shards.reading import Reading

if TYPE_CHECKING:
    from torch import Tensor

    from bonestrap.model import Model
    from evaluation.candidates import Split
    from shards.reading import Recorded


ALIASES = {"--protocol": ("--split",)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Reading):
    """What every evaluation takes."""

    model: tuple[Path, ...] = required("model or run directory; several share the floors, which are computed once")
    split: str | None = option(
        None, "whose test recordings are scored; none takes the split that the model was trained on"
    )
    on: Literal["test", "held-out"] = option("test", "held-out: training subjects set aside, for choosing settings")
    seed: int = option(
        0, "of the random encoder that is the floor, of SGD's order and of few-shot exemplars", Bounds(0, SEED)
    )
    classes: bool = option(False, "print recall and precision of every class")
    pictures: Path | None = option(None, "folder for a confusion matrix and a map of the features")
    report: Path | None = option(None, "file for a page about the model, which launch/report.py explains")
    track: bool = option(True, "send the result to MLflow, where the run is tracked; the run's journal keeps it anyway")
    json: bool = option(False, "print the result as JSON; of several models, by directory")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.report and self.on == "held-out":
            raise ValueError("report shows the test recordings, which --on held-out never opens: leave one of them out")
        if not self.model:
            raise ValueError("model must name at least one model or run directory")
        if self.report and len(self.model) > 1:
            raise ValueError("report takes one model here: launch/report.py makes the page about several")


def main(name: str, options: Options, chosen: Chosen) -> None:
    if options.classes and isinstance(chosen, FewShotProtocol | RetrievalProtocol):
        raise UserError(f"{name} has no figures of single classes: leave out --classes")
    options, _ = options.resolve_streaming(workers=1, cuda=False)
    models = {folder: load_model(folder) for folder in options.model}
    for folder, model in models.items():
        if isinstance(chosen, TestProtocol) and model.head is None:
            raise UserError(
                f"{folder} is a {model.description.stage} model without a classifier; "
                "fine-tune it first, or evaluate linear"
            )
    known: dict[str, Split] = {}
    found = {folder: evaluate(name, options, chosen, folder, model, known) for folder, model in models.items()}
    if options.json:
        first, *others = found.values()
        print(json.dumps({str(folder): one for folder, one in found.items()} if others else first, indent=2))


def evaluate(
    name: str, options: Options, chosen: Chosen, folder: Path, model: Model, known: dict[str, Split]
) -> dict[str, Any]:
    """Evaluate one model, tell the user and keep the result; `known` is what models before it have read."""
    from evaluation.candidates import adaptation, candidates, labels_of, latency, open_split
    from evaluation.scoring import Scored, dependent
    from launch import report

    protocol = options.split or split_of(model)
    if protocol not in known:
        known[protocol] = open_split(options, protocol, choosing=options.on == "held-out")
    split = known[protocol]
    adapt = adaptation(chosen, options.data, model, split.train)
    ready = candidates(chosen, model, split, adapt, options.seed)
    first = next(iter(ready))
    milliseconds = latency(model, split.train, adapt)
    scored = split.scored  # read once, after everything has been chosen
    truth, classes = labels_of(scored), scored.manifest.classes
    views = scored.views
    outcomes = {
        who: one.scorer(Scored(one.features.scored, truth, views.key, dependent(views))) for who, one in ready.items()
    }
    beside = aside(options, model, scored)
    found = {
        key + beside: {who: each.figures[key] for who, each in outcomes.items()} for key in outcomes[first].figures
    }
    plain, seen = results.as_json(found, classes), trained.seen(folder, scored)
    if seen is not None:
        for each in plain.values():
            each[first]["seen"] = seen
    measured = results.metrics(options.on, found) | ({} if beside else {"latency_ms": milliseconds})
    results.record(folder, options.on, plain, measured, track=options.track)
    predicted = outcomes[first].predicted
    if options.pictures:
        draw(name, options, folder.name, classes, ready[first].features.scored, predicted, truth)
    if not options.json:
        say(name, options, folder, model, scored, found)
        print(f"  one clip takes {milliseconds:.1f} ms on one CPU thread")
    if warning := exposure(options, beside, seen, len(scored)):
        print(f"  {warning}", file=sys.stderr if options.json else sys.stdout)
    if options.on == "test":
        failing = None if predicted is None else (next(iter(found)), predicted, truth)
        report.conclude(options, folder, failing, options.report)
    return plain


def aside(options: Options, model: Model, scored: Recorded) -> str:
    """What follows an evaluation's name, so that it stands beside the model's own result and never in its place.

    Nothing where the recordings are of the shards that trained the model, under its own protocol.
    """
    manifest, lineage = scored.manifest, model.description.lineage
    said = "" if manifest.digest == lineage["digest"] else f" on {manifest.name} {manifest.digest[:8]}"
    return said + ("" if options.split in (None, lineage["split"]) else f" under {options.split}")


def exposure(options: Options, beside: str, seen: int | None, scored: int) -> str:
    """What is to be said of scored recordings that were trained on; nothing where all are new to the model."""
    if seen:
        return (
            f"WARNING: {seen:,} of these {scored:,} recordings were in the training of this model or of one that it "
            "came from: the figures are not those of unseen recordings"
        )
    if seen is None and (beside or options.on == "held-out"):
        return f"whether this model was trained on these recordings is not known: {trained.FILE} of a run is missing"
    return ""


def say(name: str, options: Options, folder: Path, model: Model, scored: Recorded, found: results.Results) -> None:
    """The figures, and what has to be known to read them."""
    from evaluation.candidates import labels_of, left_out, novel

    classes = scored.manifest.classes
    if len(options.model) > 1:
        print(folder)
    print(f"{name}, {options.on} recordings of {scored.manifest.name}, {options.split or split_of(model)}")
    print(*results.table(found), sep="\n")
    present = {labelled.item() for labelled in labels_of(scored).unique()}
    if absent := [title for number, title in enumerate(classes) if number not in present]:
        print(f"  {splits.untested_said(options.on, absent, len(classes))}; figures are of the others")
    if options.classes:
        print(*results.class_table(found, classes), sep="\n")
    if name == "few-shot":
        been = (
            "was trained without these classes" if left_out(model, scored) else "has seen these classes, without labels"
        )
        print(f"  pretraining {been}: {', '.join(classes[label] for label in novel(model, scored))}")


def draw(
    name: str,
    options: Options,
    who: str,
    classes: tuple[str, ...],
    rows: Tensor,
    predicted: Tensor | None,
    truth: Tensor,
) -> None:
    """A map of the features, and the confusion matrix of a classifier, into the folder of pictures."""
    from reports import pictures

    assert options.pictures is not None
    options.pictures.mkdir(parents=True, exist_ok=True)
    if predicted is not None:
        title = f"{who}: {options.on} recordings, {(predicted == truth).float().mean():.1%} right ({name})"
        file = options.pictures / f"{who}-{name}.png"
        pictures.confusion_matrix(file, truth.numpy(), predicted.numpy(), classes, title=title)
    if name != "test":  # the rows of a test are logits
        file = options.pictures / f"{who}-embedding.png"
        pictures.embedding_map(file, rows.numpy(), truth.numpy(), classes, title=f"{who}: features (t-SNE)")


if __name__ == "__main__":
    start_choice(main, "protocol", PROTOCOLS, Options, aliases=ALIASES)
