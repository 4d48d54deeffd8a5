#!/usr/bin/env python3
"""Compare what has been trained: one row a model, read from MLflow.

A model's labels are those of its whole lineage: a student that learned from a teacher fine-tuned on 5 % of the labels
has used 5 %. Accuracy is that of the test recordings, latency is for one clip on one CPU. The own cost is that of the
run itself, the total cost that of the run and of all that it came from, as in the report. Below the table stands where
the page about a model lies, if one was kept.

Examples:
  python launch/compare.py
  python launch/compare.py --experiment demo --json
  python launch/compare.py --tracking-uri http://localhost:5000
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bonestrap.options import UserError, option
from distributed.mlflow_sync import missing
from distributed.tracking import database, default_uri
from launch.cli.parser import start
from shards.storage.redaction import shown as shown_address

ROOTS = ("pretrained", "scratch")  # stages that start from no other model
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


@dataclass(frozen=True, kw_only=True)
class Options:
    experiment: str | None = option(None, "only the runs of this MLflow experiment")
    tracking_uri: str | None = option(
        None, "MLflow server or store; else MLFLOW_TRACKING_URI, else sqlite:///mlflow.db"
    )
    json: bool = option(False, "print the rows as JSON")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run, as MLflow has it."""

    id: str
    name: str
    status: str = "FINISHED"
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    data: str = ""  # digest of the packed recordings


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model. None where nobody measured it."""

    model: str
    stage: str
    encoder: str
    width: float | None
    parameters: int | None
    labels: float | None  # share of the training labels, over the whole lineage
    accuracy: float | None  # share of the test recordings
    latency_ms: float | None  # one clip, one CPU
    own_device_hours: float | None
    total_device_hours: float | None  # with all ancestors; None where MLflow does not have them all
    protocol: str
    data: str  # digest of the packed recordings
    seed: int | None
    status: str
    lineage: tuple[str, ...]  # the models it came from, nearest first
    run_dir: str
    run_id: str
    report: str  # address of the page about it; empty where none was kept


def main(options: Options) -> None:
    uri = options.tracking_uri or default_uri()
    rows = compare(read(uri, options.experiment))
    if not rows:
        where = f"experiment {options.experiment} of {uri}" if options.experiment else uri
        raise UserError(f"{where} holds no Bonestrap run yet: start with launch/pretrain.py, or make demo")
    print(json.dumps([asdict(row) for row in rows], indent=2) if options.json else table(rows))


def read(uri: str, experiment: str | None) -> list[Run]:
    """Every run that a Bonestrap command has logged. UserError where MLflow cannot be read."""
    file = database(uri)
    if uri.startswith("sqlite:///") and not file.is_file():  # MLflow would create an empty one
        raise UserError(
            f"{file} does not exist: run from the folder that holds it, give --tracking-uri, or train first"
        )
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise UserError("comparing reads MLflow, which is not installed: pip install -e '.[train]'") from None
    try:
        return [
            Run(
                id=run.info.run_id, name=run.info.run_name, status=run.info.status,
                params=run.data.params, metrics=run.data.metrics, tags=run.data.tags,
                data=next((used.dataset.digest for used in run.inputs.dataset_inputs), ""),
            )
            for run in search(MlflowClient(uri), experiment)
        ]  # fmt: skip
    except ImportError as error:  # MLflow itself, or the driver of a database
        raise UserError(f"MLflow at {shown_address(uri)} cannot be read: {missing(error)}; pip install it") from None
    except MlflowException as error:
        raise UserError(
            f"MLflow at {uri} cannot be read ({str(error).splitlines()[0]}): check --tracking-uri"
        ) from None


def search(client: Any, experiment: str | None) -> Iterator[Any]:
    found = [client.get_experiment_by_name(experiment)] if experiment else client.search_experiments()
    ids = [each.experiment_id for each in found if each]
    token = None
    while ids:
        page = client.search_runs(ids, "tags.`bonestrap.stage` != ''", max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def compare(runs: Iterable[Run]) -> list[Row]:
    """One row a run: data and protocol together, the best first, what was not tested last."""
    known = {run.id: run for run in runs}
    rows = [row(run, known) for run in known.values()]
    return sorted(rows, key=lambda row: (row.data, row.protocol, -(row.accuracy or 0), row.lineage, row.model))


def row(run: Run, known: Mapping[str, Run]) -> Row:
    ancestors = list(lineage(run, known))
    labels = [number(of, "labels") for of in (run, *ancestors)]
    seed, parameters = number(run, "seed"), number(run, "parameters")
    return Row(
        model=run.name,
        stage=run.tags.get("bonestrap.stage", ""),
        encoder=run.params.get("encoder", ""),
        width=number(run, "width"),
        parameters=None if parameters is None else int(parameters),
        labels=max((share for share in labels if share is not None), default=None),
        accuracy=number(run, "test/accuracy"),
        latency_ms=number(run, "latency_ms"),
        own_device_hours=number(run, "device_hours"),
        total_device_hours=total_hours(run, ancestors),
        protocol=run.params.get("protocol", ""),
        data=run.data,
        seed=None if seed is None else int(seed),
        status=run.status.lower(),
        lineage=tuple(ancestor.name for ancestor in ancestors),
        run_dir=run.tags.get("bonestrap.run_dir", ""),
        run_id=run.id,
        report=run.tags.get("bonestrap.report", ""),
    )


def lineage(run: Run, known: Mapping[str, Run]) -> Iterator[Run]:
    """The runs that this one started from, nearest first; it ends at a run that MLflow no longer has."""
    seen = {run.id}
    while (parent := known.get(run.tags.get("bonestrap.parent", ""))) and parent.id not in seen:
        seen.add(parent.id)
        yield parent
        run = parent


def total_hours(run: Run, ancestors: Sequence[Run]) -> float | None:
    """Device-hours of a run and of all that it came from.

    A run says what its ancestors took, from the lineage of their models. Where an older one does not, theirs are added
    up, as far as the first that says it; None where one of them is missing.
    """
    total = 0.0
    for each in (run, *ancestors):
        own, before = number(each, "device_hours"), number(each, "ancestors_device_hours")
        if own is None:
            return None
        total += own
        if before is not None:
            return total + before
    last = (run, *ancestors)[-1]
    return total if last.tags.get("bonestrap.stage") in ROOTS and not last.tags.get("bonestrap.parent") else None


def number(run: Run, name: str) -> float | None:
    """A metric or else a parameter, as a number; None where there is none."""
    try:
        return float(run.metrics.get(name, run.params.get(name, "")))
    except ValueError:
        return None


COLUMNS: tuple[tuple[str, str, Callable[[Row], str]], ...] = (
    ("model", "", lambda row: row.model + ("" if row.status == "finished" else f" ({row.status})")),
    ("stage", "", lambda row: row.stage),
    ("encoder", "", lambda row: row.encoder),
    ("width", "", lambda row: shown(row.width, "g")),
    ("parameters", "", lambda row: shown(row.parameters, ",")),
    ("labels", "%", lambda row: shown(row.labels, "g", 100)),
    ("accuracy", "%", lambda row: shown(row.accuracy, ".1f", 100)),
    ("latency", "ms a clip", lambda row: shown(row.latency_ms, ".1f")),
    ("own cost", "device-hours", lambda row: shown(row.own_device_hours, ".3f")),
    ("total cost", "device-hours", lambda row: shown(row.total_device_hours, ".3f")),
    ("seed", "", lambda row: shown(row.seed, "d")),
    ("made from", "", lambda row: " <- ".join(row.lineage)),
)
TEXT = {"model", "stage", "encoder", "made from"}


def shown(value: float | None, form: str, scale: int = 1) -> str:
    return "–" if value is None else format(value * scale, form)


def table(rows: list[Row]) -> str:
    """Aligned plain text: units under the names, and a heading for every set of recordings and protocol."""
    body = [[cell(row) for *_, cell in COLUMNS] for row in rows]
    head = [[name for name, *_ in COLUMNS], [unit for _, unit, _ in COLUMNS]]
    widths = [max(map(len, column)) for column in zip(*head, *body, strict=True)]
    aligned = ["<" if name in TEXT else ">" for name, *_ in COLUMNS]

    def line(cells: list[str]) -> str:
        return "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(cells, aligned, widths, strict=True)
        ).rstrip()

    lines = [*map(line, head), "─" * (sum(widths) + 2 * (len(widths) - 1))]
    before = None
    for row, cells in zip(rows, body, strict=True):
        if (row.data, row.protocol) != before:
            before = (row.data, row.protocol)
            lines += ["", f"data {row.data[:8] or '–'}, protocol {row.protocol or '–'}"]
        lines.append(line(cells))
    reports: dict[str, list[str]] = {}
    for row in rows:
        if row.report:
            reports.setdefault(row.report, []).append(row.model)
    lines += ["", "reports"] if reports else []
    lines += [f"{', '.join(models)}: {address}" for address, models in reports.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    start(main, Options)
