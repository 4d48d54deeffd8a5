"""What the sections of the page about models show, as values for `templates/models.html`.

Each section opens with a sentence from `reports.summaries` that is computed from its figures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from bonestrap.protocols.bootstrap import Bootstrap
from evaluation.predictions import Predictions
from evaluation.run_record import RunRecord
from reports import charts, figures, summaries
from reports.charts import Axis, Line, Lines, Segment
from reports.figures import Confusion
from reports.palette import OKABE_ITO, class_look, model_colour, stage_colours

HEAD = (
    "model", "stage", "encoder", "parameters", "labels", "test accuracy", "95 % (Wilson)", "95 % (bootstrap)",
    "latency (ms per clip)", "own cost (device-hours)", "total cost (device-hours)", "evaluated with", "seed", "data",
    "commit",
)  # fmt: skip

Values = dict[str, Any]


def accuracy(records: Sequence[RunRecord]) -> Values:
    """Accuracy against parameters and against latency."""
    shown = figures.accuracies(records)
    drawn = [charts.scatter(shown, [float(point.parameters) for point in shown.points], "parameters (log scale)")]
    timed = [point for point in shown.points if point.latency_ms is not None]
    if timed:
        some = figures.Accuracies(points=tuple(timed), floors=shown.floors)
        times = [point.latency_ms or 0.0 for point in timed]
        drawn.append(charts.scatter(some, times, "latency per clip, one CPU thread (ms, log scale)"))
    return {
        "lead": summaries.choice(records),
        "charts": drawn,
        "hollow": any(not point.classifies for point in shown.points),
        "machines": sorted({one.machine or "an unrecorded machine" for one in records if one.latency_ms is not None}),
    }


def results(records: Sequence[RunRecord]) -> Values:
    """All models with all that is known of them, classifiers before encoders, the most accurate first."""
    order = sorted(enumerate(records), key=lambda pair: (not pair[1].classifies, -pair[1].shown.model.accuracy))
    return {"lead": summaries.table(records), "head": HEAD, "rows": [_row(number, one) for number, one in order]}


def _row(number: int, one: RunRecord) -> Values:
    measured, fraction = one.shown.model, one.lineage.get("labels")
    return {
        "name": one.name,
        "colour": model_colour(number),
        "missed": one.shown.missed,
        "cells": (
            one.description.stage,
            one.description.encoder.label,
            f"{one.parameters:,}",
            "–" if fraction is None else f"{100 * fraction:.4g}%",
            f"{measured.accuracy:.1%}",
            f"{measured.low:.1%} to {measured.high:.1%}",
            _resampled(measured.bootstrap),
            summaries.latency(one),
            summaries.hours(one.costs[-1].hours),
            summaries.hours(one.hours),
            summaries.evaluated(one.shown),
            str(one.result["seed"]),
        ),
        "codes": (one.lineage["digest"][:8], _short(one.info["commit"])),
    }


def _resampled(interval: Bootstrap | None) -> str:
    return "–" if interval is None else f"{interval.low:.1%} to {interval.high:.1%}, {interval.units:,} {interval.unit}"


def _short(commit: str) -> str:
    return commit[:8] + ("+changes" if commit.endswith("+changes") else "")


def cost(records: Sequence[RunRecord]) -> Values:
    """Device-hours of whole lineages, one bar a model, the cheapest first."""
    longest = max(one.hours for one in records)
    colours = stage_colours([part.stage for one in records for part in one.costs])
    rows = []
    for one in sorted(records, key=lambda one: one.hours):
        parts = [
            (part.hours, f"{part.run}: {part.hours:.4f} device-hours", "", colours[part.stage]) for part in one.costs
        ]
        path = " → ".join(f"{part.run} {summaries.hours(part.hours)}" for part in one.costs)
        segments = charts.stacked(parts, longest)
        rows.append({"name": one.name, "segments": segments, "hours": summaries.hours(one.hours), "path": path})
    hardware = "; ".join(sorted({one.info["hardware"] for one in records}))
    return {
        "lead": f"{summaries.cost(records)} Hardware: {hardware}.",
        "rows": rows,
        "legend": [{"name": stage, "colour": colour} for stage, colour in colours.items()],
    }


def classifiers(records: Sequence[RunRecord], predictions: Predictions) -> list[tuple[str, str, Confusion]]:
    """Name, colour and confusion matrix of the models that know classes."""
    classes = tuple(predictions.data.manifest.classes)
    return [
        (one.name, model_colour(number), Confusion(counts=made.table, classes=classes))
        for number, (one, made) in enumerate(zip(records, predictions.each, strict=True))
        if made.table is not None
    ]


def recall(known: Sequence[tuple[str, str, Confusion]]) -> Values | None:
    """Per-class recall, a bar a model."""
    if not known:
        return None
    rows = []
    for one in figures.recalls([matrix for _, _, matrix in known]):
        bars = [
            Segment(
                start=0,
                width=percent,
                title=f"{name}, {one.name}: {right:,} of {one.recordings:,}",
                colour=colour,
            )
            for (name, colour, _), percent, right in zip(known, one.percent, one.right, strict=True)
        ]
        rows.append({"name": one.name, "recordings": one.recordings, "bars": bars})
    best, _, matrix = max(known, key=lambda one: one[2].right)
    return {
        "lead": summaries.classes(best, matrix),
        "rows": rows,
        "legend": [{"name": name, "colour": colour} for name, colour, _ in known],
    }


def confusion(known: Sequence[tuple[str, str, Confusion]]) -> Values:
    """Confusion matrices, the most accurate model's first."""
    matrices = [
        {"name": name, "lead": summaries.confused(name, matrix), "grid": charts.confusion(matrix)}
        for name, _, matrix in sorted(known, key=lambda one: -one[2].right)
    ]
    return {"lead": matrices[0]["lead"] if matrices else "", "matrices": matrices}


