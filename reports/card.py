"""The model card: `README.md` beside a shipped model, with what its run's files say and nothing more.

A training command writes it with the weights; `launch/evaluate.py` fills in what was measured and where it fails. A
card names the SHA-256 of the weights that it speaks of, so that it is never taken for another model's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from bonestrap.config import to_json
from bonestrap.files import write_atomically
from evaluation.run_record import Measured, RunRecord
from evaluation.scoring import interval
from reports.dataset_facts import DatasetFacts
from shards.manifest import sha256

FILE = "README.md"
RESULTS = "Results"
FAILS = "Where it fails"
UNTESTED = "Not evaluated yet: `python launch/evaluate.py --help`."
WORST = 5  # classes that are named

Section = tuple[str, list[str]]  # a heading, and its lines in Markdown


def ship(record: RunRecord, dataset: DatasetFacts | None) -> None:
    """Write the card beside the run's model. What an earlier card of the same weights says of results is kept."""
    file = record.folder / "model" / FILE
    digest = _weights(record)
    before = _sections(file.read_text(encoding="utf-8")) if file.exists() else []
    known = [(head, lines) for head, lines in before if head.startswith(FAILS)]
    if not any(digest in line for _, lines in before for line in lines):
        known = []
    _write(file, _text(record, [*facts(record, dataset, digest), (RESULTS, results(record)), *known]))


def revise(record: RunRecord, dataset: DatasetFacts | None, evaluation: str, failures: list[str]) -> None:
    """Put the results of now into the card, and where the model fails under one evaluation."""
    file = record.folder / "model" / FILE
    if not file.exists() or _weights(record) not in file.read_text(encoding="utf-8"):
        ship(record, dataset)
    sections = dict(_sections(file.read_text(encoding="utf-8")))
    sections[RESULTS] = results(record)
    sections[f"{FAILS}: {evaluation}"] = failures
    _write(file, _text(record, list(sections.items())))


def text(record: RunRecord, dataset: DatasetFacts | None) -> str:
    """The card as it stands beside the model; of a model without one, what it would say."""
    file = record.folder / "model" / FILE
    if file.exists():
        return file.read_text(encoding="utf-8")
    return _text(record, [*facts(record, dataset, _weights(record)), (RESULTS, results(record))])


def facts(record: RunRecord, dataset: DatasetFacts | None, weights: str) -> list[Section]:
    """What is known before anything is measured; without `dataset`, nothing is said of the recordings."""
    return [
        ("What it is", _kind(record, weights)),
        ("What it was trained on", _trained(record, dataset)),
        ("Where it comes from", _lineage(record)),
        ("How to get it again", _again(record)),
        ("Intended use and limits", _limits(record, dataset)),
        ("Licence", _licence(record)),
    ]


def results(record: RunRecord) -> list[str]:
    """Every evaluation of the test recordings beside its floors, a line each."""
    lines = []
    for found in record.evaluations:
        floors = "; ".join(f"{who} {floor.accuracy:.1%}" for who, floor in found.floors.items())
        below = f". **Not above {' and '.join(found.missed)}**" if found.missed else ""
        below += f". **{found.seen:,} of them were trained on**" if found.seen else ""
        lines.append(
            f"- **{found.name}**: {percent(found.model)}, balanced {found.model.balanced:.1%}, of "
            f"{found.model.recordings:,} test recordings; floors: {floors}{below}"
        )
    if record.latency_ms is not None:
        lines.append(f"- **latency**: {record.latency_ms:.2f} ms for one clip on one CPU thread, {where(record)}")
    return lines or [UNTESTED]


def percent(measured: Measured) -> str:
    """An accuracy with its intervals."""
    return f"{measured.accuracy:.1%} ({interval(measured.low, measured.high, 'Wilson', measured.bootstrap)})"


def where(record: RunRecord) -> str:
    """The machine of the latency."""
    return record.machine or "on a machine that was not recorded"


def failures(table: Iterable[Iterable[int]], classes: tuple[str, ...], evaluation: str) -> list[str]:
    """The worst classes from counts, rows being true classes: each with what it is taken for."""
    rows = [(name, list(row)) for name, row in zip(classes, table, strict=True)]
    rated = sorted((row[at] / sum(row), at, name, row) for at, (name, row) in enumerate(rows) if sum(row))
    out = []
    for share, at, name, row in rated[:WORST]:
        wrong, most = max((count, -other) for other, count in enumerate(row) if other != at) if len(row) > 1 else (0, 0)
        taken = f", {wrong:,} of them taken for {classes[-most]}" if wrong else ""
        out.append(f"- {name}: {share:.1%} of {sum(row):,} recordings right{taken}")
    half = sum(share < 0.5 for share, *_ in rated)
    return [f"Worst classes of the test recordings ({evaluation}); {half} of {len(rated)} classes below 50 %:", *out]


