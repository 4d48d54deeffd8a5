"""What every training command is given. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, Literal, TypeVar

from bonestrap.bounds import COUNT, SEED, THREADS, Bounds
from bonestrap.config import to_json
from bonestrap.optim import OptimizerConfig
from bonestrap.options import option, required
from distributed.workers import WorkerConfig, Workers
from launch.cli.parser import Changes
from shards.reading import Reading
from shards.storage.folder import absolute, resolved

Chosen = TypeVar("Chosen", bound="Options")

HANG = Bounds(0, 1e7, above=True)  # seconds
EVERY = Bounds(1, COUNT)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution(Reading):
    """Where and how a run is done. None of these options changes its result."""

    run: Path = required("run directory; the same command on it resumes where it stopped")
    workers: str = option(
        "0", "training processes, through Ray Train: 4, or 2:8 for as many as there is room; 0 trains in this one"
    )
    strategy: Literal["ddp", "zero1", "zero2"] = option(
        "ddp", "zero1, zero2: DeepSpeed divides the optimizer's state (2: and gradients) among the workers"
    )
    hang_timeout: float = option(300.0, "seconds without any progress after which workers count as hung", HANG)
    storage: Path | None = option(None, "folder that all nodes see, for Ray's own files; needed on several nodes")
    checkpoints: str | None = option(
        None, "folder or address (s3://bucket/run) of the checkpoints; none takes RUN/checkpoints"
    )
    keep: int = option(2, "newest checkpoints that stay, beside the one with the best held-out probe", EVERY)
    threads: int | None = option(None, "CPU threads a worker; none shares the cores evenly", THREADS)
    device: Literal["auto", "cpu", "cuda"] = option("auto", "auto takes a GPU where there is one")
    compile: bool = option(
        False, "torch.compile the encoders; takes minutes at first, and is meant for GPUs (docs/performance.md)"
    )
    graph: bool = option(True, "record steps as CUDA graphs on GPUs; --no-graph launches every kernel, to look inside")
    checkpoint_every: int = option(500, "steps between checkpoints", EVERY)
    log_every: int = option(10, "steps between lines of the journal", EVERY)
    experiment: str = option("bonestrap", "MLflow experiment")
    tracking_uri: str | None = option(
        None, "MLflow server or store; none takes MLFLOW_TRACKING_URI, or sqlite:///mlflow.db"
    )
    track: bool = option(True, "send the journal to MLflow")
    register: bool = option(True, "register the finished model in MLflow, where the run is tracked")
    system_metrics: bool = option(False, "measure processors, memory, disk, network and GPUs too, where it is tracked")

    def __post_init__(self) -> None:
        super().__post_init__()
        Workers.parse(str(self.workers))

    def cluster_config(self, groups: int) -> WorkerConfig:
        """How the workers of a run with so many normalisation groups a step are placed."""
        return WorkerConfig(
            name=re.sub(r"[^\w.-]", "-", self.run.name) or "bonestrap",
            workers=Workers.parse(str(self.workers)),
            groups=groups,
            threads=self.threads,
            device=self.device,
            strategy=self.strategy,
            hang_seconds=self.hang_timeout,
            storage=self.storage,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Execution):
    """What every training command takes; a command adds what shapes its own result."""

    seed: int = option(0, "of initial weights, order, draws and label subsets", Bounds(0, SEED))
    hold_out: bool = option(False, "train without the held-out training subjects: for choosing settings on them")
    precision: Literal["auto", "fp32", "bf16"] = option(
        "auto", "bf16 computes under autocast, state stays fp32; auto takes it where the hardware multiplies it faster"
    )

    def absolute(self: Chosen) -> Chosen:
        """The same with paths that mean the same in a worker's directory, and the precision chosen."""
        return dataclasses.replace(
            self.found(),
            run=resolved(self.run),
            storage=self.storage and resolved(self.storage),
            checkpoints=self.checkpoints and absolute(self.checkpoints),
            precision=chosen_precision(self),
        )


COMMON = {field.name for field in dataclasses.fields(Options)}


def own_settings(options: Options) -> dict[str, Any]:
    """The options that a command adds to those of `Options`, as plain values: they shape its result."""
    names = [field.name for field in dataclasses.fields(options) if field.name not in COMMON]
    values = {name: getattr(options, name) for name in names}
    return {name: value.plain() if isinstance(value, Changes) else to_json(value) for name, value in values.items()}


def changed_optimizer(
    changes: Changes, usual: OptimizerConfig, learning_rate: float | None, weight_decay: float | None
) -> OptimizerConfig:
    """The usual optimizer, or another one, with the settings that the command line gives."""
    given: dict[str, Any] = {"learning_rate": learning_rate, "weight_decay": weight_decay}
    return dataclasses.replace(changes.applied(usual), **{k: v for k, v in given.items() if v is not None})


def chosen_precision(options: Options) -> Literal["fp32", "bf16"]:
    """The precision; auto is bf16 where the hardware multiplies it: GPUs from Ampere on, AMX or AVX512_BF16."""
    if options.precision != "auto":
        return options.precision
    import torch

    if options.device != "cpu" and torch.cuda.is_available():
        return "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp32"
    return "bf16" if torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported() else "fp32"


def check_group(batch: int, group: int | None) -> None:
    """ValueError unless normalisation groups of this size, or of the whole batch, make up a batch."""
    size = batch if group is None else group
    if size < 2 or batch % size:
        raise ValueError(f"group must be at least 2 and divide the batch of {batch}, got {size}")
