"""The model card: `README.md` beside a shipped model, from the files of its run.

A training command writes it with the weights; `launch/evaluate.py` adds the results and the worst classes. A card names
the SHA-256 of the weights that it describes, so that it is never taken for another model's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from bonestrap.config import to_json
from bonestrap.files import write_atomically
from evaluation.lineage import never_seen
from evaluation.run_record import Measured, RunRecord
from evaluation.scoring import interval
from reports.data.facts import DatasetFacts
from shards.manifest import sha256

FILE = "README.md"
RESULTS = "Results"
FAILS = "Worst classes"
BEFORE = {  # headings of earlier cards
    "Where it fails": FAILS, "What it is": "Model", "What it was trained on": "Training data",
    "Where it comes from": "Lineage", "How to get it again": "Reproducing it",
    "Intended use and limits": "Intended use and limitations",
}  # fmt: skip
UNTESTED = "Not evaluated yet; see `python launch/evaluate.py --help`."
WORST = 5  # classes that are named

Section = tuple[str, list[str]]  # a heading, and its lines in Markdown


def ship(record: RunRecord, dataset: DatasetFacts | None) -> None:
    """Write the card beside the run's model. The worst classes in an earlier card of the same weights are kept."""
    file = record.folder / "model" / FILE
    digest = _weights(record)
    before = _sections(file.read_text(encoding="utf-8")) if file.exists() else []
    known = [(head, lines) for head, lines in before if head.startswith(FAILS)]
    if not any(digest in line for _, lines in before for line in lines):
        known = []
    write_atomically(file, _text(record, [*facts(record, dataset, digest), (RESULTS, results(record)), *known]))


def revise(record: RunRecord, dataset: DatasetFacts | None, evaluation: str, failures: list[str]) -> None:
    """Put the current results into the card, and the worst classes under one evaluation."""
    file = record.folder / "model" / FILE
    if not file.exists() or _weights(record) not in file.read_text(encoding="utf-8"):
        ship(record, dataset)
    sections = dict(_sections(file.read_text(encoding="utf-8")))
    sections[RESULTS] = results(record)
    sections[f"{FAILS}: {evaluation}"] = failures
    write_atomically(file, _text(record, list(sections.items())))


def text(record: RunRecord, dataset: DatasetFacts | None) -> str:
    """The card beside the model, or what it would say where there is none."""
    file = record.folder / "model" / FILE
    if file.exists():
        return file.read_text(encoding="utf-8")
    return _text(record, [*facts(record, dataset, _weights(record)), (RESULTS, results(record))])


def facts(record: RunRecord, dataset: DatasetFacts | None, weights: str) -> list[Section]:
    """All but the results; without `dataset`, and of a pool of data sets, the recordings are not described."""
    dataset = None if "corpora" in record.lineage else dataset
    return [
        ("Model", _kind(record, weights)),
        ("Training data", _trained(record, dataset)),
        ("Lineage", _lineage(record)),
        ("Reproducing it", _reproduction(record)),
        ("Intended use and limitations", _limits(record, dataset)),
        ("Licence", _licence(record)),
    ]


def results(record: RunRecord) -> list[str]:
    """Every evaluation on test recordings with its floors, a line each."""
    lines = []
    for found in record.evaluations:
        floors = "; ".join(f"{who} {floor.accuracy:.1%}" for who, floor in found.floors.items())
        below = f". **Not above {' and '.join(found.missed)}**" if found.missed else ""
        below += f". **{found.seen:,} of them were in the training set**" if found.seen else ""
        lines.append(
            f"- **{found.name}**: accuracy {percent(found.model)}, balanced accuracy {found.model.balanced:.1%}, on "
            f"{found.model.recordings:,} test recordings; floors: {floors}{below}"
        )
    for few in record.few_labels:
        floors = "; ".join(f"{who} {floor.accuracy:.1%}" for who, floor in few.floors.items())
        below = f". **Not above {' and '.join(few.missed)}**" if few.missed else ""
        lines.append(
            f"- **{few.name}**: accuracy {few.model.accuracy:.1%} ± {few.model.std:.1%} over {few.draws} draws of "
            f"{few.labels:,} labels; floors: {floors}{below}"
        )
    if record.latency_ms is not None:
        lines.append(f"- **latency**: {record.latency_ms:.2f} ms per clip on one CPU thread, {where(record)}")
    return lines or [UNTESTED]


