"""A run in MLflow, which may be slow, away for an hour or not installed: the run neither waits nor stops.

No point is lost, since every point is read from the journal, sent with the time at which it was measured, and sent
again until it has arrived. A run directory has one MLflow run, kept over kills and resumes; `RUN/tracking.json` holds
its id and all that was said about it. `python -m distributed.tracking RUN ...` fills another server, or the same one
after an outage, at any time, and tells it of runs that were killed.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from distributed.journal import Journal, add, latest, read, spent
from distributed.lease import alive, held
from distributed.mlflow_sync import ABOUT, MLflowSync, SyncThread, about, database, save_about, server
from distributed.telemetry.machine import usage
from distributed.watch import GracefulStop
from shards.errors import reason
from shards.storage.redaction import redacted, shown
from shards.storage.remote import is_address

__all__ = [
    "Dataset", "Journal", "Tracking", "about", "add", "attach", "database", "default_uri", "describe", "latest", "read",
    "reconcile", "recording", "replay", "run_id", "server", "spent", "tag",
]  # fmt: skip

CHECKPOINTS = "checkpoints"  # in the run directory, where no other place is named
SLOW_SECONDS = 60.0  # how long a thread of this process that still sends a run is waited for
UNKNOWN = "not kept"  # stands for an address with keys in it


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
    datasets: tuple[Dataset, ...] = ()  # the others, where there are several
    losses: str = ""  # the method: MLflow has the loss as loss/METHOD, as losses of two methods are no one curve
    system: bool = False  # whether MLflow hears of processors, memory, disk and network
    uri: str = field(default_factory=default_uri)


def describe(run: Path, tracking: Tracking, checkpoints: Path | str | None = None) -> None:
    """Write `tracking` beside the journal, without secrets; the ids of runs that MLflow servers gave are kept.

    `checkpoints` is where those are, and with them the lease that says whether the run lives; None where they are in
    the run directory. An address that holds what may be a key is not kept.
    """
    run.mkdir(parents=True, exist_ok=True)
    known = about(run)
    told = asdict(tracking)
    told["params"] = {key: str(value) for key, value in tracking.params.items()}
    told["dataset"] = tracking.dataset and tracking.dataset._asdict()
    told["datasets"] = [each._asdict() for each in tracking.datasets]
    told["checkpoints"] = checkpoints and (str(checkpoints) if public(checkpoints) else UNKNOWN)
    save_about(run, {**told, "created": known.get("created", time.time()), "runs": known.get("runs", {})})


def public(location: Path | str) -> bool:
    """Whether a place can be named to anybody: a path, or an address without user, password and parameters."""
    return not is_address(location) or shown(str(location)) == str(location).rstrip("/")


def run_id(run: Path) -> str | None:
    """The MLflow run of a run directory on the server that it was last tracked by, for the lineage of what follows."""
    told = about(run)
    return told.get("runs", {}).get(told.get("uri"))


@contextmanager
def recording(
    run: Path,
    tracking: Tracking | None,
    done: int,
    say: Callable[[str], None],
    checkpoints: Path | str | None = None,
) -> Iterator[Journal]:
    """A journal of a run that has done `done` steps, replayed to MLflow while open; the last line says how it ended.

    `checkpoints` is where the run keeps them, if not in its directory.
    """
    journal = Journal(run, done=done, say=say, beside=usage(say) if tracking and tracking.system else dict)
    sync_thread = None
    if tracking is not None:
        describe(run, tracking, checkpoints)
        sync_thread = SyncThread(run, say, tracking.uri, then=reconcile)
        sync_thread.start()
    status = "finished"
    try:
        yield journal
    except (GracefulStop, KeyboardInterrupt):
        status = "killed"
        raise
    except BaseException:
        status = "failed"
        raise
    finally:
        journal.close(status)
        if sync_thread is not None:
            sync_thread.finish()


def replay(run: Path, checkpoints: Path | str | None = None, say: Callable[[str], object] = lambda text: None) -> str:
    """Send the whole journal of a run that is not being trained; the MLflow run's id. Raises what MLflow raises.

    A run whose journal does not say how it ended, and which no job holds, was killed: MLflow would show it as running
    for ever. `checkpoints` is where to look for the job's lease, where the run itself does not say. Where nobody can
    tell, `say` hears of it and MLflow is told nothing.
    """
    if not about(run):
        raise ValueError(f"{run / ABOUT} is missing, so the run was never tracked; name a run that was")
    for thread in threading.enumerate():  # of a server that was slow: two that make one run would make two
        if isinstance(thread, SyncThread) and thread.sync.run == run:
            thread.join(SLOW_SECONDS)
    sync = MLflowSync(run)
    sync.send()
    if not ended(run):
        known = about(run).get("checkpoints")
        try:
            if not checkpoints and known == UNKNOWN:
                raise OSError("their address holds keys or options, which are not kept: give it with --checkpoints")
            lives = alive(checkpoints or known or run / CHECKPOINTS)
        except OSError as error:
            say(f"{run}: whether a job trains it cannot be told, its checkpoints cannot be read ({reason(error)})")
        else:
            if not lives:
                sync.end("killed", last(run))
    return sync.id


def ended(run: Path) -> bool:
    """Whether the journal says how its run has ended."""
    return any("status" in line for line in read(run))


def last(run: Path) -> float:
    """When the newest line of a journal was written."""
    return max((line["time"] for line in read(run)), default=time.time())


def reconcile(client: Any, uri: str) -> list[Path]:
    """Tell an MLflow server how those runs of this machine have ended that it takes for running; which those were.

    A run ends without a word where its job was killed, or where the server was away. Passed over is what another job
    may still be training: a lease that cannot be told to be over at once is taken to hold. `uri` is the server's
    address as runs keep it.
    """
    told = []
    ids = [each.experiment_id for each in client.search_experiments()]
    for found in client.search_runs(ids, "attributes.status = 'RUNNING'"):
        run = Path(found.data.tags.get("bonestrap.run_dir", ""))
        try:
            if not run.is_absolute() or about(run).get("runs", {}).get(uri) != found.info.run_id:
                continue
            known = about(run).get("checkpoints")
            if known == UNKNOWN or held(known or run / CHECKPOINTS):
                continue
            status = next((line["status"] for line in read(run) if "status" in line), "killed")
        except (OSError, ValueError):  # another machine's directory, or a damaged one
            continue
        client.set_terminated(found.info.run_id, status.upper(), end_time=round(last(run) * 1000))
        told.append(run)
    return told


def attach(run: Path, file: Path, *, folder: str = "") -> str:
    """Keep a file with a run in MLflow; its address there. Raises what MLflow raises."""
    identifier = replay(run)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=server(run))
    client.log_artifact(identifier, str(file), folder or None)
    kept = "/".join(filter(None, [client.get_run(identifier).info.artifact_uri, folder, file.name]))
    return redacted(kept)


def tag(run: Path, key: str, value: str) -> None:
    """Tag a run in MLflow. Raises what MLflow raises."""
    identifier = replay(run)
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=server(run)).set_tag(identifier, key, value)


def main(words: list[str]) -> int:
    """The exit code. Every run is tried; each that fails has its sentence."""
    parser = argparse.ArgumentParser(
        prog="python -m distributed.tracking", description="Send the journals of runs to MLflow, as often as you like."
    )
    parser.add_argument("run", nargs="+", type=Path, help="run directory")
    parser.add_argument("--checkpoints", help="where the runs keep them, if at an address with keys or options")
    given = parser.parse_args(words)
    code = 0
    for run in given.run:
        try:
            print(f"{run}: MLflow run {replay(run.resolve(), given.checkpoints, print)}")
        except Exception as error:
            ours = isinstance(error, (OSError, ValueError, ImportError))
            if not ours and type(error).__module__.partition(".")[0] not in ("mlflow", "sqlalchemy"):
                raise
            said = reason(error) if isinstance(error, OSError) else str(error).partition("\n")[0]
            print(f"{run}: {said}", file=sys.stderr)
            code = 2
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
