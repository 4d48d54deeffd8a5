"""From a run's journal to MLflow: every point with its own time, through outages, again until it has arrived."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bonestrap.files import read_object, write_atomically
from distributed.journal import JOURNAL, metrics, parse
from distributed.telemetry import view
from shards.errors import DataError
from shards.storage.redaction import plain, redacted, shown

ABOUT = "tracking.json"
SEND_SECONDS = 2.0  # between two sendings of new points
RETRY_SECONDS = (2.0, 30.0)  # between attempts during an outage: the first, and the longest after doubling
LAST_SECONDS = 20.0  # how long the end of a run waits for the last points to arrive
BATCH = 1000  # points that MLflow takes in one call; parameters and tags: 100
PASSING = (408, 425, 429)  # HTTP's refusals that mean: not now


def about(run: Path) -> dict[str, Any]:
    """The contents of `RUN/tracking.json`; empty if the run is not tracked."""
    path = run / ABOUT
    if not path.exists():
        return {}
    try:
        return read_object(path)
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}): copy the run directory again, or remove the file") from None


def save_about(run: Path, told: Mapping[str, Any]) -> None:
    """Write `RUN/tracking.json`, without the secrets of any address."""
    write_atomically(run / ABOUT, json.dumps(plain(told), indent=1))


def database(uri: str) -> Path:
    """The file of a SQLite address."""
    return Path(uri.removeprefix("sqlite:///").partition("?")[0])


def server(run: Path) -> str:
    """The address at which a run's MLflow server is reached.

    The run's file has no user and password: where the environment's address names the same server, that one is taken.
    """
    known, given = about(run)["uri"], os.environ.get("MLFLOW_TRACKING_URI", "")
    return given if shown(given) == shown(known) else known


class MLflowSync:
    """Sends a run's journal to one MLflow server, each point once per process, from the first line on.

    A point that MLflow already has is stored once, so starting over after a resume does no harm.
    """

    def __init__(self, run: Path, uri: str | None = None) -> None:
        self.run, self.told = run, about(run)
        self.uri = uri or server(run)  # with its secrets
        self.client: Any = None
        self.id = ""
        self.sent = 0  # bytes of the journal
        self.unsaved = False  # the run's id on the server

    def send(self) -> None:
        """Deliver what the journal has gained. Raises what MLflow raises; the next call continues from there."""
        if self.client is None:
            self.connect()
        if self.unsaved:  # a full disk keeps no point from the server, and is tried again
            with suppress(OSError):
                save_about(self.run, self.told)
                self.unsaved = False
        from mlflow.entities import Metric

        for lines, end in self.batches():
            points = [
                Metric(self.named(name), value, round(line["time"] * 1000), line["step"])
                for line in lines
                for name, value in metrics(line).items()
            ]
            if points:
                self.client.log_batch(self.id, metrics=points)
            for line in lines:
                if "status" in line:
                    self.end(line["status"], line["time"])
            self.sent = end

    def named(self, metric: str) -> str:
        """What MLflow calls a metric of the journal. Losses of two methods would be no comparable curves."""
        return f"loss/{self.told['losses']}" if metric == "loss" and self.told.get("losses") else metric

    def end(self, status: str, when: float) -> None:
        """Say how the run ended: "finished", "failed" or "killed"."""
        self.client.set_terminated(self.id, status.upper(), end_time=round(when * 1000))

    def batches(self) -> Iterator[tuple[list[dict[str, Any]], int]]:
        """What the journal has gained, as lines that fit one call, each with the place in the file where they end."""
        lines: list[dict[str, Any]] = []
        with (self.run / JOURNAL).open("rb") as file:
            file.seek(end := self.sent)
            for raw in file:
                if not raw.endswith(b"\n"):
                    break  # being written
                line = parse(raw) or {}
                if lines and sum(map(len, lines)) + len(line) > BATCH:
                    yield lines, end
                    lines = []
                lines += [line] * bool(line)
                end += len(raw)
        if lines:
            yield lines, end

    def connect(self) -> None:
        """Find this directory's run on the server, or make it; a run that a kill has left is taken up again."""
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # by default a call blocks for four minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # it would print the password, too
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        for name in ("mlflow", "alembic"):  # the tables of a new database are not news to the user
            logging.getLogger(name).setLevel(logging.ERROR)
        uri = self.told["uri"]
        client = MlflowClient(tracking_uri=self.uri)
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
            self.unsaved = True
        self.describe(client)
        self.client = client

    def experiment(self, client: Any, uri: str) -> str:
        """The experiment's id. Artifacts of a local database lie beside it, not in a worker's working directory."""
        found = client.get_experiment_by_name(self.told["experiment"])
        if found is not None:
            for key, value in view.tags().items():
                if key not in found.tags:
                    client.set_experiment_tag(found.experiment_id, key, value)
            return found.experiment_id
        place = (database(uri).parent / "mlartifacts").as_uri() if uri.startswith("sqlite:///") else None
        return client.create_experiment(self.told["experiment"], artifact_location=place, tags=view.tags())

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
        if view.NOTE not in known.data.tags:  # what somebody has written there stays
            tags[view.NOTE] = view.note(client, tags)
        client.log_batch(self.id, tags=[entities.RunTag(key, str(value)) for key, value in tags.items()])
        names = sorted(params)
        for begin in range(0, len(names), 100):
            part = [entities.Param(name, params[name]) for name in names[begin : begin + 100]]
            client.log_batch(self.id, params=part)
        data = self.told["dataset"]
        if data and not known.inputs.dataset_inputs:
            datasets = [
                entities.Dataset(each["name"], each["digest"], "local", json.dumps({"uri": each["source"]}))
                for each in (data, *self.told.get("datasets", ()))
            ]
            client.log_inputs(self.id, [entities.DatasetInput(dataset) for dataset in datasets])