def percent(measured: Measured) -> str:
    """An accuracy with its intervals."""
    return f"{measured.accuracy:.1%} ({interval(measured.low, measured.high, 'Wilson', measured.bootstrap)})"


def where(record: RunRecord) -> str:
    """The machine of the latency."""
    return record.machine or "unrecorded machine"


def failures(table: Iterable[Iterable[int]], classes: tuple[str, ...], evaluation: str) -> list[str]:
    """The worst classes from a confusion matrix of counts, each with its most frequent error."""
    rows = [(name, list(row)) for name, row in zip(classes, table, strict=True)]
    rated = sorted((row[at] / sum(row), at, name, row) for at, (name, row) in enumerate(rows) if sum(row))
    out = []
    for recall, at, name, row in rated[:WORST]:
        wrong, most = max((count, -other) for other, count in enumerate(row) if other != at) if len(row) > 1 else (0, 0)
        confused = f", {wrong:,} predicted as {classes[-most]}" if wrong else ""
        out.append(f"- {name}: recall {recall:.1%} of {sum(row):,} recordings{confused}")
    half = sum(recall < 0.5 for recall, *_ in rated)
    return [f"Lowest per-class recall on {evaluation} test recordings; {half} of {len(rated)} classes below 50%:", *out]


def _kind(record: RunRecord, weights: str) -> list[str]:
    description = record.description
    settings = to_json(description.encoder)
    kind = settings.pop("kind")
    config = ", ".join([kind, *(f"{key} {_setting(value)}" for key, value in settings.items())])
    classes = ", ".join(description.classes) or "none; this is an encoder without a classifier"
    clip = description.clip
    length = f"{clip.frames} frames" + (", whole recordings resampled" if clip.fit else "")
    return [
        f"- **stage**: {description.stage}",
        f"- **encoder**: {description.encoder.label} ({config}); {record.parameters:,} parameters",
        f"- **input**: layout {description.layout.name}, {len(description.layout.joints)} joints with "
        f"{description.layout.axes} values each; clips of {length}",
        f"- **classes**: {classes}",
        f"- **weights**: model.safetensors, SHA-256 `{weights}`",
    ]


def _setting(value: object) -> str:
    """A setting of whatever type, in few characters."""
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def _trained(record: RunRecord, dataset: DatasetFacts | None) -> list[str]:
    lineage = record.lineage
    lines = [
        f"- **data set**: {lineage['data']}, digest `{lineage['digest']}`",
        f"- **split**: {lineage['split']}" + (f": {dataset.sides.split.description}" if dataset else ""),
    ]
    if "corpora" in lineage:
        lines = _corpora(record)
    if dataset:
        train = dataset.sides.train - (dataset.sides.held_out if record.result["hold_out"] else 0)
        people = f", {dataset.subjects} subjects" if dataset.subjects else ""
        seen = f", {dataset.cameras} cameras" if dataset.cameras else ""
        lines.append(f"- **training recordings**: {train:,} of {dataset.manifest.views:,}{people}{seen}")
        steps = " → ".join(str(step.get("step", "")).replace("_", " ") for step in dataset.manifest.preprocessing)
        lines.append(f"- **preprocessing**: {steps or 'none'}")
    lines.append(f"- **labels**: {_labels(record)}")
    if record.description.alignment is not None:
        lines.append(f"- **unseen classes**: {_unseen(record)}")
    if dataset:
        lines += [f"- **known issue**: {fault}" for fault in dataset.faults] or [
            "- **known issues**: none in manifest and index; `python launch/preview.py SHARDS` checks every frame"
        ]
    return lines


