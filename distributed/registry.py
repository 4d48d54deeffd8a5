"""Models in MLflow's registry: stored with their run, described by a signature, found by a name and an alias."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed.journal import metrics, read
from distributed.mlflow_sync import about, server
from distributed.tracking import replay

MEASURED = ("test/", "linear/", "knn/", "latency_ms", "device_hours")  # what a model is compared by
WEIGHTS = "bonestrap.weights"


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """A model directory, and what MLflow needs to serve it anywhere."""

    folder: Path
    script: Path  # makes a pyfunc of the directory when it is executed
    code: Sequence[Path]  # packages that the script imports
    requirements: Sequence[str]
    inputs: tuple[int, ...]  # shape of a request, -1 where any length will do
    outputs: tuple[int, ...]
    example: Any  # a request, (2, ...) float32
    metadata: Mapping[str, Any]  # classes, layout, lineage


def publish(run: Path, shipped: Shipped, *, name: str, alias: str, tags: Mapping[str, str]) -> int:
    """Make `name@alias` the model of a run directory, and return its version.

    The same weights from the same run are stored once: then the alias alone is moved. What was measured of the model
    goes with it. Raises what MLflow raises, and ValueError where the run is not tracked.
    """
    if not about(run):
        raise ValueError(f"{run} was never sent to MLflow; train it without --no-track")
    run_id = replay(run)
    uri = server(run)
    os.environ["MLFLOW_REGISTRY_URI"] = os.environ["MLFLOW_TRACKING_URI"] = uri
    import mlflow

    client = mlflow.MlflowClient(uri)
    weights = hashlib.sha256((shipped.folder / "model.safetensors").read_bytes()).hexdigest()
    for known in client.search_model_versions(f"name = '{name}'"):
        if known.tags.get(WEIGHTS) == weights and known.run_id == run_id:
            client.set_registered_model_alias(name, alias, known.version)
            return int(known.version)
    before = client.get_run(run_id).info
    try:
        with mlflow.start_run(run_id=run_id):
            logged = stored(shipped, name, weights)
            for line in read(run):
                if found := {key: value for key, value in metrics(line).items() if key.startswith(MEASURED)}:
                    when = round(line["time"] * 1000)
                    mlflow.log_metrics(found, step=line["step"], timestamp=when, model_id=logged.model_id)
    finally:  # training ended when it ended
        client.set_terminated(run_id, before.status, before.end_time)
    version = logged.registered_model_version
    for key, value in {**tags, WEIGHTS: weights}.items():
        client.set_model_version_tag(name, version, key, value)
    client.set_registered_model_alias(name, alias, version)
    return int(version)


def stored(shipped: Shipped, name: str, weights: str) -> Any:
    """The model as MLflow has it, with a new version under `name`."""
    import mlflow
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    specs = [Schema([TensorSpec(np.dtype(np.float32), shape)]) for shape in (shipped.inputs, shipped.outputs)]
    return mlflow.pyfunc.log_model(
        name="model",
        python_model=str(shipped.script),
        artifacts={"model": str(shipped.folder)},
        code_paths=[str(path) for path in shipped.code],
        pip_requirements=list(shipped.requirements),
        signature=ModelSignature(*specs),
        input_example=shipped.example,
        registered_model_name=name,
        metadata={**shipped.metadata, "weights": weights},
    )
