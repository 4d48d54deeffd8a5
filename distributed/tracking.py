"""A run in MLflow, which may be slow, away for an hour or not installed: the run neither waits nor stops.

No point is lost, since every point is read from the journal, sent with the time at which it was measured, and sent
again until it has arrived. A run directory has one MLflow run, kept over kills and resumes; `RUN/tracking.json` holds
its id and all that was said about it. `python -m distributed.tracking RUN ...` fills another server, or the same one
after an outage, at any time, and tells it of runs that were killed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from distributed.delivery import Delivery, Postman, about, database, save_about, server
from distributed.journal import Journal, add, latest, read, spent
from distributed.lease import alive
from distributed.watch import Left
from shards.redaction import redacted

__all__ = [
    "Dataset", "Journal", "Tracking", "about", "add", "attach", "database", "default_uri", "describe", "latest", "read",
    "recording", "replay", "run_id", "server", "spent",
]  # fmt: skip


def default_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or `mlflow.db` in the working directory; a relative SQLite file is made absolute, as
    workers have another working directory."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    _, mark, query = uri.partition("?")
    return f"sqlite:///{database(uri).resolve()}{mark}{query}" if uri.startswith("sqlite:///") else uri


class Dataset(NamedTuple):
    """What the run reads: MLflow shows it beside the run."""

    name: str
    digest: str  # of the shards' manifest
    source: str  # where the shards are


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """What MLflow knows of a run. Build it where the command was typed: the default address depends on the folder."""

    experiment: str
    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)  # git commit, versions, the MLflow run it came from, ...
    dataset: Dataset | None = None
    uri: str = field(default_factory=default_uri)


def describe(run: Path, tracking: Tracking) -> None:
    """Write `tracking` beside the journal, without secrets; the ids of runs that MLflow servers gave are kept."""
    run.mkdir(parents=True, exist_ok=True)
    known = about(run)
    told = asdict(tracking)
    told["params"] = {key: str(value) for key, value in tracking.params.items()}
    told["dataset"] = tracking.dataset and tracking.dataset._asdict()
    save_about(run, {**told, "created": known.get("created", time.time()), "runs": known.get("runs", {})})


def run_id(run: Path) -> str | None:
    """The MLflow run of a run directory on the server that it was last tracked by, for the lineage of what follows."""
    told = about(run)
    return told.get("runs", {}).get(told.get("uri"))


@contextmanager
def recording(run: Path, tracking: Tracking | None, done: int, say: Callable[[str], None]) -> Iterator[Journal]:
    """A journal of a run that has done `done` steps, replayed to MLflow while open; the last line says how it ended."""
    journal = Journal(run, done=done)
    postman = None
    if tracking is not None:
        describe(run, tracking)
        postman = Postman(run, say, tracking.uri)
        postman.start()
    status = "finished"
    try:
        yield journal
    except Left:
        status = "killed"
        raise
    except BaseException:
        status = "failed"
        raise
    finally:
        journal.write(journal.step, {"status": status})
        journal.close()
        if postman is not None:
            postman.finish()


def replay(run: Path) -> str:
    """Send the whole journal of a run that is not being trained; the MLflow run's id. Raises what MLflow raises.

    A run whose journal does not say how it ended, and which no job holds, was killed: MLflow would show it as running
    for ever.
    """
    delivery = Delivery(run)
    delivery.send()
    ended = any("status" in line for line in read(run))
    if not ended and not alive(run / "checkpoints"):
        delivery.end("killed", max((line["time"] for line in read(run)), default=time.time()))
    return delivery.id


def attach(run: Path, file: Path, *, tag: str) -> str:
    """Keep a file with a run in MLflow; its address there, which becomes the run's `tag`. Raises what MLflow raises."""
    identifier = replay(run)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=server(run))
    client.log_artifact(identifier, str(file))
    address = redacted(f"{client.get_run(identifier).info.artifact_uri}/{file.name}")
    client.set_tag(identifier, tag, address)
    return address


if __name__ == "__main__":
    import sys

    for name in sys.argv[1:]:
        print(f"{name}: MLflow run {replay(Path(name).resolve())}")
