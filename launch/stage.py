"""What every training command shares: options, the run directory, workers, tracking, and the model at the end.

A run directory holds `run.json` (what was asked for and what it runs on), `journal.jsonl`, `checkpoints/` and, at the
end, `model/`. The same command on the same directory goes on where it stopped; another configuration is refused.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from bonestrap import model as models
from bonestrap.augment import Pipeline
from bonestrap.bounds import COUNT, SEED, THREADS, WIDTH, Bounded, Bounds
from bonestrap.model import Model
from distributed import cluster
from distributed.board import WorkerHung
from distributed.cluster import WorkersLost
from distributed.loop import Summary, TrainingStopped
from distributed.probes import Probe, Sample
from distributed.strategy import Strategy
from distributed.tracking import Dataset, Tracking, run_id
from distributed.watch import Left
from launch import card, dossier
from launch import lineage as lineages
from launch.cli import UserError, option, required
from launch.directory import claimed, provenance
from launch.grounds import Grounds
from launch.reading import Reading, Recorded
from shards import splits
from shards.errors import DataError
from shards.folder import absolute, resolved, spoken
from shards.manifest import Manifest
from shards.splits import Protocol

Chosen = TypeVar("Chosen", bound="Options")
Result = TypeVar("Result")

DIGEST = 36  # characters that MLflow keeps of a data set's digest
PROBED = 1000  # recordings a part of a probe
HANG = Bounds(0, 1e7, above=True)  # seconds
EVERY = Bounds(1, COUNT)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Reading):
    """What every training command takes. Only the seed, the precision and a stream's window touch the result."""

    run: Path = required("run directory; the same command on it goes on where it stopped")
    seed: int = option(0, "of initial weights, order, draws and label subsets", Bounds(0, SEED))
    hold_out: bool = option(False, "train without the held-out training subjects: for choosing settings on them")
    precision: Literal["auto", "fp32", "bf16"] = option(
        "auto", "bf16 computes under autocast, state stays fp32; auto takes it where the hardware multiplies it faster"
    )
    workers: str = option(
        "0", "training processes, through Ray Train: 4, or 2:8 for as many as there is room; 0 trains in this one"
    )
    strategy: Literal["ddp", "zero1", "zero2", "zero3"] = option(
        "ddp", "zero1, zero2: DeepSpeed divides the optimizer's state (2: and gradients) among the workers"
    )
    hang_timeout: float = option(300.0, "seconds without any progress after which workers count as hung", HANG)
    storage: Path | None = option(None, "folder that all nodes see, for Ray's own files; needed on several nodes")
    checkpoints: str | None = option(
        None, "folder or address (s3://bucket/run) of the checkpoints; none takes RUN/checkpoints"
    )
    keep: int = option(2, "newest checkpoints that stay, beside the one that the held-out probe judged best", EVERY)
    threads: int | None = option(None, "CPU threads a worker; none shares the cores evenly", THREADS)
    device: Literal["auto", "cpu", "cuda"] = option("auto", "auto takes a GPU where there is one")
    compile: bool = option(
        False, "torch.compile the encoders; takes minutes at first, and is meant for GPUs (docs/performance.md)"
    )
    checkpoint_every: int = option(500, "steps between checkpoints", EVERY)
    probe_every: int = option(500, "steps between measurements of the encoder on held-out training subjects", EVERY)
    log_every: int = option(10, "steps between lines of the journal", EVERY)
    experiment: str = option("bonestrap", "MLflow experiment")
    tracking_uri: str | None = option(
        None, "MLflow server or store; none takes MLFLOW_TRACKING_URI, or sqlite:///mlflow.db"
    )
    track: bool = option(True, "send the journal to MLflow")

    def __post_init__(self) -> None:
        super().__post_init__()
        cluster.Workers.parse(str(self.workers))
        if self.strategy == "zero3":
            raise ValueError(
                "zero3 cannot train here: it cuts up the parameters, and the target network is a moving average of "
                "whole ones, gathered anew every step; zero2 divides all else, so give --strategy zero2"
            )

    @property
    def crew(self) -> cluster.Crew:
        """How the run is worked on."""
        assert self.strategy != "zero3"
        return cluster.Crew(
            workers=cluster.Workers.parse(str(self.workers)),
            threads=self.threads,
            device=self.device,
            strategy=self.strategy,
            hang_seconds=self.hang_timeout,
            storage=self.storage,
        )

    def absolute(self: Chosen) -> Chosen:
        """The same with paths that mean the same in a worker's directory, and the precision decided."""
        return dataclasses.replace(
            self.found(),
            run=resolved(self.run),
            storage=self.storage and resolved(self.storage),
            checkpoints=self.checkpoints and absolute(self.checkpoints),
            precision=decided(self),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderChange(Bounded):
    """What may differ from the encoder of the model that one starts from."""

    width: float | None = option(None, "width multiplier; none takes that of the model", WIDTH)

    def applied(self, config: dict[str, Any]) -> dict[str, Any]:
        return config if self.width is None else {**config, "width": self.width}


# Options that say where and how a run is done, not what comes out.
PRACTICAL = {
    "run", "data", "workers", "strategy", "hang_timeout", "storage", "checkpoints", "keep", "threads", "device",
    "compile", "checkpoint_every", "probe_every", "log_every", "experiment", "tracking_uri", "track", "seed",
    "precision", "hold_out", "stream", "window", "stream_gib", "cache", "cache_gib",
}  # fmt: skip


def shaping(options: Options) -> dict[str, Any]:
    """The options that shape the result, beside seed, precision and held-out subjects, which every stage records."""
    return {key: value for key, value in dataclasses.asdict(options).items() if key not in PRACTICAL}


def decided(options: Options) -> Literal["fp32", "bf16"]:
    """The precision; auto is bf16 where it is multiplied by matrix units: GPUs from Ampere on, CPUs with AMX."""
    if options.precision != "auto":
        return options.precision
    if options.device != "cpu" and torch.cuda.is_available():
        return "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp32"
    return "bf16" if torch.cpu._is_amx_tile_supported() else "fp32"


def cosine(peak: float, steps: int, warmup: int = 0, start: float = 1e-6) -> Callable[[int], float]:
    """Linear from `start` to `peak` over the warm-up, then a cosine down to zero (document 001, section 4.2)."""

    def rate(step: int) -> float:
        if step < warmup:
            return start + (peak - start) * step / warmup
        return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return rate


def lineage(manifest: Manifest, protocol: str, options: Options, summary: Summary, **more: Any) -> dict[str, Any]:
    """What a shipped model says of its making."""
    return {
        "data": manifest.name,
        "digest": manifest.digest,
        "protocol": protocol,
        "seed": options.seed,
        "steps": summary.steps,
        "device_hours": round(summary.device_hours, 5),
        "run": options.run.name,
        **more,
    }


def parent(model: Model, folder: Path) -> dict[str, Any]:
    """How a model refers to the one that it was made from."""
    return {"stage": model.description.stage, "run": resolved(folder).name, "lineage": model.description.lineage}


def execute(
    worker: Callable[[Chosen, Tracking | None, Strategy], Summary],
    options: Chosen,
    *,
    kind: str,
    protocol: str,
    encoder: dict[str, Any],
    result: dict[str, Any],
    groups: int,
    parents: Sequence[Path] = (),
    labels: float | None = None,
) -> Summary:
    """Claim the run directory, run the workers, and tell the user what was made.

    `result` is all that shapes the result beside the seed and the precision; `groups` are the normalisation groups of a
    step; `parents` are the models that the run starts from.
    """
    manifest = options.manifest
    splits.protocol(manifest.name, protocol)
    crew = dataclasses.replace(options.crew, groups=groups)
    try:
        crew.workers.fitting(groups)
    except ValueError as error:
        raise UserError(str(error)) from None
    options, said = options.settled(workers=max(1, crew.workers.most), cuda=options.device != "cpu", run=options.run)
    print(said)
    about = {
        **result,
        "window": options.mixing,
        "hold_out": options.hold_out,
        "seed": options.seed,
        "precision": options.precision,
        "digest": manifest.digest,
    }
    made = provenance()
    tracking = None
    if options.track:
        made_from = [run_id for folder in parents if (run_id := tracked(folder))]
        params = {**_flat({"encoder": encoder, **result}), "stage": kind, "protocol": protocol, "labels": labels}
        tracking = Tracking(
            experiment=options.experiment,
            name=options.run.name,
            params={
                **{key: value for key, value in params.items() if value is not None},
                "encoder": "stgcn",
                "width": encoder["width"],
                "seed": options.seed,
                "precision": options.precision,
            },
            tags={
                "bonestrap.stage": kind,
                **({"bonestrap.parent": made_from[0]} if made_from else {}),
                **{f"bonestrap.{key}": value for key, value in made.items()},
            },
            dataset=Dataset(manifest.name, manifest.digest[:DIGEST], spoken(options.data)),
            **({"uri": options.tracking_uri} if options.tracking_uri else {}),
        )
    try:
        with claimed(options.run, about, made):
            summary = cluster.run(functools.partial(by_name(worker), options, tracking), crew)
    except Left as left:
        print(left, file=sys.stderr)
        raise SystemExit(128 + signal.SIGTERM) from None
    except (ValueError, TrainingStopped, WorkerHung, WorkersLost) as error:
        if isinstance(error, DataError):
            raise
        raise UserError(str(error)) from error
    said = f"{options.run / 'model'}: {kind} model, {summary.steps} steps, {summary.device_hours:.3f} device-hours"
    if summary.clips_per_second:
        said += f", {summary.clips_per_second:.0f} clips/s, {summary.data_wait:.1%} waiting for data"
    print(said)
    return summary


def by_name(worker: Callable[..., Result]) -> Callable[..., Result]:
    """The same function as its module's, where it belongs to the script that was started.

    A script's own functions travel to the workers by value, with every module that they seem to mention: for any
    `.classes` in one that uses torch, cloudpickle takes `torch.classes` along, which cannot travel.
    """
    if isinstance(worker, functools.partial):
        return functools.partial(by_name(worker.func), *worker.args, **worker.keywords)
    if worker.__module__ != "__main__":
        return worker
    module = importlib.import_module(f"launch.{Path(worker.__code__.co_filename).stem}")
    return getattr(module, worker.__name__)


def counted(tracking: Tracking | None, *modules: torch.nn.Module | None) -> Tracking | None:
    """Tracking that knows how many parameters the shipped modules have."""
    if tracking is None:
        return None
    count = sum(p.numel() for module in modules if module is not None for p in module.parameters())
    return dataclasses.replace(tracking, params={**tracking.params, "parameters": count})


def tracked(folder: Path) -> str | None:
    """The MLflow run of the run directory that a model lies in, if it has one."""
    return next((found for place in (folder, folder.parent) if (found := run_id(place))), None)


def _flat(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        out |= _flat(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}": value}
    return out


def finish(strategy: Strategy, options: Options, model: Model) -> None:
    """Write the run's model and its card, on the first rank."""
    if strategy.first:
        models.save(options.run / "model", model)
        card.ship(dossier.read(options.run), Grounds.of(options, protocol_of(model)))


def check_group(batch: int, group: int | None) -> None:
    """ValueError unless normalisation groups of this size, or of the whole batch, make up a batch."""
    size = batch if group is None else group
    if size < 2 or batch % size:
        raise ValueError(f"group must be at least 2 and divide the batch of {batch}, got {size}")


def protocol_of(model: Model) -> str:
    """The protocol whose training recordings a model has seen."""
    return model.description.lineage["protocol"]


def check_layout(model: Model, data: Recorded, folder: str) -> None:
    """UserError where the shards' joints are not those that the model was made for."""
    if model.layout != data.layout:
        raise UserError(
            f"{spoken(folder)} holds layout {data.layout.name} and the model was made for {model.layout.name}; "
            "choose shards of that layout, or another model"
        )


def load_model(folder: Path) -> Model:
    """The model of a directory; UserError where it cannot be loaded, or its lineage cannot be followed."""
    try:
        model = models.load(folder)
    except models.ModelError as error:
        raise UserError(str(error)) from None
    lineages.check(model, folder)
    return model


def probe(
    encoder: torch.nn.Module, pipeline: Pipeline, options: Options, split: Protocol, strategy: Strategy
) -> Probe | None:
    """Measures the encoder on held-out training subjects, on the first rank. None where there are none with labels."""
    parts = [splits.labelled(part) for part in (split.fit, split.held_out)]
    if not strategy.first or not all(options.counts(*parts)):
        return None
    recordings = [options.sample(part, PROBED, strategy.device) for part in parts]
    samples = [Sample.of(data, most=PROBED) for data in recordings]
    return Probe(encoder, pipeline, fit=samples[0], held_out=samples[1], warn=strategy.screen.message)


def chunks(count: int, size: int = 256) -> Sequence[range]:
    """0..count-1 in portions that fit memory."""
    return [range(i, min(i + size, count)) for i in range(0, count, size)]
