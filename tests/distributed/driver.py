"""A small run as a command of its own, for tests that break it: `python -m tests.distributed.driver FOLDER ...`.

Leaves `FOLDER/run` and, at the end, all tensors in `FOLDER/final.pt`. `--fault KILL:1:7` sends SIGKILL to the process
of rank 1 at step 7, once; `HANG:1:7` lets it stand still. Where `FOLDER/pace` holds a number, steps take that long.
"""

from __future__ import annotations

import argparse
import functools
import os
import signal
import time
from pathlib import Path

import torch

from bonestrap.clips import Batch
from distributed.cluster import run
from distributed.loop import train
from distributed.strategy import Strategy
from distributed.tracking import Tracking
from distributed.workers import WorkerConfig, Workers
from tests.distributed.toy import ToyLoader, toy_job


class Faulty(ToyLoader):
    """Draws its batches at the pace of a slow disk, and does harm at one step on one rank."""

    def __init__(self, folder: Path, rank: int, fault: str) -> None:
        super().__init__()
        self.folder, self.rank = folder, rank
        self.kind, self.which, self.step = fault.split(":") if fault else ("", "-1", "-1")

    def group(self, step: int, group: int) -> Batch:
        with_pace = self.folder / "pace"
        time.sleep(float(with_pace.read_text() or 0) / 2 if with_pace.exists() else 0)
        mark = self.folder / "broken"
        if self.rank == int(self.which) and step == int(self.step) and not mark.exists():
            mark.write_text(str(os.getpid()))
            if self.kind == "HANG":
                time.sleep(3600)
            os.kill(os.getpid(), signal.Signals[f"SIG{self.kind}"])
            time.sleep(60)  # a signal that is not deadly at once
        return super().group(step, group)


def worker(
    folder: Path, steps: int, every: int, fault: str, uri: str, checkpoints: str | None, strategy: Strategy
) -> dict[str, torch.Tensor]:
    tracking = Tracking(experiment="chaos", name=folder.name, uri=uri) if uri else None
    loader = Faulty(folder, strategy.rank, fault)
    job = toy_job(
        folder / "run", loader=loader, steps=steps, checkpoint_every=every, tracking=tracking, title="toy",
        checkpoints=checkpoints,
    )  # fmt: skip
    (folder / f"world-{strategy.world}").touch()
    if unsaved := train(job, strategy).unsaved:
        strategy.screen.message(f"At the end {unsaved}.")
    return job.method.state_dict()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", default="2")
    parser.add_argument("--strategy", default="ddp")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--fault", default="")
    parser.add_argument("--hang", type=float, default=300)
    parser.add_argument("--uri", default="")
    parser.add_argument("--checkpoints")
    options = parser.parse_args()
    folder = options.folder.resolve()
    config = WorkerConfig(
        workers=Workers.parse(options.workers),
        groups=ToyLoader().groups,
        threads=1,
        device="cpu",
        strategy=options.strategy,
        hang_seconds=options.hang,
        storage=folder / "ray",
    )
    work = functools.partial(
        worker, folder, options.steps, options.every, options.fault, options.uri, options.checkpoints
    )
    torch.save(run(work, config), folder / "final.pt")


if __name__ == "__main__":
    main()
