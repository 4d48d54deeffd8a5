"""The record of a finished run, read from its directory alone.

Costs come from the model's lineage, settings from `run.json`, curves and latency from the journal, and results from
`evaluation.json`. A figure that nobody measured is None.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bonestrap.files import read_object
from bonestrap.options import UserError
from distributed import tracking
from distributed.record import upgraded
from evaluation import evaluation_file
from evaluation import lineage as lineages
from shards.storage.folder import resolved

if TYPE_CHECKING:
    from bonestrap.model import Description, Model
    from bonestrap.protocols.bootstrap import Bootstrap

FEW = "semi-supervised "  # and the fraction of the labels
PROBES = ("linear", "knn")  # an encoder is shown by the first of these that there is, a classifier by its test
MACHINE = "evaluated_on"  # the journal's word for the hardware of an evaluation


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One candidate of an evaluation: fractions in 0..1 of `recordings`."""

    accuracy: float
    low: float  # Wilson's 95 % interval
    high: float
    balanced: float
    recordings: int
    bootstrap: Bootstrap | None  # None of few groups, and in old evaluations

    @classmethod
    def of(cls, scores: Mapping[str, Any]) -> Measured:
        """From what `launch/evaluate.py` wrote, whatever else stands beside it."""
        from bonestrap.protocols.bootstrap import Bootstrap

        fractions = {name: float(scores[name]) for name in ("accuracy", "low", "high", "balanced")}
        if not all(0 <= each <= 1 for each in fractions.values()):
            raise ValueError(f"fractions out of 0 to 1: {fractions}")
        drawn = Bootstrap(**scores["bootstrap"]) if scores.get("bootstrap") else None
        return cls(**fractions, recordings=int(scores["recordings"]), bootstrap=drawn)

    @property
    def reach(self) -> float:
        """The upper end of the wider interval."""
        return max(self.high, self.bootstrap.high) if self.bootstrap else self.high


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A model beside its floors under one evaluation: a random encoder, raw joints."""

    name: str  # test, linear or knn; then other shards or another split: "test on lab 0a1b2c3d"
    model: Measured
    floors: Mapping[str, Measured]
    seen: int = 0  # recordings that the model, or one it came from, was trained on

    @property
    def missed(self) -> list[str]:
        """The floors that the model does not clear."""
        return [who for who, floor in self.floors.items() if floor.accuracy >= self.model.accuracy]


class Mean(NamedTuple):
    """An accuracy over several draws of labels, in 0..1."""

    accuracy: float
    std: float


@dataclass(frozen=True, kw_only=True)
class FewLabels:
    """A frozen encoder beside its floors with few labels, over several draws of them."""

    name: str  # semi-supervised 0.05; then other shards or another split
    labels: int  # of a draw
    draws: int
    model: Mean
    floors: Mapping[str, Mean]

    @property
    def missed(self) -> list[str]:
        """The floors that the model does not clear."""
        return [who for who, floor in self.floors.items() if floor.accuracy >= self.model.accuracy]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The device-hours of one run of a lineage."""

    run: str
    stage: str
    hours: float
    digest: str
    seed: int
    steps: int
    labels: float | None


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run, its model, and what was measured of it."""

    folder: Path  # the run directory
    model: Model
    result: Mapping[str, Any]  # of run.json: all that shaped the result
    info: Mapping[str, Any]  # of run.json: command, commit, versions, hardware
    evaluations: tuple[Evaluation, ...]
    few_labels: tuple[FewLabels, ...]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def description(self) -> Description:
        return self.model.description

    @property
    def lineage(self) -> Mapping[str, Any]:
        return self.description.lineage

    @property
    def classifies(self) -> bool:
        """Whether it knows classes; an encoder gives features alone."""
        return self.model.head is not None

    @cached_property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    @property
    def shown(self) -> Evaluation:
        """The evaluation that stands for the model. UserError where there is none."""
        wanted = ("test",) if self.classifies else PROBES
        for name in wanted:
            for found in self.evaluations:
                if found.name == name:
                    return found
        raise UserError(
            f"{self.folder} has not been evaluated on test recordings: "
            f"python launch/evaluate.py {wanted[0]} --model {self.folder} --data SHARDS"
        )

    @cached_property
    def journal(self) -> tuple[dict[str, Any], ...]:
        """The journal's lines. UserError where there is no journal."""
        lines = tuple(tracking.read(self.folder))
        if not lines:
            raise UserError(
                f"{self.folder / 'journal.jsonl'} is missing, or nothing in it can be read: learning curves and "
                "latency come from it, so copy the whole run directory"
            )
        return lines

    def curve(self, metric: str) -> tuple[list[int], list[float]]:
        """The steps at which a metric was measured, and its values."""
        points = [(line["step"], line[metric]) for line in self.journal if isinstance(line.get(metric), int | float)]
        return [step for step, _ in points], [value for _, value in points]

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds for one clip on one CPU thread, as last measured."""
        return next(iter(reversed(self.curve("latency_ms")[1])), None)

    @property
    def machine(self) -> str | None:
        """What the latency was last measured on, in words."""
        return next((str(line[MACHINE]) for line in reversed(self.journal) if MACHINE in line), None)

    @property
    def costs(self) -> list[Cost]:
        """Of the run and of all that it came from, the oldest first."""
        return list(_costs(self.description.stage, self.lineage))[::-1]

    @property
    def hours(self) -> float:
        """Device-hours of the whole lineage."""
        return lineage_hours(self.lineage)


def lineage_hours(lineage: Mapping[str, Any]) -> float:
    """Device-hours of a run and of all that it came from, by the lineage of its model."""
    return sum(cost.hours for cost in _costs("", lineage))


def read(folder: Path) -> RunRecord:
    """The record of a run directory, or of the run that a model directory lies in.

    UserError where there is no run, no model, or a file that cannot be read.
    """
    run = home(folder)
    if run is None:
        raise UserError(f"{folder} is not a run directory (run.json is missing): name one whose run has finished")
    stored = recorded(run / "run.json")
    found = evaluation_file.read(run)
    result, info = stored.get("result"), stored.get("info")
    try:
        result = upgraded(result) if isinstance(result, dict) else None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{run / 'run.json'} is damaged ({error}): copy the run directory again") from None
    if not (isinstance(result, dict) and isinstance(info, dict)):
        raise UserError(f"{run / 'run.json'} holds no result and info: copy the run directory again")
    try:
        evaluations = tuple(_evaluation(name, who) for name, who in found.items() if _kind(name) in ("test", *PROBES))
        few = tuple(_few_labels(name, who) for name, who in found.items() if _kind(name).startswith(FEW))
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError) as error:
        raise UserError(f"{run / evaluation_file.FILE} is damaged ({error}): evaluate the model again") from None
    from bonestrap import serialization
    from bonestrap.model import ModelError

    try:
        model = serialization.load(run)
    except ModelError as error:
        raise UserError(str(error)) from None
    lineages.check(model, run)
    return RunRecord(folder=run, model=model, result=result, info=info, evaluations=evaluations, few_labels=few)


def home(folder: Path) -> Path | None:
    """The run directory that a model or run directory belongs to; None where it belongs to none."""
    folder = resolved(folder)
    return next((place for place in (folder, folder.parent) if (place / "run.json").is_file()), None)


def _kind(name: str) -> str:
    """What an evaluation on test recordings measures, without the shards and the split; nothing of others."""
    return "" if name.endswith(" on held-out") else re.split(" on | under ", name)[0]


def _evaluation(name: str, candidates: Mapping[str, Mapping[str, Any]]) -> Evaluation:
    first = next(iter(candidates))
    floors = {who: Measured.of(scores) for who, scores in candidates.items() if who != first}
    seen = candidates[first].get("seen", 0)
    return Evaluation(name=name, model=Measured.of(candidates[first]), floors=floors, seen=seen)


def _few_labels(name: str, candidates: Mapping[str, Mapping[str, Any]]) -> FewLabels:
    first = next(iter(candidates))
    means = {who: Mean(float(scores["accuracy"]), float(scores["std"])) for who, scores in candidates.items()}
    model, about = means.pop(first), candidates[first]
    return FewLabels(name=name, labels=int(about["labels"]), draws=len(about["runs"]), model=model, floors=means)


def _costs(stage: str, lineage: Mapping[str, Any]) -> Iterator[Cost]:
    yield Cost(
        run=lineage["run"],
        stage=stage,
        hours=lineage["device_hours"],
        digest=lineage["digest"],
        seed=lineage["seed"],
        steps=lineage["steps"],
        labels=lineage.get("labels"),
    )
    for parent in lineage.get("parents", ()):
        yield from _costs(parent["stage"], parent["lineage"])


def recorded(file: Path) -> dict[str, Any]:
    """The object in a JSON file of a run directory. UserError where it cannot be read."""
    try:
        return read_object(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}): copy the run directory again") from None
