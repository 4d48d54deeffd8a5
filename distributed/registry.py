"""Models in MLflow's registry: stored with their run, described by a signature, found by a name and an alias.

Loading one executes the Python files that are stored with it. Whoever may write to the server's artifacts or move an
alias decides what that is, so a model that is served is fetched by the digest that its registration printed:

    python -m distributed.registry models:/bonestrap@champion --digest 3f... --to served
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed.connection import inherited
from distributed.journal import metrics, read
from distributed.mlflow_sync import about, server
from distributed.telemetry import view
from distributed.tracking import replay

MEASURED = ("test/", "linear/", "knn/", "held_out/", "latency_ms", "device_hours", "total_device_hours")
WEIGHTS = "bonestrap.weights"
CHOSEN_BY = "bonestrap.held_out"  # tag of a version: its figure on held-out recordings
BEST = "best"  # alias
DESCRIBED = 5000  # characters of a description that a database of MLflow's takes
ADDED = "registered_model_meta"  # by MLflow, to what it downloads: a name and a version


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """A model directory, and what MLflow needs to serve it anywhere."""

    folder: Path
    script: Path  # makes a pyfunc of the directory when it is executed
    code: Sequence[Path]  # packages that the script imports, of which their Python files are stored
    requirements: Sequence[str]
    inputs: tuple[int, ...]  # shape of a request, -1 where any length will do
    outputs: tuple[int, ...]
    example: Any  # a request, (2, ...) float32
    metadata: Mapping[str, Any]  # classes, layout, lineage
    params: Mapping[str, Sequence[str]] = field(default_factory=dict)  # lists of texts of a request, with defaults


def publish(
    run: Path,
    shipped: Shipped,
    *,
    names: Sequence[str],
    alias: str | None = None,
    tags: Mapping[str, str],
    card: str,
    chosen_by: float | None = None,
) -> dict[str, int]:
    """Make the model of a run directory a version of each of the registered models `names`; the versions by name.

    The same weights from the same run are stored once, whatever the names: then versions and aliases alone are made.
    What was measured of the model goes with it, and its card is the versions' description. `alias` names the version,
    and `BEST` the one whose `chosen_by` is the highest of a name, which has to be measured on held-out recordings.
    Raises what MLflow raises, and ValueError where the run is not tracked.
    """
    if not about(run):
        raise ValueError(f"{run} was never sent to MLflow; train it without --no-track")
    run_id = replay(run)
    uri = server(run)
    quiet = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    with inherited({"MLFLOW_REGISTRY_URI": uri, "MLFLOW_TRACKING_URI": uri, **quiet}):
        import mlflow

        client = mlflow.MlflowClient(uri)
        weights = hashlib.sha256((shipped.folder / "model.safetensors").read_bytes()).hexdigest()
        tracked = client.get_run(run_id)
        source, model_id = stored(client, tracked, weights) or log(client, tracked, shipped, weights)
        measure(client, run, run_id, model_id)
        told = {**tags, WEIGHTS: weights, **({} if chosen_by is None else {CHOSEN_BY: f"{chosen_by:.6f}"})}
        versions = {}
        for name in names:
            version = version_of(client, name, run_id, weights)
            if version is None:
                with suppress(mlflow.exceptions.MlflowException):  # it is there already
                    client.create_registered_model(name)
                version = int(client.create_model_version(name, source, run_id, model_id=model_id).version)
            for key, value in told.items():
                client.set_model_version_tag(name, str(version), key, value)
            client.update_model_version(name, str(version), excerpt(card))
            if alias is not None:
                client.set_registered_model_alias(name, alias, str(version))
            if (best := best_of(client, name)) is not None:
                client.set_registered_model_alias(name, BEST, str(best))
            versions[name] = version
        name_on_run(client, run_id, versions)
    return versions


def revise(run: Path, card: str) -> None:
    """Give the versions of a run's model a new card, and the model what was measured since. Raises what MLflow raises.

    Nothing where it is not registered.
    """
    run_id = replay(run)
    from mlflow import MlflowClient

    client = MlflowClient(server(run))
    versions = client.search_model_versions(f"run_id = '{run_id}'")
    for each in versions:
        client.update_model_version(each.name, each.version, excerpt(card))
    for model_id in {each.model_id for each in versions if each.model_id}:
        measure(client, run, run_id, model_id)


def stored(client: Any, run: Any, weights: str) -> tuple[str, str] | None:
    """Where a run's model with these weights lies, and its id, if MLflow has it."""
    found = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    same = [each for each in found if each.tags.get(WEIGHTS) == weights]
    return (same[0].artifact_location, same[0].model_id) if same else None


