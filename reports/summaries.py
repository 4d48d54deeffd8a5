"""What a report says in words: a sentence or two for each section, computed from its figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation.run_record import Evaluation, RunRecord
from evaluation.scoring import interval
from reports.figures import RAW_JOINTS, Confusion
from reports.standings import Standing

HALF = 50.0  # percent
FRACTIONS = {  # metrics of the journal that are fractions in 0..1, and what they are called
    "validation_accuracy": "validation subjects",
    "train_accuracy": "training accuracy, augmented clips",
    "agreement": "agreement with the teacher",
    "linear": "linear probe, validation subjects",
    "knn": "kNN, validation subjects",
    "raw_joints": "raw joints, validation subjects",
}


def headline(found: Sequence[Standing]) -> str:
    """What the page says, in one sentence."""
    best, level = found[0].record, [one.record for one in found if one.level]
    if len(found) == 1:
        return f"{best.name} recognises {best.shown.model.accuracy:.1%} of the test recordings."
    if len(level) == 1:
        return f"{best.name} is the most accurate of {len(found)} models: {best.shown.model.accuracy:.1%}."
    if len(level) == len(found) > 2:
        return f"All {len(found)} models are equal within the 95 % interval."
    shares = listed([f"{one.shown.model.accuracy:.1%}" for one in level])
    return f"{listed([one.name for one in level])} are equal within the 95 % interval: {shares}."


def choice(records: Sequence[RunRecord], found: Sequence[Standing]) -> str:
    """Which model to take: the most accurate, those level with it, the smallest of them, and who misses the floors."""
    best, level = found[0].record, [one for one in found if one.level]
    if len(found) == 1:
        said = f"{best.name}: {_figures(best)}"
    elif len(level) == 1:
        said = f"{best.name} is the most accurate: {_figures(best)}. {found[1].record.name} is next, {_gap(found[1])}"
    else:
        who = listed([f"{one.record.name} ({one.record.shown.model.accuracy:.1%})" for one in level])
        said = f"{who} are equal within the interval: {level[-1].record.name} is {_gap(level[-1])}"
        if not level[-1].gap:
            said = f"{who} are equal"
        if below := [one for one in found if not one.level]:
            said += f". {below[0].record.name} is not: {_gap(below[0])}"
        smallest = min((one.record for one in level), key=lambda one: (one.parameters, one.latency_ms or 0.0))
        fast = f" and {latency(smallest)} ms per clip" if smallest.latency_ms is not None else ""
        said += f". {smallest.name} is the smallest of the equal ones: {smallest.parameters:,} parameters{fast}"
    return f"{said}. {floors(records)}"


def gap(one: Standing) -> str:
    """The difference to the most accurate model in points, with its interval."""
    if not one.paired:
        return f"{signed(-one.gap)}"
    return f"{signed(-one.gap)} ({signed(-one.paired.high)} to {signed(-one.paired.low)})"


def signed(fraction: float) -> str:
    """A difference in points."""
    points = round(100 * fraction, 1)
    return f"{'−' if points < 0 else '+' if points > 0 else ''}{abs(points):.1f}"


def _gap(one: Standing) -> str:
    span = f"{100 * one.gap:.1f} points below the most accurate"
    if not one.paired:
        return f"{span} (compared by its {one.how})"
    low, high = (signed(end).removeprefix("+") for end in (one.paired.low, one.paired.high))
    return f"{span} (95 %: {low} to {high}, {one.how})"


def floors(records: Sequence[RunRecord]) -> str:
    """Who does not clear the floors."""
    missed: dict[tuple[str, ...], list[str]] = {}
    for one in records:
        if floors := tuple(floor if floor == RAW_JOINTS else f"a {floor}" for floor in one.shown.missed):
            how = "" if one.classifies else f" ({one.shown.name} probe)"
            missed.setdefault(floors, []).append(one.name + how)
    if not missed:
        return f"{'It is' if len(records) == 1 else 'All are'} above both floors, a random encoder and raw joints."
    return " ".join(
        f"{listed(names)} {'is' if len(names) == 1 else 'are'} "
        f"{'not above ' if len(floors) == 1 else 'above neither '}{' nor '.join(floors)}."
        for floors, names in missed.items()
    )


def listed(names: Sequence[str]) -> str:
    """A list in words: a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def table(records: Sequence[RunRecord]) -> str:
    """How far the comparison can be trusted."""
    seeds = sorted({one.result["seed"] for one in records})
    what = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    return (
        f"{len(records)} {'run' if len(records) == 1 else 'runs'}, {what}. The 95 % intervals reflect the sampling of "
        "test recordings: Wilson intervals treat them as independent; the bootstrap resamples whole subjects, or "
        "performances where there are few subjects or none are known. Neither includes the variance between seeds."
    )


