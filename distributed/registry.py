"""Models in MLflow's registry: stored with their run, described by a signature, found by a name and an alias.

Loading one executes the Python files that are stored with it. Whoever may write to the server's artifacts or move an
alias decides what that is, so a model that is served is fetched by the digest that its registration printed:

    python -m distributed.registry models:/bonestrap@champion --digest 3f... --to served
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed.journal import metrics, read
from distributed.mlflow_sync import about, server
from distributed.tracking import replay

MEASURED = ("test/", "linear/", "knn/", "latency_ms", "device_hours")  # what a model is compared by
WEIGHTS = "bonestrap.weights"
ADDED = "registered_model_meta"  # by MLflow, to what it downloads: a name and a version


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
    params: Mapping[str, Sequence[str]] = field(default_factory=dict)  # lists of texts of a request, with defaults


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
    from mlflow.types.schema import DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    specs = [Schema([TensorSpec(np.dtype(np.float32), shape)]) for shape in (shipped.inputs, shipped.outputs)]
    params = [ParamSpec(key, DataType.string, list(known), shape=(-1,)) for key, known in shipped.params.items()]
    return mlflow.pyfunc.log_model(
        name="model",
        python_model=str(shipped.script),
        artifacts={"model": str(shipped.folder)},
        code_paths=[str(path) for path in shipped.code],
        pip_requirements=list(shipped.requirements),
        signature=ModelSignature(*specs, params=ParamSchema(params) if params else None),
        input_example=shipped.example,
        registered_model_name=name,
        metadata={**shipped.metadata, "weights": weights},
    )


def digest(folder: Path) -> str:
    """SHA-256 of all files of a stored model, code and weights, by their names."""
    found = hashlib.sha256()
    for file in sorted(file for file in folder.rglob("*") if not file.is_dir() or file.is_symlink()):
        name = file.relative_to(folder).as_posix()
        if name != ADDED:
            found.update(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {name}\n".encode())
    return found.hexdigest()


def fetch(model: str, to: Path, expected: str) -> None:
    """Download `models:/NAME/VERSION` or `models:/NAME@ALIAS` to a new folder, if it is what `expected` says.

    Nothing of it is executed, and nothing is left at `to` otherwise. Raises ValueError then, and what MLflow raises.
    """
    if to.exists():
        raise ValueError(f"{to} is there already; remove it or give another folder")
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent) as folder:
        there = downloaded(model, Path(folder))
        if (found := digest(there)) != expected.lower():
            raise ValueError(f"{model} has the digest {found}, not {expected}; it is not what was registered")
        there.rename(to)


def downloaded(model: str, folder: Path) -> Path:
    from mlflow.artifacts import download_artifacts

    return Path(download_artifacts(artifact_uri=model, dst_path=str(folder / "model")))


def digest_of(run: Path, name: str, version: int) -> str:
    """The digest of a version as the run's server gives it out."""
    os.environ["MLFLOW_REGISTRY_URI"] = os.environ["MLFLOW_TRACKING_URI"] = server(run)
    with tempfile.TemporaryDirectory() as folder:
        return digest(downloaded(f"models:/{name}/{version}", Path(folder)))


def main(words: list[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m distributed.registry", description="Fetch a registered model if it is the one that is meant."
    )
    parser.add_argument("model", help="such as models:/bonestrap@champion or models:/bonestrap/3")
    parser.add_argument("--digest", required=True, help="SHA-256 that register.py printed")
    parser.add_argument("--to", required=True, type=Path, help="new folder, for mlflow models serve -m FOLDER")
    given = parser.parse_args(words)
    try:
        fetch(given.model, given.to, given.digest)
    except Exception as error:
        ours = isinstance(error, (OSError, ValueError, ImportError))
        if not ours and type(error).__module__.partition(".")[0] not in ("mlflow", "sqlalchemy"):
            raise
        print(str(error).partition("\n")[0], file=sys.stderr)
        return 2
    print(f"{given.to} is {given.model}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