def features(records: Sequence[RunRecord], predictions: Predictions) -> Values:
    """Test recordings by the features of every model, on a plane; without scikit-learn no maps."""
    rows = predictions.mapped
    classes, truth = predictions.data.manifest.classes, predictions.truth[rows]
    names = [one.name for one in records]
    nearest = [predictions.neighbours(number) for number in range(len(records))]
    try:
        clouds = [
            charts.cloud(figures.embedding(made.features.numpy()[rows], truth, classes)) for made in predictions.each
        ]
    except ImportError:
        clouds = None
    return {
        "lead": summaries.neighbours(names, nearest, len(classes)),
        "maps": clouds
        and [
            {"name": name, "cloud": cloud, "neighbours": fraction}
            for name, cloud, fraction in zip(names, clouds, nearest, strict=True)
        ],
        "looks": [(name, *class_look(label)) for label, name in enumerate(classes)],
        "count": len(rows),
    }


def curves(records: Sequence[RunRecord]) -> Values:
    """Loss and accuracies over the steps of every run."""
    best = max(summaries.recognisers(records) or records, key=lambda one: one.shown.model.accuracy)
    runs = [{"name": one.name, "lead": summaries.curves(one), "charts": _curves(one)} for one in records]
    return {"lead": f"{best.name}: {summaries.curves(best)}.", "runs": runs}


def _curves(one: RunRecord) -> list[Lines]:
    drawn = []
    steps, losses = one.curve("loss")
    x = Axis(title="optimizer steps", low=0, high=max([line["step"] for line in one.journal] + [1]))
    if losses:
        y = Axis(title="training loss", low=min(0.0, *losses), high=max(losses) * 1.05)
        drawn.append(Lines(x=x, y=y, curves=(Line(name="loss", x=steps, y=losses, colour=OKABE_ITO[0]),)))
    fractions = tuple(
        Line(name=called, x=points[0], y=[100 * value for value in points[1]], colour=OKABE_ITO[1 + number])
        for number, (metric, called) in enumerate(summaries.FRACTIONS.items())
        if (points := one.curve(metric))[0]
    )
    if fractions:
        title = fractions[0].name if len(fractions) == 1 else "accuracy"
        drawn.append(Lines(x=x, y=Axis(title=f"{title} (%)", low=0, high=100), curves=fractions))
    return drawn


def augmented(records: Sequence[RunRecord], scene: Sequence[Values]) -> Values:
    """Recordings beside what augmentation made of them; the page's script draws them."""
    clip = records[0].description.clip
    lengths = [shown["clips"][0]["total"] for shown in scene]
    how = "resampled to" if clip.fit else "cropped or looped to"
    span = f"{min(lengths)} to {max(lengths)}" if min(lengths) < max(lengths) else f"{max(lengths)}"
    return {
        "lead": f"Training recordings of {span} frames, {how} {clip.frames} frames; "
        "one sample of each augmentation pipeline."
    }


def markdown(text: str) -> list[Values]:
    """The Markdown of model cards (headings, lists, paragraphs, bold, code) as blocks for the template."""
    blocks: list[Values] = []
    for line in filter(None, text.splitlines()):
        if line.startswith("- "):
            if not blocks or blocks[-1]["kind"] != "list":
                blocks.append({"kind": "list", "lines": []})
            blocks[-1]["lines"].append(_inline(line[2:]))
        elif line.startswith("#"):
            blocks.append({"kind": "heading", "lines": [_inline(line.lstrip("# "))]})
        else:
            blocks.append({"kind": "paragraph", "lines": [_inline(line)]})
    return blocks


def _inline(line: str) -> list[tuple[str, str]]:
    """(kind, text) of the parts of a line: text, bold or code."""
    parts = []
    for part in re.split(r"(`[^`]+`|\*\*.+?\*\*)", line):
        if len(part) > 2 and part[0] == part[-1] == "`":
            parts.append(("code", part[1:-1]))
        elif len(part) > 4 and part.startswith("**") and part.endswith("**"):
            parts.append(("bold", part[2:-2]))
        elif part:
            parts.append(("text", part))
    return parts
