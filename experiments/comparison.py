"""Trained models side by side: one row a run, from what MLflow has of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bonestrap.encoders import ENCODERS
from evaluation.text_table import Column, aligned
from experiments.mlflow_runs import Run

ROOTS = ("pretrained", "scratch")  # stages that start from no other model


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model. None where it was not measured."""

    model: str
    stage: str
    encoder: str
    parameters: int | None
    labels: float | None  # fraction of the training labels, over the whole lineage
    accuracy: float | None  # on the test recordings
    latency_ms: float | None  # one clip, one CPU
    own_device_hours: float | None
    total_device_hours: float | None  # with all ancestors; None where MLflow does not have them all
    split: str
    data: str  # digest of the packed recordings
    seed: int | None
    status: str
    lineage: tuple[str, ...]  # the models it came from, nearest first
    run_dir: str
    run_id: str
    report: str  # address of the page about it; empty where there is none


def compare(runs: Iterable[Run]) -> list[Row]:
    """One row a run: data and split together, the best first, what was not tested last."""
    known = {run.id: run for run in runs}
    rows = [row(run, known) for run in known.values()]
    return sorted(rows, key=lambda row: (row.data, row.split, -(row.accuracy or 0), row.lineage, row.model))


def row(run: Run, known: Mapping[str, Run]) -> Row:
    """The row of a run; `known` has its ancestors by their MLflow ids."""
    ancestors = list(lineage(run, known))
    labels = [number(of, "labels") for of in (run, *ancestors)]
    seed, parameters = number(run, "seed"), number(run, "parameters")
    return Row(
        model=run.name,
        stage=run.tags.get("bonestrap.stage", ""),
        encoder=encoder_label(run),
        parameters=None if parameters is None else int(parameters),
        labels=max((fraction for fraction in labels if fraction is not None), default=None),
        accuracy=number(run, "test/accuracy"),
        latency_ms=number(run, "latency_ms"),
        own_device_hours=number(run, "device_hours"),
        total_device_hours=total_hours(run, ancestors),
        split=run.params.get("split", run.params.get("protocol", "")),  # the older name
        data=run.data,
        seed=None if seed is None else int(seed),
        status=run.status.lower(),
        lineage=tuple(ancestor.name for ancestor in ancestors),
        run_dir=run.tags.get("bonestrap.run_dir", ""),
        run_id=run.id,
        report=run.tags.get("bonestrap.report", ""),
    )


def encoder_label(run: Run) -> str:
    """What a table calls the run's encoder. Older runs logged its kind and its width instead of a label."""
    logged, width = run.params.get("encoder", ""), number(run, "width")
    if logged not in ENCODERS or width is None:
        return logged
    try:
        return ENCODERS[logged](**{"width": width}).label
    except (TypeError, ValueError):  # a parameter that somebody has changed
        return logged


def lineage(run: Run, known: Mapping[str, Run]) -> Iterator[Run]:
    """The runs that this one started from, nearest first, as far as MLflow still has them."""
    seen = {run.id}
    while (parent := known.get(run.tags.get("bonestrap.parent", ""))) and parent.id not in seen:
        seen.add(parent.id)
        yield parent
        run = parent


def total_hours(run: Run, ancestors: Sequence[Run]) -> float | None:
    """Device-hours of a run and of all that it came from.

    A run logs what its ancestors took, from the lineage of their models. Where an older one does not, theirs are added
    up, as far as the first that does; None where one of them is missing.
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


COLUMNS: dict[Column, Callable[[Row], str]] = {
    Column("model", text=True): lambda row: row.model + ("" if row.status == "finished" else f" ({row.status})"),
    Column("stage", text=True): lambda row: row.stage,
    Column("encoder", text=True): lambda row: row.encoder,
    Column("parameters"): lambda row: cell(row.parameters, ","),
    Column("labels", "%"): lambda row: cell(row.labels, "g", 100),
    Column("accuracy", "%"): lambda row: cell(row.accuracy, ".1f", 100),
    Column("latency", "ms a clip"): lambda row: cell(row.latency_ms, ".1f"),
    Column("own cost", "device-hours"): lambda row: cell(row.own_device_hours, ".3f"),
    Column("total cost", "device-hours"): lambda row: cell(row.total_device_hours, ".3f"),
    Column("seed"): lambda row: cell(row.seed, "d"),
    Column("lineage", text=True): lambda row: " <- ".join(row.lineage),
}


def cell(value: float | None, form: str, scale: int = 1) -> str:
    """A number in its format; a dash where there is none."""
    return "–" if value is None else format(value * scale, form)


def table(rows: Sequence[Row]) -> str:
    """Aligned text under a heading for every set of recordings and split, and where the pages about models are."""
    laid = aligned(list(COLUMNS), [[show(row) for show in COLUMNS.values()] for row in rows])
    lines, before = [*laid.head, "─" * laid.width], None
    for row, line in zip(rows, laid.body, strict=True):
        if (row.data, row.split) != before:
            before = (row.data, row.split)
            lines += ["", f"data {row.data[:8] or '–'}, split {row.split or '–'}"]
        lines.append(line)
    reports: dict[str, list[str]] = {}
    for row in rows:
        if row.report:
            reports.setdefault(row.report, []).append(row.model)
    lines += ["", "reports"] if reports else []
    lines += [f"{', '.join(models)}: {address}" for address, models in reports.items()]
    return "\n".join(lines)