def cost(records: Sequence[RunRecord]) -> str:
    """Which lineage cost most, and what of it was pretraining."""
    most = max(records, key=lambda one: one.hours)
    said = f"{most.name} took {hours(most.hours)} device-hours, including the runs it started from"
    early = sum(one.hours for one in most.costs if one.stage == "pretrained")
    if early and most.hours and len(most.costs) > 1:
        said += f"; {early / most.hours:.0%} of that is pretraining"
    return f"{said}."


def classes(name: str, matrix: Confusion) -> str:
    """The worst and the best class of a model."""
    seen = np.flatnonzero(matrix.counts.sum(1))
    recall = matrix.percent.diagonal()[seen]
    worst, best = seen[recall.argmin()], seen[recall.argmax()]
    return (
        f"{name} has its lowest recall on {matrix.classes[worst]} ({recall.min():.1f}%) and its highest on "
        f"{matrix.classes[best]} ({recall.max():.1f}%); {int((recall < HALF).sum())} of {len(seen)} classes are below "
        f"{HALF:.0f}%."
    )


def confused(name: str, matrix: Confusion) -> str:
    """The most frequent error."""
    wrong = matrix.counts - np.diag(matrix.counts.diagonal())
    if not wrong.any():
        return f"{name} makes no errors."
    true, predicted = np.unravel_index(int(wrong.argmax()), wrong.shape)
    return (
        f"The most frequent error of {name}: {matrix.classes[int(true)]} predicted as "
        f"{matrix.classes[int(predicted)]}, {int(wrong.max()):,} of {int(matrix.counts[true].sum()):,} recordings."
    )


def curves(record: RunRecord) -> str:
    """How the loss fell, and the accuracy at the end."""
    steps, losses = record.curve("loss")
    said = f"loss {losses[0]:.3g} → {losses[-1]:.3g} in {steps[-1]:,} steps" if losses else "no loss was logged"
    for metric, called in FRACTIONS.items():
        _, values = record.curve(metric)
        if values:
            return f"{said}; {called}: {values[-1]:.1%} (best {max(values):.1%})"
    return said


def neighbours(names: Sequence[str], fractions: Sequence[float], classes: int) -> str:
    """How well classes are separated."""
    best = int(np.argmax(fractions))
    return (
        f"{names[best]} has the highest 1-NN accuracy, {fractions[best]:.1%} (chance: {1 / max(classes, 1):.1%}). "
        "Neighbours from the same performance are excluded."
    )


def recognisers(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Those that know classes."""
    return [one for one in records if one.classifies]


def evaluated(evaluation: Evaluation) -> str:
    """How an accuracy was measured, in words."""
    return {
        "test": "own classifier",
        "linear": "linear probe, all labels",
        "knn": "kNN on frozen features, all labels",
    }[evaluation.name]


def hours(value: float) -> str:
    """Device-hours with three significant digits."""
    return f"{value:.3g}" if value >= 0.1 else f"{value:.4f}"


def latency(record: RunRecord) -> str:
    return "–" if record.latency_ms is None else f"{record.latency_ms:.2f}"


def _figures(record: RunRecord) -> str:
    measured = record.shown.model
    fast = f" and {latency(record)} ms per clip" if record.latency_ms is not None else ""
    return (
        f"{measured.accuracy:.1%} ({interval(measured.low, measured.high, 'Wilson', measured.bootstrap)}) with "
        f"{record.parameters:,} parameters{fast}"
    )
