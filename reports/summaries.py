"""What a report has to say, a sentence or two a section, each computed from its figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation.run_record import Evaluation, RunRecord
from evaluation.scoring import interval

HALF = 0.5
SHARES = {  # metrics of the journal that are shares in 0..1, and what they are called
    "train_accuracy": "training labels right, augmented clips",
    "agreement": "agreement with the teacher",
    "linear": "linear probe, held-out subjects",
    "knn": "kNN, held-out subjects",
    "raw_joints": "raw joints, held-out subjects",
}


def choice(records: Sequence[RunRecord]) -> str:
    """Which model to take: the most accurate, the smallest that cannot be told from it, and who misses the floors."""
    rivals = recognisers(records) or list(records)
    best = max(rivals, key=lambda one: one.shown.model.accuracy)
    said = (
        f"{best.name} is the most accurate, {_figures(best)}" if len(rivals) > 1 else f"{best.name}: {_figures(best)}"
    )
    alike = [one for one in rivals if one.shown.name == best.shown.name]
    level = [one for one in alike if one.shown.model.reach >= best.shown.model.accuracy]
    smallest = min(level, key=lambda one: (one.parameters, one.latency_ms or 0.0))
    if smallest is not best and smallest.parameters < best.parameters:
        said += f"; {smallest.name} is the smallest whose interval reaches it, {_figures(smallest)}"
    elif len(rivals) > 1:
        said += "; no smaller one comes within its interval"
    return f"{said}. {floors(records)}"


def floors(records: Sequence[RunRecord]) -> str:
    """Who does not clear the floors."""
    missed: dict[str, list[str]] = {}
    for one in records:
        for floor in one.shown.missed:
            how = "" if one.classifies else f" ({one.shown.name} probe)"
            missed.setdefault(floor, []).append(one.name + how)
    if not missed:
        return f"{'It clears' if len(records) == 1 else 'All clear'} the floors: a random encoder and raw joints."
    return " ".join(
        f"{spoken(names)} {'is' if len(names) == 1 else 'are'} not above {floor}." for floor, names in missed.items()
    )


def spoken(names: Sequence[str]) -> str:
    """A list as one says it: a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def table(records: Sequence[RunRecord]) -> str:
    """How far the comparison can be trusted."""
    seeds = sorted({one.result["seed"] for one in records})
    what = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    return (
        f"{len(records)} {'run' if len(records) == 1 else 'runs'} of {what}. Intervals (95 %) cover the choice of "
        "test recordings: Wilson's as if they were independent, the bootstrap's as whole subjects, or performances "
        "where subjects are few or unknown. Both leave out how much seeds differ."
    )


def cost(records: Sequence[RunRecord]) -> str:
    """Which lineage cost most, and what of it was pretraining."""
    most = max(records, key=lambda one: one.hours)
    said = f"{most.name} took {hours(most.hours)} device-hours with all that it came from"
    early = sum(one.hours for one in most.costs if one.stage == "pretrained")
    if early and most.hours and len(most.costs) > 1:
        said += f", {early / most.hours:.0%} of them for pretraining"
    return f"{said}."


def classes(name: str, counts: np.ndarray, labels: Sequence[str]) -> str:
    """The worst and the best class of a model."""
    seen = np.flatnonzero(counts.sum(1))
    shares = counts.diagonal()[seen] / counts.sum(1)[seen]
    worst, best = seen[shares.argmin()], seen[shares.argmax()]
    return (
        f"{name} is worst at {labels[worst]} ({shares.min():.1%}) and best at {labels[best]} ({shares.max():.1%}); "
        f"{int((shares < HALF).sum())} of {len(seen)} classes are below 50 %."
    )


def confused(name: str, counts: np.ndarray, labels: Sequence[str]) -> str:
    """The most frequent mistake."""
    wrong = counts - np.diag(counts.diagonal())
    if not wrong.any():
        return f"{name} makes no mistake."
    true, taken = np.unravel_index(int(wrong.argmax()), wrong.shape)
    return (
        f"The most frequent mistake of {name}: {labels[int(true)]} taken for {labels[int(taken)]}, "
        f"{int(wrong.max()):,} of {int(counts[true].sum()):,} recordings."
    )


def curves(record: RunRecord) -> str:
    """What the last curve says: how the loss fell, and what was right at the end."""
    steps, losses = record.curve("loss")
    said = f"loss {losses[0]:.3g} to {losses[-1]:.3g} in {steps[-1]:,} steps" if losses else "no loss was logged"
    for metric, called in SHARES.items():
        _, values = record.curve(metric)
        if values:
            return f"{said}; {called} {values[-1]:.1%} at the end, {max(values):.1%} at best"
    return said


def neighbours(names: Sequence[str], shares: Sequence[float], classes: int) -> str:
    """How well classes lie together."""
    best = int(np.argmax(shares))
    return (
        f"In {shares[best]:.1%} of cases the recording nearest to one in the features of {names[best]}, other views of "
        f"the same performance aside, is of its class; chance is {1 / max(classes, 1):.1%}."
    )


def recognisers(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Those that know classes."""
    return [one for one in records if one.classifies]


def evaluated(evaluation: Evaluation) -> str:
    """How an accuracy came about, in words."""
    return {
        "test": "own classifier",
        "linear": "linear classifier on frozen features, all labels",
        "knn": "nearest neighbours of frozen features, all labels",
    }[evaluation.name]


def hours(value: float) -> str:
    """Device-hours with three digits that say something."""
    return f"{value:.3g}" if value >= 0.1 else f"{value:.4f}"


def latency(record: RunRecord) -> str:
    return "–" if record.latency_ms is None else f"{record.latency_ms:.2f}"


def _figures(record: RunRecord) -> str:
    measured = record.shown.model
    fast = f" and {latency(record)} ms a clip" if record.latency_ms is not None else ""
    return (
        f"{measured.accuracy:.1%} ({interval(measured.low, measured.high, 'Wilson', measured.bootstrap)}) with "
        f"{record.parameters:,} parameters{fast}"
    )
