"""Run a training: claim the run directory, start the workers, and tell the user what was made.

A run directory holds `run.json` (what was asked for and what it ran on), `journal.jsonl`, `checkpoints/` and, at the
end, `model/`. The same command on the same directory resumes; another configuration is refused.
"""

from __future__ import annotations

import dataclasses
import functools
import getpass
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bonestrap.config import kind_of, to_json
from bonestrap.options import UserError
from distributed import cluster
from distributed.cluster import WorkersLost
from distributed.connection import submission
from distributed.coordinator import WorkerHung
from distributed.journal import JOURNAL, JournalGone
from distributed.record import Record, prepared
from distributed.telemetry import view
from distributed.tracking import Dataset, Tracking, run_id
from distributed.watch import GracefulStop, TrainingStopped
from evaluation.provenance import provenance
from launch.training.conclusion import conclude
from launch.training.options import Options
from launch.training.training import Training, train_worker
from shards import splits
from shards.errors import DataError, of_storage, sentence
from shards.manifest import Manifest
from shards.pool import Corpus
from shards.storage.folder import spoken

if TYPE_CHECKING:
    from distributed.loop import Summary
    from distributed.strategy import Strategy

DIGEST = 36  # characters that MLflow keeps of a data set's digest


def run(training: Training, options: Options, settings: dict[str, Any]) -> Summary:
    """Train on the workers. `settings` are the command's, as plain values: all that shapes the result."""
    manifest = options.manifest
    splits.find(manifest.name, training.split)
    config = options.cluster_config(training.groups)
    try:
        config.workers.fitting(training.groups)
    except ValueError as error:
        raise UserError(str(error)) from None
    most = max(1, config.workers.max)
    others = [dataclasses.replace(options, data=corpus.data) for corpus in others_of(training)]
    beside = sum(other.manifest.total_bytes for other in others)
    cuda = options.device != "cpu"
    options, said = options.resolve_streaming(workers=most, cuda=cuda, run=options.run, beside=beside)
    print(said, *(training.pool.said if training.pool else ()), sep="\n")
    result = {
        **settings,
        "window": options.mixing,
        "hold_out": options.hold_out,
        "seed": options.seed,
        "precision": options.precision,
        "digest": manifest.digest,
    }
    info = provenance()
    tracking = tracked(training, options, manifest, settings, info) if options.track else None
    record = Record.of(result, info)
    with explained(options.run), prepared(options.run, record, options.checkpoints):
        worker = functools.partial(train_worker, training, options, record, tracking)
        summary = started(worker, config, options.run)
    report(training.stage, options.run, summary)
    if tracking is not None:
        conclude(training, options)
    return summary


def started(worker: Callable[[Strategy], Summary], config: cluster.WorkerConfig, run: Path) -> Summary:
    """Run the workers. A disk or store that fails before there is a journal is a mistake in the command."""
    try:
        return cluster.run(worker, config)
    except OSError as error:
        if not of_storage(error) or (run / JOURNAL).exists() or isinstance(error, JournalGone):
            raise
        raise UserError(sentence(error)) from error


class explained:
    """Around a run: what stopped it, in one sentence, with the exit code that scripts expect."""

    def __init__(self, run: Path) -> None:
        self.run = run

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, GracefulStop):
            print(error, file=sys.stderr)
            raise SystemExit(128 + signal.SIGTERM) from None
        if isinstance(error, KeyboardInterrupt):
            print(f"{self.run} was interrupted: the same command resumes from the newest checkpoint.", file=sys.stderr)
            raise SystemExit(128 + signal.SIGINT) from None
        if isinstance(error, ValueError | TrainingStopped | WorkerHung | WorkersLost):
            if not isinstance(error, DataError):
                raise UserError(str(error)) from error
        elif isinstance(error, OSError) and of_storage(error) and not isinstance(error, JournalGone):
            raise UserError(f"{sentence(error)}; the same command then resumes from the newest checkpoint") from error


def report(stage: str, run: Path, summary: Summary) -> None:
    """Say what was made. UserError where the last checkpoint could not be written."""
    said = f"{run / 'model'}: {stage} model, {summary.steps} steps, {summary.device_hours:.3f} device-hours"
    if summary.clips_per_second:
        said += f", {summary.clips_per_second:.0f} clips/s, {summary.data_wait:.1%} waiting for data"
    print(said)
    if summary.unsaved:
        raise UserError(
            f"the model is written, but {summary.unsaved}; free space there or bring the store back, and the same "
            "command does the steps since the newest checkpoint again"
        )


