#!/usr/bin/env python3
"""One page about one or several models of a data set: which one to take, what it cost, and where it fails.

The page opens in any browser without a network: accuracy against size and latency beside the floors, learning curves,
confusions, classes one by one, maps of the features, what the networks saw, and the model cards. The figures come from
the files of the runs. The test recordings are read once, for confusions, classes and maps: by then all is evaluated.

Examples:
  python launch/report.py --model runs/student --data packed/nw-ucla --output report.html
  python launch/report.py --model runs/teacher --model runs/student --data packed/nw-ucla --output report.html
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.options import UserError, option, required
from bonestrap.protocols.scores import confusion
from distributed import tracking
from evaluation import run_record
from evaluation.provenance import hardware
from evaluation.run_record import RunRecord
from launch.cli.parser import start
from launch.preview import write
from reports import card
from reports import summaries as verdicts
from reports.dataset_facts import DatasetFacts
from reports.page import document, drawing
from shards.reading import Reading
from shards.storage.folder import spoken
from shards.storage.redaction import redacted

if TYPE_CHECKING:
    import torch

    from evaluation.predictions import Predictions

STYLES = ("preview.css", "report.css")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Reading):
    model: tuple[Path, ...] = required("run directories; the option may be repeated")
    output: Path = required("the page")
    split: str | None = option(None, "whose test recordings are shown; none takes the one of the models")
    track: bool = option(True, "keep the page with the MLflow runs of the models, where they are tracked")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model:
            raise ValueError("model must name at least one run directory")


def main(options: Options) -> None:
    if options.output.is_dir():
        raise UserError(f"{options.output} is a folder; give a file, such as {options.output / 'report.html'}")
    options, _ = options.resolve_streaming(workers=1, cuda=False)
    records = make(options, options.model, options.split, options.output)
    if options.track:
        for one in records:
            keep(one.folder, options.output)
    print(f"{verdicts.choice(records)}\npage: {options.output}")


def make(reading: Reading, folders: Sequence[Path], protocol: str | None, output: Path) -> list[RunRecord]:
    """Write the page and return what it is about. UserError where models do not belong on one page."""
    from evaluation.predictions import predictions

    records = [run_record.read(folder) for folder in folders]
    protocol = together(records, reading, protocol)
    for one in records:  # what is missing is said before anything is computed
        assert one.shown and one.journal
    write(output, page(reading, records, predictions(reading, records, protocol), protocol))
    return records


def together(records: Sequence[RunRecord], reading: Reading, protocol: str | None) -> str:
    """The protocol of all models. UserError where they are not comparable, or not of these recordings."""
    names = [one.name for one in records]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two models are called {twice[0]}: rename a run directory, so that the page can name them")
    manifest = reading.manifest
    for one in records:
        if one.lineage["digest"] != manifest.digest:
            raise UserError(
                f"{one.folder} was trained on {one.lineage['data']} of digest {one.lineage['digest'][:8]}, and "
                f"{spoken(reading.data)} is {manifest.name} of digest {manifest.digest[:8]}: "
                "give the shards it was trained on"
            )
    own = sorted({one.lineage["split"] for one in records})
    if protocol is None and len(own) > 1:
        raise UserError(f"the models were trained under {' and '.join(own)}: a page compares models of one protocol")
    return protocol or own[0]


def page(reading: Reading, records: Sequence[RunRecord], tried: Predictions, protocol: str) -> str:
    """The whole page."""
    from reports import chapters
    from reports.samples import samples

    shown = samples(reading, records, protocol)
    scene = {
        "layout": drawing(tried.data.layout),
        "augmented": shown,
        "models": [figures(one, number, tried) for number, one in enumerate(records)],
    }
    dataset = DatasetFacts.of(reading, protocol)
    body = (
        chapters.choosing(records),
        chapters.table(records),
        chapters.costs(records),
        chapters.by_class(records, tried),
        chapters.confusions(records, tried),
        chapters.maps(records, tried),
        chapters.curves(records),
        chapters.seen(records, shown),
        chapters.cards([(one.name, card.text(one, dataset)) for one in records]),
    )
    title = f"{reading.manifest.name}: models"
    top, foot = _top(records, dataset, protocol), _foot(reading, tried)
    return document(title, top=top, body="".join(body), foot=foot, scene=scene, styles=STYLES)


def figures(one: RunRecord, number: int, tried: Predictions) -> dict[str, Any]:
    """The figures of a model as they were measured, for whoever reads the page with a program."""
    table = tried.each[number].table
    return {
        "name": one.name,
        "stage": one.description.stage,
        "parameters": one.parameters,
        "evaluation": dataclasses.asdict(one.shown),
        "latency_ms": one.latency_ms,
        "costs": [dataclasses.asdict(cost) for cost in one.costs],
        "confusion": None if table is None else table.tolist(),
        "neighbours": tried.neighbours(number),
    }


def _top(records: Sequence[RunRecord], dataset: DatasetFacts, protocol: str) -> str:
    sides = dataset.sides
    tiles = {
        "models": f"{len(records)}",
        "best accuracy": f"{max(one.shown.model.accuracy for one in verdicts.recognisers(records) or records):.1%}",
        "classes": f"{len(dataset.manifest.classes)}",
        "training recordings": f"{sides.train:,}",
        "test recordings": f"{sides.test:,}",
    }
    shown = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in tiles.items())
    faults = "".join(
        f'<li class="fault"><b>known fault</b><span>{escape(fault)}</span></li>' for fault in dataset.faults
    )
    return f"""<header class="top">
