"""Evaluate one model under one protocol, and keep the result beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from bonestrap.model import Model
from bonestrap.retarget import Joints
from evaluation import results, trained
from evaluation.candidates import candidates, labels_of
from evaluation.evaluation_file import Evaluations
from evaluation.features import EvaluationData, adaptation
from evaluation.latency import latency
from evaluation.protocols import Chosen
from evaluation.results import Results
from evaluation.scoring import Scored, dependent
from shards.reading import Recorded


class Evaluated(NamedTuple):
    """What an evaluation of one model found."""

    results: Results  # by evaluation, then by candidate, the model first
    scored: Recorded
    features: Tensor  # (R, D) of the scored recordings; logits where the model's own classifier is tested
    predicted: Tensor | None  # (R,) classes, where there is one prediction a recording
    truth: Tensor  # (R,) classes
    latency_ms: float
    suffix: str  # of the evaluations' names
    seen: int | None  # scored recordings that the model was trained on; None where that is not known


def evaluate(
    chosen: Chosen,
    folder: Path,
    model: Model,
    data: EvaluationData,
    split: str | None,
    seed: int,
    joints: Mapping[str, Joints] | None = None,
) -> Evaluated:
    """Fit and choose on training recordings, then read and score the others.

    `split` is the one that the user asked for; `joints` see `evaluation.features.adaptation`.
    """
    adapt = adaptation(model, data.train, joints)
    ready = candidates(chosen, model, data, adapt, seed)
    own = next(iter(ready))
    milliseconds = latency(model, data.train, adapt)
    scored = data.scored  # read once, after everything has been chosen
    truth, views = labels_of(scored), scored.views
    outcomes = {
        name: each.scorer(Scored(each.features.scored, truth, views.key, dependent(views)))
        for name, each in ready.items()
    }
    suffix = name_suffix(model, scored, split)
    found = {
        key + suffix: {name: each.figures[key] for name, each in outcomes.items()} for key in outcomes[own].figures
    }
    return Evaluated(
        results=found,
        scored=scored,
        features=ready[own].features.scored,
        predicted=outcomes[own].predicted,
        truth=truth,
        latency_ms=milliseconds,
        suffix=suffix,
        seen=trained.seen(folder, scored),
    )


def name_suffix(model: Model, scored: Recorded, split: str | None) -> str:
    """What follows an evaluation's name, so that it never replaces the model's own result.

    Nothing where the recordings are of the shards that trained the model, under its own split.
    """
    manifest, lineage = scored.manifest, model.description.lineage
    said = "" if manifest.digest == lineage["digest"] else f" on {manifest.name} {manifest.digest[:8]}"
    return said + ("" if split in (None, lineage["split"]) else f" under {split}")


def save(folder: Path, on: str, found: Evaluated, *, track: bool) -> Evaluations:
    """Keep an evaluation of `test` or `held-out` recordings with the model's run; its figures as plain values."""
    plain = results.as_json(found.results, found.scored.manifest.classes)
    if found.seen is not None:
        for candidates in plain.values():
            next(iter(candidates.values()))["seen"] = found.seen
    metrics = results.metrics(on, found.results)
    if not found.suffix:
        metrics["latency_ms"] = found.latency_ms
    results.save(folder, on, plain, metrics, track=track)
    return plain
