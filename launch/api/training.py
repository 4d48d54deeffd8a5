"""`pretrain`, `finetune` and `distill`, which return the run that they have made."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launch.api.words import Settings, interruptible, words

if TYPE_CHECKING:
    from bonestrap.model import Model
    from distributed.loop import Summary

Location = str | os.PathLike[str]  # a path, the address of shards, or a Run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A training that has reached its end. Where a path to a run or a model is asked for, it can be given itself."""

    directory: Path
    steps: int
    device_hours: float
    metrics: Mapping[str, float]  # the newest value of each: the loss, and what probes of the encoder found

    @functools.cached_property
    def model(self) -> Model:
        """The model, on the CPU and in evaluation mode."""
        from bonestrap.serialization import load

        return load(self.directory)

    def __fspath__(self) -> str:
        return str(self.directory)

    @classmethod
    def of(cls, summary: Summary) -> Run:
        """What a training command has made."""
        return cls(
            directory=summary.run,
            steps=summary.steps,
            device_hours=summary.device_hours,
            metrics=dict(summary.metrics),
        )


def pretrain(
    recipe: str,
    *,
    data: Location | Sequence[Location],
    run: Location,
    init_from: Location | None = None,
    seed: int = 0,
    workers: int | str = 0,
    track: bool = True,
    options: Settings | None = None,
) -> Run:
    """Pretrain an encoder as `launch/pretrain.py RECIPE` does; several folders of `data` are pooled.

    Raises ValueError, of one sentence, where the command would print one.
    """
    from launch import pretrain as command
    from launch.cli.parser import parse_choice
    from launch.recipes import RECIPES

    folders = [data] if isinstance(data, str | os.PathLike) else list(data)
    given = {"data": folders, "run": run, "init-from": init_from, "seed": seed, "workers": workers, "track": track}
    line = [recipe, *words(given, options)]
    with interruptible():
        return Run.of(command.main(*parse_choice("recipe", RECIPES, command.Options, line)))


def finetune(
    *,
    model: Location,
    data: Location,
    run: Location,
    labels: float = 1.0,
    scratch: bool = False,
    seed: int = 0,
    workers: int | str = 0,
    track: bool = True,
    options: Settings | None = None,
) -> Run:
    """Fine-tune a model's encoder on a fraction of the labels as `launch/finetune.py` does; see `pretrain`."""
    from launch import finetune as command
    from launch.cli.parser import parse

    given = {
        "model": model, "data": data, "run": run, "labels": labels, "scratch": scratch, "seed": seed,
        "workers": workers, "track": track,
    }  # fmt: skip
    with interruptible():
        return Run.of(command.main(parse(command.Options, words(given, options))))


def distill(
    *,
    teacher: Location,
    data: Location,
    run: Location,
    seed: int = 0,
    workers: int | str = 0,
    track: bool = True,
    options: Settings | None = None,
) -> Run:
    """Distil a teacher into a student, without labels, as `launch/distill.py` does; see `pretrain`."""
    from launch import distill as command
    from launch.cli.parser import parse

    given = {"teacher": teacher, "data": data, "run": run, "seed": seed, "workers": workers, "track": track}
    with interruptible():
        return Run.of(command.main(parse(command.Options, words(given, options))))
