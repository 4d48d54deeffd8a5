"""What an evaluation found: as text, as JSON, and kept beside the model, in its journal and in MLflow."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bonestrap.files import write_atomically
from bonestrap.protocols.scores import ClassScore, Scores
from distributed import tracking
from evaluation.run_record import recorded
from evaluation.scoring import Episodes, Figures, LongTail, Repeated, Search, interval
from shards.storage.redaction import redacted

Results = Mapping[str, Mapping[str, Figures]]  # by what was measured, then by candidate


def headline(figures: Figures) -> tuple[str, float]:
    """The one figure that counts, and its name."""
    if isinstance(figures, LongTail):
        return "balanced", figures.balanced
    if isinstance(figures, Search):
        return "mAP", figures.precision
    return "accuracy", figures.accuracy


def as_json(results: Results, classes: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
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


def table(results: Results) -> Iterator[str]:
    """One line a candidate under a heading a measurement; what stays below a floor says so."""
    for name, each in results.items():
        if len(results) > 1:
            yield f" {name}"
        first, *floors = (headline(figures)[1] for figures in each.values())
        below = [who for who, floor in zip(list(each)[1:], floors, strict=True) if first < floor]
        for who, figures in each.items():
            note = f"   below {' and '.join(below)}" if below and who == next(iter(each)) else ""
            yield f"  {who:16} {_line(figures)}{note}"


def class_table(results: Results, classes: Sequence[str]) -> Iterator[str]:
    """Recall and precision of every class, for the model alone."""
    width = max(map(len, classes))
    for name, each in results.items():
        figures = next(iter(each.values()))
        if isinstance(figures, Episodes | Search):
            continue
        yield f"  {name:{width}}  recordings  recall  precision"
        for title, row in zip(classes, figures.classes, strict=True):
            recall, precision = ("–" if share is None else f"{share:.1%}" for share in (row.recall, row.precision))
            yield f"  {title:{width}}  {row.recordings:10}  {recall:>6}  {precision:>9}"


def _line(figures: Figures) -> str:
    what, share = headline(figures)
    if isinstance(figures, Search):
        recalls = f"{figures.recall1:.1%}, {figures.recall5:.1%}, {figures.recall10:.1%}"
        return f"{share:6.1%} {what}   recall at 1, 5, 10: {recalls}   of {figures.queries}"
    if isinstance(figures, Scores):
        said = interval(figures.low, figures.high, "Wilson", figures.bootstrap)
        more = f"   top-5 {figures.top5:.1%}   balanced {figures.balanced:.1%}   of {figures.recordings}"
        return f"{share:6.1%}   {said}{more}"
    drawn = figures.bootstrap if isinstance(figures, Repeated) else None
    spread = f"{share:6.1%} ± {figures.deviation:.1%}   {interval(figures.low, figures.high, 'over draws', drawn)}"
    if isinstance(figures, Repeated):
        each = f"{figures.least}" if figures.least == figures.most else f"{figures.least} to {figures.most}"
        more = f"top-5 {figures.top5:.1%}   balanced {figures.balanced:.1%}   {figures.labels} labels, {each} a class"
        more += f"   {len(figures.runs)} draws"
    elif isinstance(figures, Episodes):
        more = f"{figures.ways} novel classes, {figures.shots} shot, {figures.episodes} draws"
    else:
        thirds = ", ".join("–" if t is None else f"{t:.1%}" for t in (figures.common, figures.between, figures.rare))
        more = f"balanced; common, between, rare: {thirds}   top-1 {figures.accuracy:.1%}   {len(figures.runs)} draws"
    return f"{spread}   {more}"


def record(
    model: Path, on: str, results: dict[str, dict[str, dict[str, Any]]], metrics: Mapping[str, float], *, track: bool
) -> None:
    """Keep the results, as JSON, beside the model, and the metrics in its run's journal and, to `track`, in MLflow."""
    folder = next((p for p in (model, model.parent) if (p / "run.json").exists()), None)
    if folder is None:
        return
    file = folder / "evaluation.json"
    known = recorded(file) if file.exists() else {}
    known |= {name if on == "test" else f"{name} on held-out": each for name, each in results.items()}
    write_atomically(file, json.dumps(known, indent=2) + "\n")
    tracking.add(folder, dict(metrics))
    if track and tracking.about(folder):
        try:
            tracking.replay(folder)
        except Exception as error:  # an evaluation is not lost because MLflow is away
            print(redacted(f"MLflow has not taken the result ({error}); it stands in {file}"), file=sys.stderr)


def metrics(on: str, results: Results) -> dict[str, float]:
    """The headline of every candidate by the name that MLflow gets; of the model also by what it is."""
    out = {}
    for name, each in results.items():
        metric = ("" if on == "test" else "held_out_") + re.sub(r"[^\w.-]", "_", name)
        (_, figures), *floors = each.items()
        out[f"{metric}/{headline(figures)[0]}"] = headline(figures)[1]
        out |= {f"{metric}/{who.replace(' ', '_')}": headline(floor)[1] for who, floor in floors}
    return out
