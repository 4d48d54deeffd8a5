"""A small method with all that the loop has to respect, and the job that trains it, for the tests of this folder.

The online network normalises with its group's statistics; the target normalises with moving statistics pooled over
the step through `moments`, and follows by EMA. Dropout draws from torch's generator. So a wrong seed, a moment counted
twice, an average taken over the wrong ranks or a buffer lost on resume changes the next loss.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap.clips import Batch, Recordings
from bonestrap.encoders.encoder import Encoder
from bonestrap.methods.method import Method
from distributed.loop import Job, Summary, train
from distributed.strategy import DDP, Strategy

WIDTH = 6


class ToyLoader:
    """Noise that is a function of (step, group); `groups` groups of `group_size` one-frame recordings."""

    def __init__(self, groups: int = 4, group_size: int = 8) -> None:
        self.groups, self.group_size = groups, group_size

    def group(self, step: int, group: int) -> Batch:
        seed = 1_000_003 * step + group
        frames = torch.randn(self.group_size, 4, 3, generator=torch.Generator().manual_seed(seed))
        rows = torch.arange(self.group_size)
        recordings = Recordings(frames, rows, torch.ones_like(rows), rows, self.group_size)
        return Batch((recordings,), None, seed)

    def keys(self, step: int, group: int) -> list[str]:
        return [f"walk{step}-{group}-{clip}" for clip in range(self.group_size)]


class ToyEncoder(nn.Sequential, Encoder):
    """A layer and its dropout."""

    features = WIDTH


class ToyMethod(Method):
    """BYOL in miniature: online encoder, EMA target, moments of the target's only normalised layer."""

    encoder: ToyEncoder
    mean: Tensor
    count: Tensor

    def __init__(self, seed: int = 0, broken_at: int | None = None, frozen_until: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = ToyEncoder(nn.Linear(12, WIDTH), nn.Dropout(0.2))
        self.head = nn.Linear(WIDTH, WIDTH)
        self.target = nn.Linear(12, WIDTH).requires_grad_(False)
        self.register_buffer("mean", torch.zeros(WIDTH, dtype=torch.float64))
        self.register_buffer("moments", torch.zeros(WIDTH + 1, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.broken_at, self.frozen_until = broken_at, frozen_until
        self.after_steps = 0

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        x = batch.views[0].frames.flatten(1)
        with torch.set_grad_enabled(step >= self.frozen_until):
            online = self.encoder(x)
        self.moments += torch.cat([online.detach().double().sum(0), torch.tensor([float(len(x))], dtype=torch.float64)])
        online = (online - online.mean(0)) / (online.std(0) + 1e-3)
        aim = self.target(x + torch.randn_like(x)) - self.mean.float()
        loss = F.mse_loss(self.head(online), aim)
        if step == self.broken_at:
            loss = loss * float("nan")
        return {"loss": loss, "online_mean": online.detach().abs().mean()}

    def after_step(self, step: int) -> None:
        self.after_steps += 1
        self.count += 1
        self.mean.lerp_(self.moments[:-1] / self.moments[-1], 0.1)
        self.moments.zero_()
        with torch.no_grad():
            for target, online in zip(self.target.parameters(), self.encoder.parameters(), strict=True):
                target.lerp_(online, 0.05)


class Killer(ToyLoader):
    """Ends its own process as `kill -9` does, in the middle of a step."""

    def __init__(self, at: int, groups: int = 4) -> None:
        super().__init__(groups)
        self.at = at

    def group(self, step: int, group: int) -> Batch:
        if step == self.at and group == self.groups - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().group(step, group)


def toy_job(run: Path, *, steps: int = 20, method: ToyMethod | None = None, **changes: Any) -> Job:
    method = method or ToyMethod()
    parts: list[dict[str, Any]] = [
        {"params": list(method.encoder.parameters()), "scale": 0.5},
        {"params": list(method.head.parameters())},
    ]
    optimizer = torch.optim.SGD(parts, lr=1.0, momentum=0.9)
    fields: dict[str, Any] = {
        "method": method,
        "loader": ToyLoader(),
        "optimizer": optimizer,
        "learning_rate": lambda step: 0.05 / (1 + step / 10),
        "steps": steps,
        "run": run,
        "log_every": 1,
        "checkpoint_every": 5,
    }
    return Job(**{**fields, **changes})


Work = Callable[[Strategy, Path], object]


class Ranks:
    """Gloo ranks, one process each, that stay for many tests: starting them takes longer than what they are asked.

    `ranks(work, folder)` runs `work(strategy, folder)` on all and returns the results by rank. An exception on one is
    raised here, and a rank that dies is noticed; neither leaves ranks that can be used again.
    """

    def __init__(self, world: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.meeting = tempfile.TemporaryDirectory()
        pipes = [context.Pipe() for _ in range(world)]
        self.pipes = [ours for ours, _ in pipes]
        self.processes = [
            context.Process(target=_serve, args=(rank, world, self.meeting.name, theirs), daemon=True)
            for rank, (_, theirs) in enumerate(pipes)
        ]
        for process, (_, theirs) in zip(self.processes, pipes, strict=True):
            process.start()
            theirs.close()

    def __call__(self, work: Work, folder: Path) -> list[Any]:
        for pipe in self.pipes:
            pipe.send((work, folder))
        results = []
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            try:
                result, error = pipe.recv()
            except EOFError:
                process.join()
                raise ChildProcessError(f"a rank ended with exit code {process.exitcode}") from None
            if error is not None:
                raise AssertionError(error)
            results.append(torch.load(io.BytesIO(result), weights_only=True))
        return results

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()
        self.meeting.cleanup()


def _serve(rank: int, world: int, meeting: str, pipe: Any) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}/ranks", rank=rank, world_size=world)
    while True:
        try:
            work, folder = pipe.recv()
        except EOFError:  # the tests are over
            return
        data = io.BytesIO()
        try:
            torch.save(work(DDP(), folder), data)
        except BaseException:
            pipe.send((b"", traceback.format_exc()))
        else:
            pipe.send((data.getvalue(), None))


class Listener:
    """A screen that remembers."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, bool]] = []
        self.messages: list[str] = []

    def status(self, text: str, *, last: bool = False) -> None:
        self.lines.append((text, last))

    def message(self, text: str) -> None:
        self.messages.append(text)


def everything(job: Job, summary: Summary) -> dict[str, object]:
    """All tensors that two equal runs share."""
    loss = summary.metrics.get("loss")  # None on ranks that write no journal
    return {"method": job.method.state_dict(), "optimizer": job.optimizer.state_dict(), "loss": loss}


def train_toy(strategy: Strategy, folder: Path) -> dict[str, object]:
    job = toy_job(folder / "run")
    return everything(job, train(job, strategy))
