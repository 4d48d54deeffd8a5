"""Checks of a model's lineage, on which costs, labels and pages rest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bonestrap.options import UserError

if TYPE_CHECKING:
    from bonestrap.model import Model

TEXTS = ("data", "digest", "split", "run")
NUMBERS = ("seed", "steps", "device_hours")


def check(model: Model, folder: Path) -> None:
    """UserError, naming the model directory, where its lineage lacks what every training command writes."""
    fault = _fault(model.description.lineage)
    if not fault and model.classes and not _names_labels(model.description.lineage):
        fault = "the model has classes, and its lineage names no labels"
    if fault:
        raise UserError(f"{folder} holds a model whose lineage is damaged ({fault}): copy the run again")


def never_seen(lineage: Mapping[str, Any], dataset: str) -> tuple[int, ...]:
    """The classes of a data set that every pretraining, or alignment with texts, of a lineage left out."""
    found = []
    while True:
        if "labels" not in lineage or "left_out" in lineage:  # a pretraining, which another may have started from
            found.append(set(lineage.get("left_out", ())) if lineage["data"] == dataset else set())
        if not lineage.get("parents"):
            return tuple(sorted(set.intersection(*found))) if found else ()
        lineage = lineage["parents"][0]["lineage"]


def _fault(lineage: Any) -> str:
    if not isinstance(lineage, Mapping):
        return f"{lineage!r:.40} is not an object"
    for name in TEXTS:
        if not isinstance(lineage.get(name), str):
            return f"{name} is not a text"
    for name in NUMBERS:
        if not _is_number(lineage.get(name)) or lineage[name] < 0:
            return f"{name} is not a number"
    if not isinstance(lineage["seed"], int) or not isinstance(lineage["steps"], int):
        return "seed or steps is not a whole number"
    labels = lineage.get("labels")
    if labels is not None and not (_is_number(labels) and 0 < labels <= 1):
        return "labels is not a fraction"
    left_out = lineage.get("left_out", [])
    if not isinstance(left_out, list | tuple) or not all(isinstance(label, int) for label in left_out):
        return "left_out is not a list of classes"
    corpora = lineage.get("corpora", [])
    if not isinstance(corpora, list | tuple) or not all(_is_corpus(corpus) for corpus in corpora):
        return "corpora is not a list of data sets"
    parents = lineage.get("parents", [])
    if not isinstance(parents, list | tuple) or not all(isinstance(parent, Mapping) for parent in parents):
        return "parents is not a list of models"
    for parent in parents:
        if not isinstance(parent.get("stage"), str):
            return "a parent has no stage"
        if fault := _fault(parent.get("lineage")):
            return f"of a parent: {fault}"
    return ""


def _is_corpus(corpus: Any) -> bool:
    """Whether it says what a model card shows of one of several data sets."""
    texts, numbers = ("data", "digest", "split", "layout", "licence"), ("recordings", "fraction")
    return (
        isinstance(corpus, Mapping)
        and all(isinstance(corpus.get(name), str) for name in texts)
        and all(_is_number(corpus.get(name)) for name in numbers)
    )


def _names_labels(lineage: Mapping[str, Any]) -> bool:
    """Whether it says what fraction of the labels was used, and it or an ancestor how many recordings those are."""
    known = lineage.get("labels") is not None
    while "labelled" not in lineage and lineage.get("parents"):
        lineage = lineage["parents"][0]["lineage"]
    return known and "labelled" in lineage


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
