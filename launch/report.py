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
from evaluation import run_record as dossier
from evaluation.provenance import hardware
from evaluation.run_record import Dossier
from launch.cli.parser import start
from launch.preview import write
from reports import card
from reports import summaries as verdicts
from reports.dataset_facts import Grounds
from reports.page import document, drawing
from shards.reading import Reading
from shards.storage.folder import spoken
from shards.storage.redaction import redacted

if TYPE_CHECKING:
    import torch

    from evaluation.predictions import Trials

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
    options, _ = options.settled(workers=1, cuda=False)
    dossiers = make(options, options.model, options.split, options.output)
    if options.track:
        for one in dossiers:
            keep(one.folder, options.output)
    print(f"{verdicts.choice(dossiers)}\npage: {options.output}")


def make(reading: Reading, folders: Sequence[Path], protocol: str | None, output: Path) -> list[Dossier]:
    """Write the page and return what it is about. UserError where models do not belong on one page."""
    from evaluation.predictions import trials

    dossiers = [dossier.read(folder) for folder in folders]
    protocol = together(dossiers, reading, protocol)
    for one in dossiers:  # what is missing is said before anything is computed
        assert one.shown and one.journal
    write(output, page(reading, dossiers, trials(reading, dossiers, protocol), protocol))
    return dossiers


def together(dossiers: Sequence[Dossier], reading: Reading, protocol: str | None) -> str:
    """The protocol of all models. UserError where they are not comparable, or not of these recordings."""
    names = [one.name for one in dossiers]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two models are called {twice[0]}: rename a run directory, so that the page can name them")
    manifest = reading.manifest
    for one in dossiers:
        if one.lineage["digest"] != manifest.digest:
            raise UserError(
                f"{one.folder} was trained on {one.lineage['data']} of digest {one.lineage['digest'][:8]}, and "
                f"{spoken(reading.data)} is {manifest.name} of digest {manifest.digest[:8]}: "
                "give the shards it was trained on"
            )
    own = sorted({one.lineage["split"] for one in dossiers})
    if protocol is None and len(own) > 1:
        raise UserError(f"the models were trained under {' and '.join(own)}: a page compares models of one protocol")
    return protocol or own[0]


def page(reading: Reading, dossiers: Sequence[Dossier], tried: Trials, protocol: str) -> str:
    """The whole page."""
    from reports import chapters
    from reports.samples import samples

    shown = samples(reading, dossiers, protocol)
    scene = {
        "layout": drawing(tried.data.layout),
        "augmented": shown,
        "models": [figures(one, number, tried) for number, one in enumerate(dossiers)],
    }
    grounds = Grounds.of(reading, protocol)
    body = (
        chapters.choosing(dossiers),
        chapters.table(dossiers),
        chapters.costs(dossiers),
        chapters.by_class(dossiers, tried),
        chapters.confusions(dossiers, tried),
        chapters.maps(dossiers, tried),
        chapters.curves(dossiers),
        chapters.seen(dossiers, shown),
        chapters.cards([(one.name, card.text(one, grounds)) for one in dossiers]),
    )
    title = f"{reading.manifest.name}: models"
    top, foot = _top(dossiers, grounds, protocol), _foot(reading, tried)
    return document(title, top=top, body="".join(body), foot=foot, scene=scene, styles=STYLES)


def figures(one: Dossier, number: int, tried: Trials) -> dict[str, Any]:
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


def _top(dossiers: Sequence[Dossier], grounds: Grounds, protocol: str) -> str:
    sides = grounds.sides
    tiles = {
        "models": f"{len(dossiers)}",
        "best accuracy": f"{max(one.shown.model.accuracy for one in verdicts.recognisers(dossiers) or dossiers):.1%}",
        "classes": f"{len(grounds.manifest.classes)}",
        "training recordings": f"{sides.train:,}",
        "test recordings": f"{sides.test:,}",
    }
    shown = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in tiles.items())
    faults = "".join(
        f'<li class="fault"><b>known fault</b><span>{escape(fault)}</span></li>' for fault in grounds.faults
    )
    return f"""<header class="top">
<p class="what">Models of protocol {escape(protocol)}: {escape(sides.protocol.description)}</p>
<h1>{escape(grounds.manifest.name)}</h1>
<dl class="figures">{shown}</dl>
{f'<ul class="findings">{faults}</ul>' if faults else ""}</header>"""


def _foot(reading: Reading, tried: Trials) -> str:
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
    folder = dossier.home(model)
    if folder is None:
        return
    tracking.add(folder, {dossier.MACHINE: hardware()})
    one, classes = dossier.read(folder), reading.manifest.classes
    own = one.lineage["digest"] == reading.manifest.digest
    grounds = Grounds.of(reading, one.lineage["split"]) if own else None
    try:
        if found:
            evaluation, predicted, truth = found
            table = confusion(predicted, truth, len(classes)).tolist()
            card.revise(one, grounds, evaluation, card.failures(table, classes, reading.manifest.name))
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
