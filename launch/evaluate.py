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
  python launch/evaluate.py zero-shot --model runs/pretrained --data packed/nw-ucla --count 2 --splits 45
  python launch/evaluate.py generalised-zero-shot --model runs/ntu --data packed/ntu60 --unseen 55/5 --published
  python launch/evaluate.py test --model runs/student --data packed/nw-ucla
  python launch/evaluate.py test --model runs/teacher --model runs/student --data packed/nw-ucla
"""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.bounds import SEED, Bounds
from bonestrap.options import UserError, option, required
from evaluation import results_text, trained
from evaluation.evaluation_file import Evaluations
from evaluation.models import load_model, split_of
from evaluation.protocols import PROTOCOLS, Chosen, FewShotProtocol, RetrievalProtocol, TestProtocol
from evaluation.zero_shot.protocol import ZeroShotProtocol
from launch.cli.parser import start_choice
from shards import splits
from shards.pool import read_joints
from shards.reading import Reading

if TYPE_CHECKING:
    from bonestrap.model import Model
    from evaluation.evaluate import Evaluated

ALIASES = {"--protocol": ("--split",)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Reading):
    """What every evaluation takes."""

    model: tuple[Path, ...] = required(
        "model or run directory, or bonestrap-small; several share the floors, which are computed once"
    )
    split: str | None = option(
        None, "whose test recordings are scored; none takes the split that the model was trained on"
    )
    on: Literal["test", "held-out"] = option("test", "held-out: training subjects set aside, for choosing settings")
    seed: int = option(
        0, "of the random encoder that is the floor, of SGD's order and of few-shot exemplars", Bounds(0, SEED)
    )
    joints: Path | None = option(
        None, "JSON file that says, by layout, which recorded joints a joint of the model's layout is made of"
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


def main(name: str, options: Options, chosen: Chosen) -> dict[Path, Evaluations]:
    """Evaluate, keep and print; the figures of each model as plain values."""
    from evaluation.evaluate import evaluate
    from evaluation.features import EvaluationData, open_data, scored_side

    if options.classes and isinstance(chosen, FewShotProtocol | RetrievalProtocol | ZeroShotProtocol):
        raise UserError(f"{name} has no figures of single classes: leave out --classes")
    options, _ = options.resolve_streaming(workers=1, cuda=False)
    models = {folder: load_model(folder) for folder in options.model}
    for folder, model in models.items():
        if isinstance(chosen, TestProtocol) and model.head is None:
            raise UserError(
                f"{folder} is a {model.description.stage} model without a classifier; "
                "fine-tune it first, or evaluate linear"
            )
    joints = read_joints(options.joints) if options.joints else None
    known: dict[str, EvaluationData] = {}  # by split
    plain: dict[Path, Evaluations] = {}
    for folder, model in models.items():
        split = options.split or split_of(model)
        if split not in known:
            choosing = options.on == "held-out"
            # They are read last, after minutes of features.
            options.require(scored_side(splits.find(options.manifest.name, split), choosing=choosing))
            known[split] = open_data(options, split, choosing=choosing)
        found = evaluate(chosen, folder, model, known[split], options.split, options.seed, joints)
        plain[folder] = report(name, options, folder, model, found)
    if options.json:
        first, *others = plain.values()
        print(json.dumps({str(folder): one for folder, one in plain.items()} if others else first, indent=2))
    return plain


def report(name: str, options: Options, folder: Path, model: Model, found: Evaluated) -> Evaluations:
    """Keep the result of one model, print it, and complete its model card, pictures and page."""
    from evaluation.evaluate import save
    from launch.report import conclude

    plain = save(folder, options.on, found, track=options.track)
    if options.pictures:
        draw(name, options, folder.name, options.split or split_of(model), found)
    if not options.json:
        show(name, options, folder, model, found)
    if warning := exposure(options, found):
        print(f"  {warning}", file=sys.stderr if options.json else sys.stdout)
    if options.on == "test":
        failing = None if found.predicted is None else (next(iter(found.results)), found.predicted, found.truth)
        conclude(options, folder, failing, options.report)
    if options.track:
        share(name, options, folder, found)
    return plain


def share(name: str, options: Options, folder: Path, found: Evaluated) -> None:
    """Give MLflow the confusion matrix, as a picture and a table, and the registered model its card of now."""
    from distributed import registry, tracking
    from evaluation import run_record
    from launch.report import attempt
    from reports import card, figures, pictures

    run = run_record.home(folder)
    if run is None or not tracking.about(run):
        return
    with attempt("the confusion matrix and the card"), tempfile.TemporaryDirectory() as place:
        if found.predicted is not None:
            truth, classes = found.truth.numpy(), found.scored.manifest.classes
            matrix = figures.Confusion.from_labels(truth, found.predicted.numpy(), classes)
            said = ("" if options.on == "test" else "held-out ") + name + found.suffix
            table = Path(place) / (re.sub(r"[^\w.-]+", "-", said) + ".csv")
            rows = [[name, *row] for name, row in zip(classes, matrix.counts.tolist(), strict=True)]
            with table.open("w", encoding="utf-8", newline="") as file:  # a row a true class, a column a predicted one
                csv.writer(file).writerows([["", *classes], *rows])
            tracking.attach(run, table, folder="confusion")
            with suppress(ImportError):  # the extra "plots"
                pictures.confusion_matrix(table.with_suffix(".png"), matrix, title=f"{run.name}: {said}")
                tracking.attach(run, table.with_suffix(".png"), folder="confusion")
        registry.revise(run, card.text(run_record.read(run), None))


def exposure(options: Options, found: Evaluated) -> str:
    """The warning about scored recordings that the model was trained on; nothing where all are new to it."""
    if found.seen:
        return (
            f"WARNING: {found.seen:,} of these {len(found.scored):,} recordings were in the training of this model or "
            "of one that it came from: the figures are not those of unseen recordings"
        )
    if found.seen is None and (found.suffix or options.on == "held-out"):
        return f"whether this model was trained on these recordings is not known: {trained.FILE} of a run is missing"
    return ""


def show(name: str, options: Options, folder: Path, model: Model, found: Evaluated) -> None:
    """Print the figures, and what has to be known to read them."""
    from evaluation.candidates import left_out, novel

    scored, classes = found.scored, found.scored.manifest.classes
    if len(options.model) > 1:
        print(folder)
    print(f"{name}, {options.on} recordings of {scored.manifest.name}, {options.split or split_of(model)}")
    print(*results_text.tables(found.results), sep="\n")
    present = {labelled.item() for labelled in found.truth.unique()}
    if absent := [title for number, title in enumerate(classes) if number not in present]:
        print(f"  {splits.untested_said(options.on, absent, len(classes))}; figures are of the others")
    if options.classes:
        print(*results_text.class_tables(found.results, classes), sep="\n")
    if name == "few-shot":
        labels = "with" if model.description.lineage.get("labels") else "without"
        seen = "did not see these classes" if left_out(model, scored) else f"saw these classes, {labels} labels"
        print(f"  training {seen}: {', '.join(classes[label] for label in novel(model, scored))}")
    for said in exposed(found, model):
        print(f"  {said}")
    print(f"  one clip takes {found.latency_ms:.1f} ms on one CPU thread")


def exposed(found: Evaluated, model: Model) -> list[str]:
    """Of a zero-shot evaluation: whether the encoder's own training has seen unseen classes."""
    from evaluation.candidates import left_out
    from evaluation.scoring import Generalised, ZeroShot

    figures = next(iter(next(iter(found.results.values())).values()))
    if not isinstance(figures, ZeroShot | Generalised):
        return []
    without = set(left_out(model, found.scored))
    clean = sum(set(unseen) <= without for unseen in figures.unseen)
    if clean == len(figures.unseen):
        return ["the encoder's training has seen none of the unseen classes"]
    labels = "with" if model.description.lineage.get("labels") else "without"
    return [
        f"the encoder's training has seen unseen classes, {labels} labels, in {len(figures.unseen) - clean} of "
        f"{len(figures.unseen)} splits: pretrain with --classes.leave-out"
    ]


def draw(name: str, options: Options, who: str, split: str, found: Evaluated) -> None:
    """The confusion matrix of a classifier, and a map of the features, into the folder of pictures."""
    from reports import figures, pictures

    assert options.pictures is not None
    options.pictures.mkdir(parents=True, exist_ok=True)
    truth, classes = found.truth.numpy(), found.scored.manifest.classes
    where = f"{found.scored.manifest.name}, {split}"
    if found.predicted is not None:
        accuracy = (found.predicted == found.truth).float().mean().item()
        title = f"{who}: {accuracy:.1%} of {options.on} recordings ({name})\n{where}"
        file = options.pictures / f"{who}-{name}.png"
        matrix = figures.Confusion.from_labels(truth, found.predicted.numpy(), classes)
        pictures.confusion_matrix(file, matrix, title=title)
    if name != "test":  # whose rows are logits
        file = options.pictures / f"{who}-embedding.png"
        groups = figures.embedding(found.features.numpy(), truth, classes)
        pictures.embedding_map(file, groups, title=f"{who}: feature space (t-SNE)\n{where}")


if __name__ == "__main__":
    start_choice(main, "protocol", PROTOCOLS, Options, aliases=ALIASES)
