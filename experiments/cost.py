"""What a table costs: by what was published, and by what has been measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bonestrap.recipe import Recipe
from evaluation.run_record import recorded
from experiments.steps import Plan, Setup, Step, Words
from shards import splits
from shards.reading import Reading


class Stated(NamedTuple):
    """A pretraining of NTU-60 in Moliner et al., section 4.2: 16 hours on 4 V100 at width 1."""

    hours: float = 64.0
    epochs: int = 1600
    performances: int = 13_433
    frames: int = 150


STATED = Stated()


def expected(plan: Plan, setup: Setup, reading: Reading, read: Callable[[Words], Recipe]) -> str:
    """What is left to do, and what it costs by the paper's own figures and by what has been measured here.

    `read` gives the recipe that a pretraining command's words mean.
    """
    rest = [step for step in plan.steps if not setup.done(step)]
    count = Counter(step.script.removesuffix(".py") for step in rest)
    finished = len(plan.steps) - len(rest)
    said = [f"{plan.title}: {len(plan.cells)} cells, {finished} of {len(plan.steps)} commands are done"]
    said += [f"  to do: {', '.join(f'{number} {script}' for script, number in count.items())}"] if rest else []
    pretraining = [step for step in rest if step.script == "pretrain.py"]
    if pretraining:
        hours = v100_hours(pretraining, reading, read)
        said += [
            f"  pretraining: {hours:,.0f} V100-hours" if hours >= 10 else f"  pretraining: {hours:.2g} V100-hours",
            "    by the paper's figures, 16 h on 4 at width 1 and 23 h on 8 at width 2, in proportion to recordings,",
            "    epochs and frames; of fine-tuning and distillation it states none",
        ]
    for script in sorted(count.keys() - {"evaluate"}):
        known = [lasted(step, setup) for step in plan.steps if step.script == f"{script}.py" and setup.done(step)]
        if known:
            mean = sum(known) / len(known)
            said.append(f"  {script}, measured here: {mean:.3f} device-hours each, {mean * count[script]:.2f} to come")
    return "\n".join(said)


def v100_hours(pretraining: Sequence[Step], reading: Reading, read: Callable[[Words], Recipe]) -> float:
    """In proportion to what is stated, to recordings, epochs, frames and the encoder's relative cost."""
    manifest, total = reading.manifest, 0.0
    performances: dict[str, float] = {}
    for step in pretraining:
        recipe = read(step.words)
        if recipe.split not in performances:
            (views,) = reading.counts(splits.find(manifest.name, recipe.split).train)
            performances[recipe.split] = manifest.performances * views / manifest.views
        clips = recipe.schedule.epochs * performances[recipe.split]
        share = clips * recipe.clip.frames / (STATED.epochs * STATED.performances * STATED.frames)
        total += STATED.hours * recipe.encoder.relative_cost * share
    return total


def lasted(step: Step, setup: Setup) -> float:
    """Device-hours of a training that is done; an evaluation counts none."""
    if step.measures:
        return 0.0
    return recorded(setup.runs / step.run / "model" / "model.json")["lineage"]["device_hours"]


def spent(plan: Plan, setup: Setup) -> float:
    """Device-hours of all trainings of a table."""
    return round(sum(lasted(step, setup) for step in plan.steps), 3)
