"""The end of a tracked training: its figures on held-out recordings, its whole cost, and the model in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from distributed import tracking
from evaluation import run_record
from evaluation.results import figures_of
from launch.training.options import Options
from launch.training.registration import HELD_OUT, register_finished
from launch.training.training import Training

if TYPE_CHECKING:
    from bonestrap.model import Model


def conclude(training: Training, options: Options) -> None:
    """Measure what a finished run is compared by, once, and register its model."""
    from bonestrap import serialization

    model = serialization.load(options.run)
    known = tracking.latest(options.run)
    if "total_device_hours" not in known:
        tracking.add(options.run, measured(training, options, model, known))
    if options.register:
        register_finished(options.run)


def sized(model: Model) -> dict[str, float]:
    """Parameters, and the cost with all that the model came from."""
    return {
        "parameters": sum(each.numel() for each in model.parameters()),
        "total_device_hours": run_record.lineage_hours(model.description.lineage),
    }


def measured(training: Training, options: Options, model: Model, known: Mapping[str, float]) -> dict[str, float]:
    """Size, cost with all that the run came from, and figures on held-out recordings, as far as there are any."""
    found = sized(model)
    if model.head is None:  # an encoder is known by its neighbours, which the last probe has counted
        names = {"knn": HELD_OUT, "knn_low": f"{HELD_OUT}_low", "knn_high": f"{HELD_OUT}_high"}
        return found | {name: known[probed] for probed, name in names.items() if probed in known}
    if training.pool is None and training.composition.whole:
        from evaluation import held_out

        scores = held_out.scores(options.run, model, options, training.split)
        if scores is not None:
            found |= figures_of("held_out", scores)
    return found
