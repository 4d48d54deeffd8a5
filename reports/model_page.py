"""The page about trained models of one data set: accuracy, size, latency and cost, errors, features, curves and cards.

Figures come from the files of the runs; recall, confusion matrices and maps from one reading of the test recordings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from evaluation.predictions import Predictions
from evaluation.run_record import RunRecord
from reports import card, summaries
from reports import model_sections as sections
from reports.animation import drawing
from reports.data.facts import DatasetFacts
from reports.data.samples import samples
from reports.findings import Finding
from reports.html import render
from reports.standings import standings
from shards.reading import Reading

STYLES = ("page.css", "models.css")


def page(reading: Reading, records: Sequence[RunRecord], predictions: Predictions, split: str) -> str:
    """The whole page. UserError where a run has not been evaluated or has no journal."""
    dataset = DatasetFacts.of(reading, split)
    known = sections.classifiers(records, predictions)
    shown = samples(reading, records, split)
    found = standings(records, predictions)
    wrong = sections.mistakes(records, predictions, known)
    scene = {
        "layout": drawing(predictions.data.layout),
        "augmented": shown,
        "mistakes": wrong["scenes"] if wrong else [],
        "models": [measured(one, number, predictions) for number, one in enumerate(records)],
    }
    return render(
        "models.html",
        scene=scene,
        styles=STYLES,
        title=f"{reading.manifest.name}: models",
        name=reading.manifest.name,
        subtitle=f"Models trained on split {split}: {dataset.sides.split.description}",
        tiles=_tiles(records, dataset),
        findings=[Finding(level="fault", title="known issue", text=fault) for fault in dataset.faults],
        digest=reading.manifest.digest,
        headline=summaries.headline(found),
        where=f"{reading.manifest.name}, {split}",
        accuracy=sections.accuracy(records, found),
        results=sections.results(records, found),
        cost=sections.cost(records),
        recall=sections.recall(known),
        confusion=sections.confusion(known),
        mistakes=wrong,
        features=sections.features(records, predictions),
        curves=sections.curves(records),
        augmented=sections.augmented(records, shown),
        cards=[(one.name, sections.markdown(card.text(one, dataset))) for one in records],
        tested=len(predictions.truth),
    )


def measured(one: RunRecord, number: int, predictions: Predictions) -> dict[str, Any]:
    """The figures of a model at full precision, for programs that read the page."""
    table = predictions.each[number].table
    return {
        "name": one.name,
        "stage": one.description.stage,
        "parameters": one.parameters,
        "evaluation": dataclasses.asdict(one.shown),
        "latency_ms": one.latency_ms,
        "costs": [dataclasses.asdict(cost) for cost in one.costs],
        "confusion": None if table is None else table.tolist(),
        "neighbours": predictions.neighbours(number),
    }


def _tiles(records: Sequence[RunRecord], dataset: DatasetFacts) -> dict[str, str]:
    best = max(one.shown.model.accuracy for one in summaries.recognisers(records) or records)
    return {
        "models": f"{len(records)}",
        "best accuracy": f"{best:.1%}",
        "classes": f"{len(dataset.manifest.classes)}",
        "training recordings": f"{dataset.sides.train:,}",
        "test recordings": f"{dataset.sides.test:,}",
    }
