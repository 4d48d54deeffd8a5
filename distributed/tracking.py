"""What a run measured: a journal on disk that is the truth, and MLflow, which a thread fills from it.

MLflow may be slow, away for an hour or not installed: the run neither waits nor stops, and no point is lost, since
every point is read from the journal, sent with the time at which it was measured, and sent again until it has arrived.
A run directory has one MLflow run, kept over kills and resumes; `RUN/tracking.json` holds its id and all that was said
about it, so `replay(RUN)` can fill another server, or the same one after an outage, at any time.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

JOURNAL, ABOUT = "journal.jsonl", "tracking.json"
SEND_SECONDS = 2.0  # between two sendings of new points
RETRY_SECONDS = (2.0, 60.0)  # between attempts during an outage: the first, and the longest after doubling
LAST_SECONDS = 20.0  # how long the end of a run waits for the last points to arrive
BATCH = 1000  # points that MLflow takes in one call; parameters and tags: 100


class Journal:
    """`RUN/journal.jsonl`: one JSON object a line, {"step": steps done, "time": Unix seconds, metric: value, ...}.

    Opening it drops what a resumed run will do again: lines of more than `done` steps (all lines if `done` is 0), and
    a last line that a kill has torn.
    """

    def __init__(self, run: Path, *, done: int) -> None:
        self.path = run / JOURNAL
        run.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read(run) if done and line.get("step", 0) <= done and "status" not in line]
        aside = self.path.with_suffix(".writing")
        aside.write_text("".join(json.dumps(line) + "\n" for line in kept))
        aside.replace(self.path)
        self.file = self.path.open("a")
        self.step = done  # of the newest line

    def write(self, step: int, values: Mapping[str, float | str]) -> None:
        """Append a line; it survives a kill at once and a power cut after `flush`. NaN and infinity are left out."""
        self.step = step
        finite = {key: value for key, value in values.items() if isinstance(value, str) or math.isfinite(value)}
        self.file.write(json.dumps({"step": step, "time": time.time(), **finite}) + "\n")
        self.file.flush()

    def flush(self) -> None:
        os.fsync(self.file.fileno())

    def close(self) -> None:
        self.flush()
        self.file.close()


def read(run: Path) -> Iterator[dict[str, Any]]:
    """The journal's lines, oldest first; a torn line is passed over."""
    path = run / JOURNAL
    if not path.exists():
        return
    with path.open() as file:
        for line in file:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue


def latest(run: Path) -> dict[str, float]:
    """The newest value of every metric in a run's journal."""
    values: dict[str, float] = {}
    for line in read(run):
        values.update(metrics(line))
    return values


def metrics(line: Mapping[str, Any]) -> dict[str, float]:
    """The measured values of a journal line."""
    return {key: value for key, value in line.items() if key not in ("step", "time") and not isinstance(value, str)}


# ---------------------------------------------------------------------- what MLflow is told beside the points


def default_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or `mlflow.db` in the working directory; a relative SQLite file is made absolute, as
    workers have another working directory."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    return f"sqlite:///{database(uri).resolve()}" if uri.startswith("sqlite:///") else uri


def database(uri: str) -> Path:
    return Path(uri.removeprefix("sqlite:///"))


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
    """Write `tracking` beside the journal; the ids of runs that MLflow servers already gave are kept."""
    run.mkdir(parents=True, exist_ok=True)
    known = about(run)
    told = asdict(tracking)
    told["params"] = {key: str(value) for key, value in tracking.params.items()}
    told["dataset"] = tracking.dataset and tracking.dataset._asdict()
    save_about(run, {**told, "created": known.get("created", time.time()), "runs": known.get("runs", {})})


def about(run: Path) -> dict[str, Any]:
    """The contents of `RUN/tracking.json`; empty if the run is not tracked."""
    path = run / ABOUT
    return json.loads(path.read_text()) if path.exists() else {}


def save_about(run: Path, told: Mapping[str, Any]) -> None:
    aside = run / f".{ABOUT}.writing"
    aside.write_text(json.dumps(told, indent=1))
    aside.replace(run / ABOUT)


def run_id(run: Path) -> str | None:
    """The MLflow run of a run directory on the server that it was last tracked by, for the lineage of what follows."""
    told = about(run)
    return told.get("runs", {}).get(told.get("uri"))


# ---------------------------------------------------------------------- to MLflow