<p class="what">Models of protocol {escape(protocol)}: {escape(sides.split.description)}</p>
<h1>{escape(dataset.manifest.name)}</h1>
<dl class="figures">{shown}</dl>
{f'<ul class="findings">{faults}</ul>' if faults else ""}</header>"""


def _foot(reading: Reading, tried: Predictions) -> str:
    return f"""<footer>
<p>Accuracies, floors, latencies and costs are those that the runs recorded. Confusions, classes and maps come from one
reading of the {len(tried.truth):,} test recordings made for this page, after everything had been chosen.</p>
<p>Digest <code>{reading.manifest.digest}</code></p>
</footer>"""


def conclude(
    reading: Reading, model: Path, found: tuple[str, torch.Tensor, torch.Tensor] | None, output: Path | None
) -> None:
    """After an evaluation on test recordings: complete the model card, and write the page where one was asked for.

    `found` is the evaluation's name with the predicted and the true classes, (R,), where it predicts one a recording.
    The evaluation stands already: a card or an MLflow that cannot be written is said on stderr and stops nothing.
    """
    folder = run_record.home(model)
    if folder is None:
        return
    tracking.add(folder, {run_record.MACHINE: hardware()})
    one, classes = run_record.read(folder), reading.manifest.classes
    own = one.lineage["digest"] == reading.manifest.digest
    dataset = DatasetFacts.of(reading, one.lineage["split"]) if own else None
    try:
        if found:
            evaluation, predicted, truth = found
            table = confusion(predicted, truth, len(classes)).tolist()
            card.revise(one, dataset, evaluation, card.failures(table, classes, reading.manifest.name))
    except OSError as error:
        print(f"the model card cannot be written ({error}); the result stands in evaluation.json", file=sys.stderr)
    if output:
        make(reading, [folder], None, output)
        keep(folder, output)
        print(f"page: {output}", file=sys.stderr)  # standard output is the evaluation's, which may be JSON


def keep(run: Path, page: Path) -> None:
    """Put the page beside the run in MLflow, where the run is tracked; say so where that fails."""
    if not tracking.about(run):
        return
    try:
        tracking.attach(run, page, tag="bonestrap.report")
    except Exception as error:  # whatever MLflow raises: the page is there
        reason = redacted((str(error) or type(error).__name__).splitlines()[0])
        print(f"MLflow has not taken the page ({reason}); it is {page}", file=sys.stderr)


if __name__ == "__main__":
    start(main, Options)
