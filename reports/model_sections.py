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
from reports import mistakes as errors
from reports.charts import Axis, Line, Lines, Segment
from reports.figures import Confusion
from reports.palette import GREY, class_look, model_colour
from reports.standings import Standing

HEAD = (
    ("model", ""), ("stage", ""), ("encoder", ""), ("parameters", ""), ("labels", ""), ("test accuracy", ""),
    ("to the best", "points, 95 %"), ("95 %", "Wilson"), ("95 %", "bootstrap"), ("latency", "ms per clip"),
    ("own cost", "device-hours"), ("total cost", "device-hours"), ("evaluated with", ""), ("seed", ""), ("data", ""),
    ("commit", ""),
)  # fmt: skip

LISTED = 10  # most frequent errors beside a confusion matrix
RAW = "raw_joints"  # in the journal
KINDS = {"train_accuracy": "dashed", "knn": "dashed", RAW: "dotted"}  # of lines; the others are solid

Values = dict[str, Any]


def accuracy(records: Sequence[RunRecord], found: Sequence[Standing]) -> Values:
    """Accuracy against parameters and against latency."""
    shown = figures.accuracies(records)
    sizes = [float(point.parameters) for point in shown.points]
    drawn = [charts.scatter(shown, sizes, "parameters (log scale)", "Test accuracy against size")]
    timed = [point for point in shown.points if point.latency_ms is not None]
    if timed:
        some = figures.Accuracies(points=tuple(timed), floors=shown.floors)
        times = [point.latency_ms or 0.0 for point in timed]
        drawn.append(
            charts.scatter(some, times, "ms per clip, one CPU thread (log scale)", "Test accuracy against latency")
        )
    return {
        "lead": summaries.choice(records, found),
        "charts": drawn,
        "hollow": any(not point.classifies for point in shown.points),
        "machines": sorted({one.machine or "an unrecorded machine" for one in records if one.latency_ms is not None}),
    }


def results(records: Sequence[RunRecord], found: Sequence[Standing]) -> Values:
    """All models with all that is known of them, classifiers before encoders, the most accurate first."""
    order = sorted(enumerate(records), key=lambda pair: (not pair[1].classifies, -pair[1].shown.model.accuracy))
    gaps = {one.record.name: "best" if one is found[0] else summaries.gap(one) for one in found}
    rows = [_row(number, one, gaps.get(one.name, "–")) for number, one in order]
    return {"lead": summaries.table(records), "head": HEAD, "rows": rows}


def _row(number: int, one: RunRecord, gap: str) -> Values:
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
            gap,
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
    shown = {one.name: model_colour(number) for number, one in enumerate(records)}
    rows = []
    for one in sorted(records, key=lambda one: one.hours):
        parts = [
            (part.hours, f"{part.run}: {part.hours:.4f} device-hours", "", shown.get(part.run, GREY))
            for part in one.costs
        ]
        path = " → ".join(f"{part.run} {summaries.hours(part.hours)}" for part in one.costs)
        segments = charts.stacked(parts, longest)
        own = {"name": one.name, "colour": shown[one.name], "hours": summaries.hours(one.hours)}
        rows.append({**own, "segments": segments, "path": path})
    others = dict.fromkeys(part.run for one in records for part in one.costs if part.run not in shown)
    hardware = "; ".join(sorted({one.info["hardware"] for one in records}))
    return {
        "lead": f"{summaries.cost(records)} Hardware: {hardware}.",
        "rows": rows,
        "legend": [
            *({"name": name, "colour": colour} for name, colour in shown.items()),
            *({"name": f"{name} (not on this page)", "colour": GREY} for name in others),
        ],
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
        {
            "name": name,
            "colour": colour,
            "lead": summaries.confused(name, matrix),
            "grid": charts.confusion(matrix),
            "errors": charts.mistaken(figures.errors(matrix, LISTED)),
        }
        for name, colour, matrix in sorted(known, key=lambda one: -one[2].right)
    ]
    return {"lead": matrices[0]["lead"] if matrices else "", "matrices": matrices}


def mistakes(
    records: Sequence[RunRecord], predictions: Predictions, known: Sequence[tuple[str, str, Confusion]]
) -> Values | None:
    """The most frequent errors of the most accurate model, as moving skeletons; None where nothing is confused."""
    if not known:
        return None
    best, _, matrix = max(known, key=lambda one: one[2].right)
    predicted = next(made.predicted for one, made in zip(records, predictions.each, strict=True) if one.name == best)
    assert predicted is not None
    found = errors.mistakes(matrix, predicted, predictions)
    lead = (
        f"The most frequent errors of {best}: a test recording that is taken for another class, beside a recording of "
        "that class."
    )
    return {"lead": lead, **found} if found["pairs"] else None


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
            {"name": name, "colour": model_colour(number), "cloud": cloud, "neighbours": fraction}
            for number, (name, cloud, fraction) in enumerate(zip(names, clouds, nearest, strict=True))
        ],
        "looks": [(name, *class_look(label)) for label, name in enumerate(classes)],
        "count": len(rows),
    }


def curves(records: Sequence[RunRecord]) -> Values:
    """Loss and accuracies over the steps of every run."""
    best = max(summaries.recognisers(records) or records, key=lambda one: one.shown.model.accuracy)
    runs = [
        {
            "name": one.name,
            "colour": model_colour(number),
            "lead": summaries.curves(one),
            "charts": _curves(one, model_colour(number)),
        }
        for number, one in enumerate(records)
    ]
    return {"lead": f"{best.name}: {summaries.curves(best)}.", "runs": runs}


def _curves(one: RunRecord, colour: str) -> list[Lines]:
    """The loss, and beside it what was measured on validation subjects; raw joints do not change, and are a line."""
    drawn = []
    steps, losses = one.curve("loss")
    last = max([line["step"] for line in one.journal] + [1])
    x = Axis(title="optimizer steps", low=0, high=last)
    if losses:
        y = Axis(title="training loss", low=min(0.0, *losses), high=max(losses) * 1.05)
        drawn.append(Lines(x=x, y=y, curves=(Line(name="loss", x=steps, y=losses, colour=colour),)))
    fractions = []
    for metric, called in summaries.FRACTIONS.items():
        places, values = one.curve(metric)
        if not places:
            continue
        if metric == RAW:
            places, values = [0, last], [values[-1]] * 2
        own = GREY if metric == RAW else colour
        curve = Line(name=called, x=places, y=[100 * value for value in values], colour=own, kind=KINDS.get(metric, ""))
        fractions.append(curve)
    if fractions:
        title = fractions[0].name if len(fractions) == 1 else "accuracy"
        y = Axis(title=f"{title} (%)", low=0, high=100)
        drawn.append(Lines(x=x, y=y, curves=tuple(fractions)))
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
