#!/usr/bin/env python3
"""Compare trained models of a data set on one HTML page: accuracy, size, latency, cost and errors.

The page opens in any browser without a network: accuracy against size and latency with the floors, training curves,
per-class recall, confusion matrices, feature maps, augmented clips, and the model cards. The figures come from the
files of the runs. The test recordings are read once, for recall, confusion matrices and maps, after all evaluations.

Examples:
  python launch/report.py --model runs/student --data packed/nw-ucla --output report.html
  python launch/report.py --model runs/teacher --model runs/student --data packed/nw-ucla --output report.html
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.files import write_atomically
from bonestrap.options import UserError, option, required
from bonestrap.protocols.scores import confusion
from distributed import tracking
from evaluation import run_record
from evaluation.provenance import hardware
from evaluation.run_record import RunRecord
from launch.cli.parser import start
from reports import card, summaries
from reports.data.facts import DatasetFacts
from shards.reading import Reading
from shards.storage.folder import spoken
from shards.storage.redaction import redacted

if TYPE_CHECKING:
    import torch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Reading):
    model: tuple[Path, ...] = required("run directories; the option may be repeated")
    output: Path = required("HTML file to write")
    split: str | None = option(None, "split whose test recordings are shown; none: that of the models")
    track: bool = option(True, "keep the page with an MLflow run of the models, once")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model:
            raise ValueError("model must name at least one run directory")


def main(options: Options) -> None:
    if options.output.is_dir():
        raise UserError(f"{options.output} is a folder; give a file, such as {options.output / 'report.html'}")
    options, _ = options.resolve_streaming(workers=1, cuda=False)
    records, said = make(options, options.model, options.split, options.output)
    if options.track:
        keep([one.folder for one in records], options.output)
    print(f"{said}\npage: {options.output}")


def make(reading: Reading, folders: Sequence[Path], split: str | None, output: Path) -> tuple[list[RunRecord], str]:
    """Write the page; return its runs and which model to choose. UserError where the models cannot be compared."""
    from evaluation.predictions import predictions
    from reports.model_page import page
    from reports.standings import standings

    records = [run_record.read(folder) for folder in folders]
    split = together(records, reading, split)
    for one in records:  # what is missing is reported before anything is computed
        assert one.shown and one.journal
    output.parent.mkdir(parents=True, exist_ok=True)
    predicted = predictions(reading, records, split)
    write_atomically(output, page(reading, records, predicted, split))
    return records, summaries.choice(records, standings(records, predicted))


def together(records: Sequence[RunRecord], reading: Reading, split: str | None) -> str:
    """The split of all models. UserError where they are not comparable, or not of these recordings."""
    names = [one.name for one in records]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two run directories are called {twice[0]}: rename one of them")
    manifest = reading.manifest
    for one in records:
        if one.lineage["digest"] != manifest.digest:
            raise UserError(
                f"{one.folder} was trained on {one.lineage['data']} of digest {one.lineage['digest'][:8]}, and "
                f"{spoken(reading.data)} is {manifest.name} of digest {manifest.digest[:8]}: "
                "give the shards it was trained on"
            )
    own = sorted({one.lineage["split"] for one in records})
    if split is None and len(own) > 1:
        raise UserError(
            f"the models were trained on different splits ({' and '.join(own)}): name one with --split, or give "
            "models of one split"
        )
    return split or own[0]


def conclude(
    reading: Reading, model: Path, found: tuple[str, torch.Tensor, torch.Tensor] | None, output: Path | None
) -> None:
    """After an evaluation on test recordings: complete the model card, and write the page where one was asked for.

    `found` is the evaluation's name with the predicted and the true classes, (R,), where it predicts one a recording.
    The evaluation stands already: a card or an MLflow that cannot be written is reported on stderr and stops nothing.
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
        print(f"the model card cannot be written ({error}); the result is in evaluation.json", file=sys.stderr)
    if output:
        make(reading, [folder], None, output)
        keep([folder], output)
        print(f"page: {output}", file=sys.stderr)  # standard output is the evaluation's, which may be JSON


def keep(runs: Sequence[Path], page: Path) -> None:
    """Log the page to the MLflow run of the first that has one, and tell the others where it is."""
    tracked = [run for run in runs if tracking.about(run)]
    with attempt(f"{page}, which stays there,"):
        address = tracking.attach(tracked[0], page) if tracked else ""
        for run in tracked:
            tracking.tag(run, "bonestrap.report", address)


@contextmanager
def attempt(what: str) -> Iterator[None]:
    """Around what is given to MLflow: where that fails, it is reported on stderr, and nothing is stopped."""
    try:
        yield
    except Exception as error:  # whatever MLflow raises
        reason = redacted((str(error) or type(error).__name__).splitlines()[0])
        print(f"MLflow has not taken {what} ({reason})", file=sys.stderr)


if __name__ == "__main__":
    start(main, Options)