def _kind(record: RunRecord, weights: str) -> list[str]:
    description = record.description
    settings = to_json(description.encoder)
    kind = settings.pop("kind")
    config = ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in settings.items()
    )
    classes = ", ".join(description.classes) or "none: it gives features, and a classifier has yet to be taught"
    clip = description.clip
    length = f"every recording stretched to {clip.frames} frames" if clip.fit else f"{clip.frames} frames"
    return [
        f"- **stage**: {description.stage}",
        f"- **encoder**: {kind}, {config}; {record.parameters:,} parameters",
        f"- **input**: layout {description.layout.name}, {len(description.layout.joints)} joints of "
        f"{description.layout.axes} numbers; clips of {length}",
        f"- **classes**: {classes}",
        f"- **weights**: model.safetensors, SHA-256 `{weights}`",
    ]


def _trained(record: RunRecord, dataset: DatasetFacts | None) -> list[str]:
    lineage = record.lineage
    lines = [
        f"- **data set**: {lineage['data']}, digest `{lineage['digest']}`",
        f"- **protocol**: {lineage['protocol']}" + (f": {dataset.sides.split.description}" if dataset else ""),
    ]
    if dataset:
        train = dataset.sides.train - (dataset.sides.held_out if record.result["hold_out"] else 0)
        people = f", {dataset.subjects} subjects" if dataset.subjects else ""
        seen = f", {dataset.cameras} cameras" if dataset.cameras else ""
        lines.append(f"- **training recordings**: {train:,}, of {dataset.manifest.views:,} in all{people}{seen}")
        steps = " → ".join(str(step.get("step", "")).replace("_", " ") for step in dataset.manifest.preprocessing)
        lines.append(f"- **prepared by**: {steps or 'nothing'}")
    lines.append(f"- **labels**: {_labels(record)}")
    if dataset:
        lines += [f"- **known fault**: {fault}" for fault in dataset.faults] or [
            "- **known faults**: none in the manifest and the index; `python launch/preview.py SHARDS` looks at frames"
        ]
    return lines


def _labels(record: RunRecord) -> str:
    share, labelled = record.lineage.get("labels"), record.lineage.get("labelled")
    if share is None:
        return "none"
    if labelled is not None:
        return f"{100 * share:.4g}% of the training recordings, class-balanced: {labelled:,}"
    return f"none of its own; its teacher had {100 * share:.4g}% of the training recordings'"


def _lineage(record: RunRecord) -> list[str]:
    lines = [
        f"- **{cost.run}** ({cost.stage}): {cost.steps:,} steps, seed {cost.seed}, {cost.hours:.4f} device-hours"
        for cost in record.costs
    ]
    return [*lines, f"- **cost in all**: {record.hours:.4f} device-hours"]


def _again(record: RunRecord) -> list[str]:
    info, result = record.info, record.result
    return [
        f"- **command**: `{info['command']}`",
        f"- **commit**: {info['commit']}",
        f"- **seed**: {result['seed']}, **precision**: {result['precision']}",
        f"- **hardware**: {info['hardware']}",
        f"- **versions**: Python {info['python']}, torch {info['torch']}",
    ]


def _limits(record: RunRecord, dataset: DatasetFacts | None) -> list[str]:
    description = record.description
    lines = [
        f"- It tells the {len(description.classes)} classes above apart and has no answer for anything else."
        if description.classes
        else "- It turns a recording into features; a classifier has to be taught on them.",
        f"- It reads joints of layout {description.layout.name} as they were prepared above, not video.",
    ]
    if dataset and dataset.subjects:
        seen = f"{dataset.subjects} subjects before {dataset.cameras} cameras" if dataset.cameras else "its subjects"
        lines.append(f"- It learnt from {seen} of one data set, and its test recordings come from the same one.")
    lines.append("- Its probabilities were not calibrated, and nothing here is a test of fairness or of safety.")
    return lines


def _licence(record: RunRecord) -> list[str]:
    return [
        f"The code is Apache-2.0. Weights learnt from recordings are bound by the recordings' own terms: read those of "
        f"{record.lineage['data']} before they are passed on or used."
    ]


def _weights(record: RunRecord) -> str:
    return sha256(record.folder / "model" / "model.safetensors")


def _text(record: RunRecord, sections: list[Section]) -> str:
    body = "".join(f"\n## {head}\n\n" + "\n".join(lines) + "\n" for head, lines in sections)
    return f"# {record.name}\n{body}"


def _sections(text: str) -> list[Section]:
    """The sections of a card."""
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)[1:]
    return [(head, lines.strip().splitlines()) for head, lines in zip(parts[::2], parts[1::2], strict=True)]


def _write(file: Path, text: str) -> None:
    write_atomically(file, text)
