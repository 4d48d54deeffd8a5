"""How MLflow shows an experiment of ours: a page with the columns that matter, and a run's notes with links.

MLflow keeps the columns of its table in the browser of whoever looks. What a server can keep is a shared view, a tag
of the experiment that an address names: `address` gives it. The plain address of an experiment opens on MLflow's own
columns, whatever is stored here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

NOTE = "mlflow.note.content"
KEY = "bonestrap"
SHARED = f"mlflow.sharedViewState.{KEY}"
MODELS = "bonestrap.registered"  # tag of a run: NAME/VERSION, separated by commas
# What models are compared by: every finished run of a training command that is tracked has the first group, a
# classifier that has been tested the others as well.
ALL = (
    "tags.bonestrap.stage", "params.encoder", "params.method", "metrics.parameters", "metrics.held_out/accuracy",
    "metrics.latency_ms", "metrics.device_hours", "metrics.total_device_hours", "params.split", "params.seed",
)  # fmt: skip
TESTED = (
    "params.labels", "metrics.test/accuracy", "metrics.test/accuracy_low", "metrics.test/accuracy_high",
    "metrics.test/balanced_accuracy", "metrics.test/top5_accuracy",
)  # fmt: skip
OWN = ("Models", "Dataset")  # of MLflow's own columns


def tags() -> dict[str, str]:
    """The tags of an experiment with the view."""
    columns = [f"attributes.`{name}`" for name in OWN]
    for kind, _, name in (each.partition(".") for each in (*ALL, *TESTED)):
        columns.append(f"{kind}.`{name}`")
    order = {"orderByKey": "metrics.`held_out/accuracy`", "orderByAsc": False}
    return {SHARED: json.dumps({"selectedColumns": columns, "searchFilter": "", **order})}


def path(experiment: str) -> str:
    """Where, on an MLflow server, an experiment's id has the view."""
    return f"/#/experiments/{experiment}/runs?viewStateShareKey={KEY}"


def note(client: Any, tags: Mapping[str, str]) -> str:
    """What stands above a run: what it came from, nearest first, as links, and where it lies."""
    parents = [f"[{name}](#/experiments/{experiment}/runs/{run})" for name, experiment, run in ancestors(client, tags)]
    stage = tags.get("bonestrap.stage", "")
    lines = [
        f"{stage or 'run'}, made from {' ← '.join(parents)}"
        if parents
        else f"{stage or 'run'}, made from no other run",
        f"directory: `{tags.get('bonestrap.run_dir', '')}`",
    ]
    if command := tags.get("bonestrap.command"):
        lines.append(f"command: `{command}`")
    for model in filter(None, tags.get(MODELS, "").split(",")):
        name, _, version = model.rpartition("/")
        lines.append(f"model: [{name} version {version}](#/models/{name}/versions/{version})")
    return "\n\n".join(lines)


def ancestors(client: Any, tags: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Name, experiment and id of the runs that a run came from, as far as the server has them."""
    from mlflow.exceptions import MlflowException

    seen: set[str] = set()
    while (parent := tags.get("bonestrap.parent", "")) and parent not in seen:
        seen.add(parent)
        try:
            found = client.get_run(parent)
        except MlflowException:
            return
        yield found.info.run_name, found.info.experiment_id, parent
        tags = found.data.tags


def loss(method: str) -> str:
    """A method's name as MLflow takes it in a metric's."""
    return re.sub(r"[^\w.-]", "_", method)