def python_files(package: Path, into: Path) -> Path:
    """A copy of a package's Python files: what else lies in it, weights for one, is no code of a model."""

    def others(folder: str, names: list[str]) -> list[str]:
        return [
            name for name in names if name == "__pycache__" or not (name.endswith(".py") or Path(folder, name).is_dir())
        ]

    return Path(shutil.copytree(package, into / package.name, ignore=others))


def log(client: Any, run: Any, shipped: Shipped, weights: str) -> tuple[str, str]:
    """Store a model with its run, whose end stays when it was: where it lies, and its id."""
    import mlflow
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types.schema import DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    specs = [Schema([TensorSpec(np.dtype(np.float32), shape)]) for shape in (shipped.inputs, shipped.outputs)]
    params = [ParamSpec(key, DataType.string, list(known), shape=(-1,)) for key, known in shipped.params.items()]
    try:
        with (
            mlflow.start_run(run_id=run.info.run_id),
            warnings.catch_warnings(),
            tempfile.TemporaryDirectory() as place,
        ):
            warnings.simplefilter("ignore")  # that it cannot tell the signature, which is given
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(shipped.script),
                artifacts={"model": str(shipped.folder)},
                code_paths=[str(python_files(package, Path(place))) for package in shipped.code],
                pip_requirements=list(shipped.requirements),
                signature=ModelSignature(*specs, params=ParamSchema(params) if params else None),
                input_example=shipped.example,
                metadata={**shipped.metadata, "weights": weights},
                tags={WEIGHTS: weights},
            )
    finally:  # training ended when it ended
        client.set_terminated(run.info.run_id, run.info.status, run.info.end_time)
    return client.get_logged_model(logged.model_id).artifact_location, logged.model_id


def measure(client: Any, run: Path, run_id: str, model_id: str) -> None:
    """Tell MLflow what was measured of a model; a point that it has is stored once."""
    from mlflow.entities import Metric

    points = [
        Metric(name, value, round(line["time"] * 1000), line["step"], model_id=model_id, run_id=run_id)
        for line in read(run)
        for name, value in metrics(line).items()
        if name.startswith(MEASURED)
    ]
    for begin in range(0, len(points), 1000):
        client.log_batch(run_id, metrics=points[begin : begin + 1000])


def version_of(client: Any, name: str, run_id: str, weights: str) -> int | None:
    """The version of a registered model that is a run's, with these weights."""
    for known in client.search_model_versions(f"name = '{name}'"):
        if known.tags.get(WEIGHTS) == weights and known.run_id == run_id:
            return int(known.version)
    return None


def best_of(client: Any, name: str) -> int | None:
    """The version of the highest figure on held-out recordings, the newest of equal ones; None where none has one."""
    rated = [
        (float(known.tags[CHOSEN_BY]), int(known.version))
        for known in client.search_model_versions(f"name = '{name}'")
        if CHOSEN_BY in known.tags
    ]
    return max(rated)[1] if rated else None


def name_on_run(client: Any, run_id: str, versions: Mapping[str, int]) -> None:
    """Say on a run's page which versions are its model, unless somebody has written a note of his own there."""
    tags = client.get_run(run_id).data.tags
    known = [each for each in tags.get(view.MODELS, "").split(",") if each]
    every = ",".join(dict.fromkeys([*known, *(f"{name}/{version}" for name, version in versions.items())]))
    ours = tags.get(view.NOTE) in (None, view.note(client, tags))
    client.set_tag(run_id, view.MODELS, every)
    if ours:
        client.set_tag(run_id, view.NOTE, view.note(client, {**tags, view.MODELS: every}))


def excerpt(card: str) -> str:
    """A card in the length of a description, without its last sections where it is longer."""
    if len(card) <= DESCRIBED:
        return card
    more = "\n\nThe whole card is in the model's `README.md`."
    return card[: DESCRIBED - len(more)].rpartition("\n## ")[0].rstrip() + more


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
    uri = server(run)
    with inherited({"MLFLOW_REGISTRY_URI": uri, "MLFLOW_TRACKING_URI": uri}), tempfile.TemporaryDirectory() as folder:
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
