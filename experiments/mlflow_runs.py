"""The training runs that MLflow has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bonestrap.options import UserError
from distributed.mlflow_sync import missing
from distributed.tracking import database, reconcile
from shards.storage.redaction import redacted, shown

# How long an unreachable server is waited for; MLflow's own defaults are minutes.
TIMEOUTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run, as MLflow has it."""

    id: str
    name: str
    status: str = "FINISHED"
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    data: str = ""  # digest of the packed recordings


def read(uri: str, experiment: str | None) -> list[Run]:
    """Every run that a Bonestrap command has logged. UserError where MLflow cannot be read."""
    file = database(uri)
    if uri.startswith("sqlite:///") and not file.is_file():  # MLflow would create an empty one
        raise UserError(
            f"{file} does not exist: run from the folder that holds it, give --tracking-uri, or train first"
        )
    for name, value in TIMEOUTS.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise UserError("comparing reads MLflow, which is not installed: pip install -e '.[train]'") from None
    try:
        with suppress(Exception):  # reading is allowed where writing is not
            reconcile(MlflowClient(uri), redacted(uri))
        return [
            Run(
                id=run.info.run_id, name=run.info.run_name, status=run.info.status,
                params=run.data.params, metrics=run.data.metrics, tags=run.data.tags,
                data=next((used.dataset.digest for used in run.inputs.dataset_inputs), ""),
            )
            for run in _search(MlflowClient(uri), experiment)
        ]  # fmt: skip
    except ImportError as error:  # MLflow itself, or the driver of a database
        raise UserError(f"MLflow at {shown(uri)} cannot be read: {missing(error)}; pip install it") from None
    except MlflowException as error:
        raise UserError(
            f"MLflow at {uri} cannot be read ({str(error).splitlines()[0]}): check --tracking-uri"
        ) from None


def _search(client: Any, experiment: str | None) -> Iterator[Any]:
    found = [client.get_experiment_by_name(experiment)] if experiment else client.search_experiments()
    ids = [each.experiment_id for each in found if each]
    token = None
    while ids:
        page = client.search_runs(ids, "tags.`bonestrap.stage` != ''", max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
