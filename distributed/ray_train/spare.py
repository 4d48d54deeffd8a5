"""Leave out processes that Ray Train would start for a run, seconds each."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any


def spare(trainer: Any) -> None:
    """Leave out one for data sets of Ray's, of which there are none, and, where the cluster ends with this command
    anyhow, one that tidies up after it and one that asks for more machines."""
    unneeded = {"DatasetsCallback"}
    alone = not os.environ.get("RAY_ADDRESS")
    if alone:
        unneeded.add("PlacementGroupCleanerCallback")
    with suppress(AttributeError):  # these are no public names of Ray's
        every, started = trainer._create_default_callbacks, trainer._initialize_and_run_controller
        trainer._create_default_callbacks = lambda: [one for one in every() if type(one).__name__ not in unneeded]
        if alone:
            policy = one_machine(trainer.scaling_config)
            trainer._initialize_and_run_controller = lambda **given: started(**{**given, "scaling_policy": policy})


def one_machine(scaling: Any) -> Any:
    """A fixed number of workers, of which no autoscaler is told: this machine does not grow."""
    from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy

    class OneMachine(FixedScalingPolicy):
        def after_controller_start(self, train_run_context: Any) -> None:
            return

        def _maybe_send_resource_request(self) -> None:
            return

    return OneMachine(scaling)