class Delivery:
    """Sends a run's journal to one MLflow server, each point once per process, from the first line on.

    A point that MLflow already has is stored once, so starting over after a resume does no harm.
    """

    def __init__(self, run: Path) -> None:
        self.run, self.told = run, about(run)
        self.client: Any = None
        self.id = ""
        self.sent = 0  # bytes of the journal

    def send(self) -> None:
        """Deliver what the journal has gained. Raises what MLflow raises; the next call goes on where this one fell."""
        if self.client is None:
            self.connect()
        from mlflow.entities import Metric

        for lines, end in self.batches():
            points = [
                Metric(name, value, round(line["time"] * 1000), line["step"])
                for line in lines
                for name, value in metrics(line).items()
            ]
            if points:
                self.client.log_batch(self.id, metrics=points)
            for line in lines:
                if "status" in line:
                    self.client.set_terminated(self.id, line["status"].upper(), end_time=round(line["time"] * 1000))
            self.sent = end

    def batches(self) -> Iterator[tuple[list[dict[str, Any]], int]]:
        """What the journal has gained, as lines that fit one call, each with the place in the file where they end."""
        lines: list[dict[str, Any]] = []
        with (self.run / JOURNAL).open("rb") as file:
            file.seek(end := self.sent)
            for raw in file:
                if not raw.endswith(b"\n"):
                    break  # being written
                line = json.loads(raw)
                if lines and sum(map(len, lines)) + len(line) > BATCH:
                    yield lines, end
                    lines = []
                lines.append(line)
                end += len(raw)
        if lines:
            yield lines, end

    def connect(self) -> None:
        """Find this directory's run on the server, or make it; a run that a kill has left is taken up again."""
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # by default a call blocks for four minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        for name in ("mlflow", "alembic"):  # the tables of a new database are not news to the user
            logging.getLogger(name).setLevel(logging.ERROR)
        uri = self.told["uri"]
        client = MlflowClient(tracking_uri=uri)
        self.id = self.told["runs"].get(uri, "")
        try:
            found = self.id and client.get_run(self.id).info.lifecycle_stage == "active"
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            found = False
        if found:
            client.update_run(self.id, status="RUNNING")
        else:
            born = round(self.told["created"] * 1000)
            made = client.create_run(self.experiment(client, uri), start_time=born, run_name=self.told["name"])
            self.id = made.info.run_id
            self.told["runs"][uri] = self.id
            save_about(self.run, self.told)
        self.describe(client)
        self.client = client

    def experiment(self, client: Any, uri: str) -> str:
        """The experiment's id. Artifacts of a local database lie beside it, not in a worker's working directory."""
        found = client.get_experiment_by_name(self.told["experiment"])
        if found is not None:
            return found.experiment_id
        place = (database(uri).parent / "mlartifacts").as_uri() if uri.startswith("sqlite:///") else None
        return client.create_experiment(self.told["experiment"], artifact_location=place)

    def describe(self, client: Any) -> None:
        """Parameters, tags and the data set. MLflow refuses another value of a parameter: it becomes a tag."""
        from mlflow import entities

        known = client.get_run(self.id)
        params = {key: value for key, value in self.told["params"].items() if key not in known.data.params}
        changed = {
            f"resumed.{key}": value
            for key, value in self.told["params"].items()
            if known.data.params.get(key, value) != value
        }
        tags = {**self.told["tags"], **changed, "bonestrap.run_dir": str(self.run)}
        client.log_batch(self.id, tags=[entities.RunTag(key, str(value)) for key, value in tags.items()])
        names = sorted(params)
        for begin in range(0, len(names), 100):
            part = [entities.Param(name, params[name]) for name in names[begin : begin + 100]]
            client.log_batch(self.id, params=part)
        data = self.told["dataset"]
        if data and not known.inputs.dataset_inputs:
            dataset = entities.Dataset(data["name"], data["digest"], "local", json.dumps({"uri": data["source"]}))
            client.log_inputs(self.id, [entities.DatasetInput(dataset)])


class Postman(threading.Thread):
    """Delivers while the run goes on, through outages, and tells the user once of each."""

    def __init__(self, run: Path, say: Callable[[str], None]) -> None:
        super().__init__(name="tracking", daemon=True)
        self.delivery, self.say = Delivery(run), say
        self.over = threading.Event()
        self.away = ""  # the outage's reason

    def run(self) -> None:
        pause, retry = SEND_SECONDS, RETRY_SECONDS[0]
        while True:
            ending = self.over.is_set()  # before sending, so that the last lines are sent after it
            try:
                self.delivery.send()
                if self.away:
                    self.say(f"MLflow at {self.delivery.told['uri']} is back: the journal has been replayed.")
                self.away, pause, retry = "", SEND_SECONDS, RETRY_SECONDS[0]
            except ImportError:
                self.say(f"MLflow is not installed: the run is recorded in {self.delivery.run / JOURNAL} alone.")
                return
            except Exception as error:  # whatever MLflow, its database or the network raises must not stop a run
                if not self.away:
                    self.say(f"MLflow at {self.delivery.told['uri']} does not answer; the run goes on.")
                self.away = str(error) or type(error).__name__
                pause, retry = retry, min(2 * retry, RETRY_SECONDS[1])
            if ending:
                return
            self.over.wait(pause)

    def finish(self) -> None:
        """Deliver the last points, or say where they wait."""
        self.over.set()
        self.join(LAST_SECONDS)
        if self.away or self.is_alive():
            self.say(
                f"MLflow at {self.delivery.told['uri']} has not taken everything "
                f"({self.away.splitlines()[0] if self.away else 'it is slow'}); nothing is lost: "
                f"`python -m distributed.tracking {self.delivery.run}` sends it when the server is back."
            )


@contextmanager
def recording(run: Path, tracking: Tracking | None, done: int, say: Callable[[str], None]) -> Iterator[Journal]:
    """A journal of a run that has done `done` steps, replayed to MLflow while open; the last line says how it ended."""
    journal = Journal(run, done=done)
    postman = None
    if tracking is not None:
        describe(run, tracking)
        postman = Postman(run, say)
        postman.start()
    status = "finished"
    try:
        yield journal
    except BaseException:
        status = "failed"
        raise
    finally:
        journal.write(journal.step, {"status": status})
        journal.close()
        if postman is not None:
            postman.finish()


def add(run: Path, values: Mapping[str, float | str]) -> None:
    """Append what was measured after training, such as a test accuracy, to a run's journal; `replay` sends it."""
    lines = list(read(run))
    with (run / JOURNAL).open("a") as file:
        step = lines[-1]["step"] if lines else 0
        file.write(json.dumps({"step": step, "time": time.time(), **values}) + "\n")


def replay(run: Path) -> str:
    """Send the whole journal of a run that is not being trained; the MLflow run's id. Raises what MLflow raises."""
    delivery = Delivery(run)
    delivery.send()
    return delivery.id


if __name__ == "__main__":
    import sys

    for name in sys.argv[1:]:
        print(f"{name}: MLflow run {replay(Path(name).resolve())}")