def tracked(
    training: Training, options: Options, manifest: Manifest, settings: dict[str, Any], info: dict[str, Any]
) -> Tracking:
    """What MLflow is told of the run."""
    parents = [identifier for folder in training.parents if (identifier := mlflow_run(folder))]
    whole = {  # with every default, where `settings` have what the command line gives
        **{name: to_json(getattr(training, name)) for name in ("encoder", "method", "optimizer", "schedule", "clip")},
        "hold_out": options.hold_out,
    }
    if training.steps is not None:  # instead of the schedule's
        whole["schedule"] = {k: v for k, v in whole["schedule"].items() if k not in ("epochs", "warmup")}
        whole |= {"steps": training.steps, "warmup": training.warmup_steps}
    params = {
        **flat({**settings, **shortened(training), **whole}),
        "stage": training.stage,
        "split": training.split,
        "encoder": training.encoder.label,
        "method": training.method.label,
        "labels": training.labels if training.labels is not None else inherited_labels(training.source),
        "ancestors_device_hours": hours_before(training.parents),
        "seed": options.seed,
        "precision": options.precision,
    }
    return Tracking(
        experiment=options.experiment,
        name=options.run.name,
        params={key: value for key, value in params.items() if value is not None},
        tags={
            "bonestrap.stage": training.stage,
            **({"bonestrap.parent": parents[0]} if parents else {}),
            **{f"bonestrap.{key}": value for key, value in info.items()},
            **sources(info),
        },
        dataset=Dataset(manifest.name, manifest.digest[:DIGEST], spoken(options.data)),
        datasets=tuple(Dataset(each.name, each.digest[:DIGEST], spoken(each.data)) for each in others_of(training)),
        losses=view.loss(kind_of(training.method)),
        system=options.system_metrics,
        **({"uri": options.tracking_uri} if options.tracking_uri else {}),
    )


def sources(info: dict[str, Any]) -> dict[str, str]:
    """What MLflow's own columns show: who started which script of which commit, and in which job of Ray's."""
    tags = {
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": next((word for word in info["command"].split() if word.endswith(".py")), "python"),
        "mlflow.source.git.commit": info["commit"].partition("+")[0],
    }
    with suppress(KeyError, OSError):  # a user without a name, as in some containers
        tags["mlflow.user"] = getpass.getuser()
    if job := submission():
        tags |= {"mlflow.source.type": "JOB", "bonestrap.ray_job": job}
    return tags


def others_of(training: Training) -> Sequence[Corpus]:
    """The folders beside the first."""
    return training.pool.corpora[1:] if training.pool else ()


def shortened(training: Training) -> dict[str, Any]:
    """What a pool is, in parameters that can be compared."""
    if training.pool is None:
        return {}
    about = training.pool.about
    corpora = " + ".join(f"{corpus.name} {corpus.split}" for corpus in training.pool.corpora)
    return {"pool": {**about, "skeleton": training.pool.layout.name, "corpora": corpora}}


def mlflow_run(folder: Path) -> str | None:
    """The MLflow run of the run directory that a model lies in, if it has one."""
    return next((found for place in (folder, folder.parent) if (found := run_id(place))), None)


def inherited_labels(source: Path | None) -> float | None:
    """The fraction of the labels that taught the model which a run learns from."""
    from bonestrap import serialization

    return None if source is None else serialization.load(source).description.lineage.get("labels")


def hours_before(parents: Sequence[Path]) -> float | None:
    """Device-hours of all that a run comes from; None where a parent has no model yet, which says it."""
    from bonestrap import serialization
    from bonestrap.model import ModelError
    from evaluation import run_record

    try:
        return sum(run_record.lineage_hours(serialization.load(folder).description.lineage) for folder in parents)
    except ModelError:
        return None


def flat(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Nested settings under dotted names, as the command line has them: operations of a view by their kinds."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, list) and value and all(isinstance(each, dict) and "kind" in each for each in value):
            kinds = [each["kind"] for each in value]
            named = {each["kind"]: {k: v for k, v in each.items() if k != "kind"} for each in value}
            out |= {f"{path}{key}": " ".join(kinds)} | (
                flat(named, f"{path}{key}.") if len(named) == len(value) else {}
            )
        else:
            out |= flat(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}": value}
    return out
