"""What a table costs: by the published figures, and by what has been measured here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bonestrap.recipe import Recipe
from evaluation.run_record import recorded
from experiments.steps import Plan, Setup, Step, Words
from shards import splits
from shards.reading import Reading


class Published(NamedTuple):
    """The pretraining of NTU-60 in Moliner et al., section 4.2: 16 hours on 4 V100 for ST-GCN 1x."""

    hours: float = 64.0
    epochs: int = 1600
    performances: int = 13_433
    frames: int = 150


PUBLISHED = Published()


def expected(plan: Plan, setup: Setup, reading: Reading, read: Callable[[Words], Recipe]) -> str:
    """The commands that remain, and what they cost.

    `read` parses the recipe of a pretraining command's words.
    """
    remaining = [step for step in plan.steps if not setup.done(step)]
    count = Counter(step.script.removesuffix(".py") for step in remaining)
    finished = len(plan.steps) - len(remaining)
    said = [f"{plan.title}: {len(plan.cells)} cells, {finished} of {len(plan.steps)} commands are done"]
    said += [f"  to do: {', '.join(f'{number} {script}' for script, number in count.items())}"] if remaining else []
    pretraining = [step for step in remaining if step.script == "pretrain.py"]
    if pretraining:
        hours = v100_hours(pretraining, reading, read)
        said += (
            ["  pretraining: no hours are stated for this encoder"]
            if hours is None
            else [
                f"  pretraining: {hours:,.0f} V100-hours" if hours >= 10 else f"  pretraining: {hours:.2g} V100-hours",
                "    from the paper's 16 h on 4 V100 for ST-GCN 1x and 23 h on 8 for 2x, in proportion to recordings,",
                "    epochs and frames; it states nothing for fine-tuning and distillation",
            ]
        )
    for script in sorted(count.keys() - {"evaluate"}):
        measured = [
            device_hours(step, setup) for step in plan.steps if step.script == f"{script}.py" and setup.done(step)
        ]
        if measured:
            mean = sum(measured) / len(measured)
            said.append(
                f"  {script}, measured here: {mean:.3f} device-hours each, {mean * count[script]:.2f} remaining"
            )
    return "\n".join(said)


def v100_hours(pretraining: Sequence[Step], reading: Reading, read: Callable[[Words], Recipe]) -> float | None:
    """The published cost, in proportion to recordings, epochs, frames and the encoder's relative cost, if known."""
    manifest, total = reading.manifest, 0.0
    performances: dict[str, float] = {}
    for step in pretraining:
        recipe = read(step.words)
        if recipe.split not in performances:
            (views,) = reading.counts(splits.find(manifest.name, recipe.split).train)
            performances[recipe.split] = manifest.performances * views / manifest.views
        clips = recipe.schedule.epochs * performances[recipe.split]
        fraction = clips * recipe.clip.frames / (PUBLISHED.epochs * PUBLISHED.performances * PUBLISHED.frames)
        if recipe.encoder.relative_cost is None:
            return None
        total += PUBLISHED.hours * recipe.encoder.relative_cost * fraction
    return total


def device_hours(step: Step, setup: Setup) -> float:
    """Device-hours of a training that is done; evaluations count as none."""
    if step.measures:
        return 0.0
    return recorded(setup.runs / step.run / "model" / "model.json")["lineage"]["device_hours"]


def total_device_hours(plan: Plan, setup: Setup) -> float:
    """Device-hours of all trainings of a table."""
    return round(sum(device_hours(step, setup) for step in plan.steps), 3)