class SyncThread(threading.Thread):
    """Delivers while the run trains, through outages, and tells the user once of each. `then` is called once, with the
    client and the address, when the server has answered first.

    An outage passes and is waited for. A refusal (no permission, a name that is not allowed) does not, so the server is
    not asked again: the user is told why, and the journal waits for a `replay`.
    """

    def __init__(
        self,
        run: Path,
        say: Callable[[str], None],
        uri: str | None = None,
        then: Callable[[Any, str], object] = lambda client, uri: None,
    ) -> None:
        super().__init__(name="tracking", daemon=True)
        self.sync, self.say, self.then = MLflowSync(run, uri), say, then
        self.met = False  # whether the server has answered
        self.over = threading.Event()
        self.away = ""  # the outage's reason
        self.refused = False

    def run(self) -> None:
        pause, retry = SEND_SECONDS, RETRY_SECONDS[0]
        where = f"MLflow at {self.sync.told['uri']}"
        while True:
            ending = self.over.is_set()  # before sending, so that the last lines are sent after it
            try:
                self.sync.send()
                if self.away:
                    self.say(f"{where} is back: the journal has been replayed.")
                self.away, pause, retry = "", SEND_SECONDS, RETRY_SECONDS[0]
                if not self.met:
                    self.meet()
            except ImportError as error:
                self.say(f"{missing(error)}: the run is recorded in {self.sync.run / JOURNAL} alone.")
                return
            except Exception as error:  # whatever MLflow, its database or the network raises must not stop a run
                reason = redacted((str(error) or type(error).__name__).splitlines()[0])
                if refusal(error):
                    self.refused = True
                    self.say(
                        f"{where} refuses the run ({reason}); training continues, and {self.later()} once that is "
                        "fixed."
                    )
                    return
                journal = str(self.sync.run / JOURNAL)  # where that cannot be read, whoever writes it says so
                if not self.away and getattr(error, "filename", None) != journal:
                    self.say(f"{where} does not answer; training continues.")
                self.away = reason
                pause, retry = retry, min(2 * retry, RETRY_SECONDS[1])
            if ending:
                return
            self.over.wait(pause)

    def meet(self) -> None:
        """Call `then`, once the server has answered: nothing of it stops the run."""
        self.met = True
        with suppress(Exception):
            self.then(self.sync.client, self.sync.told["uri"])

    def later(self) -> str:
        return f"nothing is lost: `python -m distributed.tracking {self.sync.run}` sends it"

    def finish(self) -> None:
        """Deliver the last points, or say where they wait."""
        self.over.set()
        self.join(LAST_SECONDS)
        if not self.refused and (self.away or self.is_alive()):
            self.say(
                f"MLflow at {self.sync.told['uri']} has not taken everything ({self.away or 'it is slow'}); "
                f"{self.later()} when the server is back."
            )


def missing(error: ImportError) -> str:
    """Which package is not installed: MLflow, or what it needs for an address, such as a database's driver."""
    package = (error.name or str(error)).partition(".")[0]
    return "MLflow is not installed" if package == "mlflow" else f"MLflow needs {package}, which is not installed"


def refusal(error: Exception) -> bool:
    """Whether a server has understood and will not: HTTP's 4xx, but for those that ask to try again."""
    status = getattr(error, "get_http_status_code", None)
    code = status() if callable(status) else 0
    return 400 <= code < 500 and code not in PASSING
