"""`evaluate`, which returns the figures of a model and of its floors."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from launch.api.training import Location
from launch.api.words import Settings, interruptible, words


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluation of one model found."""

    protocol: str
    model: Path
    results: Mapping[str, Mapping[str, Mapping[str, Any]]]  # by evaluation, then by candidate, the model first

    @property
    def figures(self) -> Mapping[str, Any]:
        """The model's own, of the first evaluation: {"accuracy": 0.62, ...}."""
        candidates = next(iter(self.results.values()))
        return next(iter(candidates.values()))


def evaluate(
    protocol: str,
    *,
    model: Location,
    data: Location,
    split: str | None = None,
    on: Literal["test", "held-out"] = "test",
    seed: int = 0,
    track: bool = True,
    options: Settings | None = None,
) -> Evaluation:
    """Evaluate a model as `launch/evaluate.py PROTOCOL` does; see `pretrain`."""
    from evaluation.protocols import PROTOCOLS
    from launch import evaluate as command
    from launch.cli.parser import parse_choice

    given = {"model": [model], "data": data, "split": split, "on": on, "seed": seed, "track": track}
    line = [protocol, *words(given, options)]
    with interruptible():
        found = command.main(*parse_choice("protocol", PROTOCOLS, command.Options, line))
    return Evaluation(protocol=protocol, model=Path(os.fspath(model)), results=next(iter(found.values())))