def _corpora(record: RunRecord) -> list[str]:
    """The data sets of a pool."""
    lineage, layout = record.lineage, record.description.layout.name
    rate = f", {lineage['rate']:g} frames a second" if lineage.get("rate") else ""
    return [
        *(
            f"- **data set**: {each['data']}, digest `{each['digest']}`, split {each['split']}, "
            f"layout {each['layout']}, {each['recordings']:,} recordings, {each['fraction']:.1%} of the clips"
            for each in lineage["corpora"]
        ),
        f"- **common skeleton**: layout {layout}{rate}",
    ]


def _labels(record: RunRecord) -> str:
    fraction, labelled = record.lineage.get("labels"), record.lineage.get("labelled")
    if fraction is None:
        return "none"
    if labelled is not None:
        return f"{100 * fraction:.4g}% of the training recordings, class-balanced: {labelled:,}"
    return f"none; the teacher used the labels of {100 * fraction:.4g}% of the training recordings"


def _unseen(record: RunRecord) -> str:
    """The classes whose recordings did not align an encoder with texts, and whether its pretraining had seen them."""
    lineage, names = record.lineage, record.description.classes
    unseen = lineage.get("left_out", [])
    if not unseen:
        return "none: recordings of every class were used"
    known = sorted(set(unseen) - set(never_seen(lineage, lineage["data"])))
    said = f"the pretraining of the encoder had seen {', '.join(names[label] for label in known)}"
    return (
        ", ".join(names[label] for label in unseen)
        + "; "
        + (said if known else "the pretraining of the encoder had seen none of them")
    )


def _lineage(record: RunRecord) -> list[str]:
    lines = [
        f"- **{cost.run}** ({cost.stage}): {cost.steps:,} steps, seed {cost.seed}, {cost.hours:.4f} device-hours"
        for cost in record.costs
    ]
    return [*lines, f"- **total cost**: {record.hours:.4f} device-hours"]


def _reproduction(record: RunRecord) -> list[str]:
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
        f"- It assigns every input to one of the {len(description.classes)} classes above, whatever the input is."
        + (" It ranks other texts as well." if description.alignment is not None else "")
        if description.classes
        else "- It turns recordings into features; a classifier has to be trained on them.",
        f"- The input is joints of layout {description.layout.name} with the preprocessing above, not video.",
    ]
    if dataset and dataset.subjects:
        seen = f" and {dataset.cameras} cameras" if dataset.cameras else ""
        lines.append(
            f"- The training data are {dataset.subjects} subjects{seen} of one data set, and the test recordings come "
            "from the same data set."
        )
    lines.append("- Its probabilities are not calibrated. Fairness and safety have not been evaluated.")
    return lines


def _licence(record: RunRecord) -> list[str]:
    terms = [f"- {each['data']}: {each['licence']}" for each in record.lineage.get("corpora", ())]
    names = " and ".join(each["data"] for each in record.lineage.get("corpora", ())) or record.lineage["data"]
    return [
        "The code is licensed under Apache-2.0. The weights are subject to the terms of the training data: read those "
        f"of {names} before using or distributing them." + (" As told with the recordings:" if terms else ""),
        *(("", *terms) if terms else ()),
    ]


def _weights(record: RunRecord) -> str:
    return sha256(record.folder / "model" / "model.safetensors")


def _text(record: RunRecord, sections: list[Section]) -> str:
    body = "".join(f"\n## {head}\n\n" + "\n".join(lines) + "\n" for head, lines in sections)
    return f"# {record.name}\n{body}"


def _sections(text: str) -> list[Section]:
    """The sections of a card."""
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)[1:]
    parts[::2] = [_renamed(head) for head in parts[::2]]
    return [(head, lines.strip().splitlines()) for head, lines in zip(parts[::2], parts[1::2], strict=True)]


def _renamed(head: str) -> str:
    """The heading of today of a section of an earlier card."""
    title, colon, evaluation = head.partition(":")
    return BEFORE.get(title, title) + colon + evaluation
