"""What an evaluation found: as plain values, kept beside the model, in its journal and in MLflow."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bonestrap.protocols.scores import ClassScore
from distributed import tracking
from evaluation import evaluation_file, run_record
from evaluation.evaluation_file import Evaluations
from evaluation.scoring import Clusters, Figures, Generalised, LongTail, Search
from shards.storage.redaction import redacted

Results = Mapping[str, Mapping[str, Figures]]  # by evaluation, then by candidate, the model first


def headline(figures: Figures) -> tuple[str, float]:
    """The one figure that counts, and its name."""
    if isinstance(figures, LongTail):
        return "balanced", figures.balanced
    if isinstance(figures, Search):
        return "mAP", figures.precision
    if isinstance(figures, Generalised):
        return "harmonic", figures.harmonic
    if isinstance(figures, Clusters):
        return "silhouette", figures.silhouette
    return "accuracy", figures.accuracy


def as_json(results: Results, classes: Sequence[str]) -> Evaluations:
    """Plain values; classes by their names."""

    def plain(figures: Figures) -> dict[str, Any]:
        fields = figures._asdict()
        if fields.get("bootstrap"):
            fields["bootstrap"] = dataclasses.asdict(fields["bootstrap"])
        if "classes" in fields:
            rows: Sequence[ClassScore] = fields["classes"]
            fields["classes"] = [{"class": n, **row._asdict()} for n, row in zip(classes, rows, strict=True)]
        return fields

    return {name: {who: plain(figures) for who, figures in each.items()} for name, each in results.items()}


def save(model: Path, on: str, results: Evaluations, metrics: Mapping[str, float], *, track: bool) -> None:
    """Keep the results, as JSON, beside the model, and the metrics in its run's journal and, to `track`, in MLflow."""
    run = run_record.home(model)
    if run is None:
        return
    evaluation_file.write(
        run, {name if on == "test" else f"{name} on held-out": each for name, each in results.items()}
    )
    tracking.add(run, dict(metrics))
    if track and tracking.about(run):
        try:
            tracking.replay(run)
        except Exception as error:  # an evaluation is not lost because MLflow is away
            file = run / evaluation_file.FILE
            print(redacted(f"MLflow has not taken the result ({error}); {file} has it"), file=sys.stderr)


def metrics(on: str, results: Results) -> dict[str, float]:
    """The figures of the model and the headline of its floors, by the names that MLflow gets."""
    out: dict[str, float] = {}
    for name, each in results.items():
        metric = ("" if on == "test" else "held_out_") + re.sub(r"[^\w.-]", "_", name)
        (_, figures), *floors = each.items()
        out |= figures_of(metric, figures)
        out |= {f"{metric}/{who.replace(' ', '_')}": headline(floor)[1] for who, floor in floors}
    return out


def figures_of(name: str, figures: Figures) -> dict[str, float]:
    """What a table of models has of one evaluation: the headline with its 95 % intervals, balanced and top-5 accuracy.

    `_low` and `_high` are Wilson's, or of the mean over draws; `_bootstrap_low` and `_bootstrap_high` are drawn over
    groups of recordings that depend on each other.
    """
    headed, value = headline(figures)
    fields = figures._asdict()
    out = {f"{name}/{headed}": value}
    if "low" in fields:
        out |= {f"{name}/{headed}_low": fields["low"], f"{name}/{headed}_high": fields["high"]}
    if drawn := fields.get("bootstrap"):
        out |= {f"{name}/{headed}_bootstrap_low": drawn.low, f"{name}/{headed}_bootstrap_high": drawn.high}
    others = {"balanced": "balanced_accuracy", "top5": "top5_accuracy"}
    return out | {f"{name}/{shown}": fields[key] for key, shown in others.items() if key in fields and key != headed}
