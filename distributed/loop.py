"""The training loop: one function for every method and any number of workers.

`train` is long on purpose and reads from top to bottom: the share of this rank, resume, the step, what is written, the
end. The result is a function of what `Job` lists first: neither the number of workers, nor a kill and a resume, nor how
often something is logged or probed changes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn, Protocol

import torch
from torch import Tensor

from bonestrap.clips import Batch
from bonestrap.methods.method import Method
from distributed.checkpoint import Checkpoints, State
from distributed.progress import Progress
from distributed.strategy import Strategy
from distributed.tracking import Tracking, latest, recording


class Groups(Protocol):
    """Where batches come from: random access, so that any rank can take up any group of any step."""

    groups: int  # normalisation groups a step, over all ranks

    def group(self, step: int, group: int) -> Batch:
        """The clips of one group, on the device; a function of (step, group) and the loader's own seed."""


class TrainingStopped(RuntimeError):
    """The run cannot go on; the message says at which step and on which rank, and what is left."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training run. The method and the optimizer are on the strategy's device."""

    # What shapes the result.
    method: Method
    loader: Groups
    optimizer: torch.optim.Optimizer  # a param group may carry "scale", a factor of its learning rate (1 if absent)
    learning_rate: Callable[[int], float | Sequence[float]]  # of the step; a sequence has one rate a param group
    steps: int
    precision: Literal["fp32", "bf16"] = "fp32"  # bf16: the forward pass under autocast, parameters in fp32

    # What does not.
    run: Path  # an absolute path that every worker sees
    title: str = "train"
    tracking: Tracking | None = None  # None: the journal alone
    probe: Callable[[], dict[str, float]] | None = None  # called on the first rank; the clock does not count it
    probe_every: int = 1000
    checkpoint_every: int = 1000
    keep: int = 2  # checkpoints
    log_every: int = 10


class Summary(NamedTuple):
    """What is left of a run beside its files."""

    run: Path
    steps: int
    metrics: dict[str, float]  # the newest value of every metric
    device_hours: float  # over all restarts; probes not counted
    clips_per_second: float  # of this process's life, over all ranks; 0 if there was nothing left to do
    data_wait: float  # share of the training time spent waiting for the loader


def train(job: Job, strategy: Strategy) -> Summary:
    """Run `job` to its last step, from the newest whole checkpoint in `job.run` if there is one.

    Steps are counted by how many are done: a checkpoint, a journal line or a probe "at step 100" comes after 100
    optimizer steps, of which the last was given `step=99`.

    Raises TrainingStopped when a loss or a parameter is not finite (the last good checkpoint stays), and ValueError
    when the groups cannot be shared by the workers or the checkpoint does not fit the method.
    """
    # ------------------------------------------------------------------ this rank's share of every step
    method, optimizer, loader = job.method, job.optimizer, job.loader
    groups = strategy.share(loader.groups)
    scale = 1 / loader.groups  # gradients are summed over groups and ranks: the step follows the groups' mean

    # ------------------------------------------------------------------ resume
    store = Checkpoints(job.run / "checkpoints", keep=job.keep, warn=strategy.screen.message)
    done = strategy.agree(store.newest) or 0
    clock = Clock(strategy.world)
    if done:
        seconds = restore(job, store, done, strategy.device)
        clock = Clock(strategy.world, seconds)
        strategy.screen.message(f"Resuming {job.run} after {done} of {job.steps} steps.")
    progress = Progress(strategy.screen, title=job.title, steps=job.steps)
    meter = Meter(len(groups), done)
    forward = strategy.wrap(method, len(groups))
    method.train()

    def probe(step: int) -> None:
        """Measure the encoder on the first rank, while the others wait at their next collective."""
        if journal is None or job.probe is None:
            return
        with clock.paused():
            values = job.probe()
        journal.write(step, values)
        progress.update(values)

    with (
        recording(job.run, job.tracking, done, strategy.screen.message) if strategy.first else nullcontext() as journal
    ):
        if not done:
            probe(0)

        # -------------------------------------------------------------- steps
        for step in range(done, job.steps):
            set_learning_rate(optimizer, job.learning_rate(step))
            optimizer.zero_grad(set_to_none=True)
            for group in groups:
                last = group == groups[-1]
                with clock.waiting():
                    batch = loader.group(step, group)
                strategy.seed(batch.seed)  # draws depend on the group alone, not on who runs it or what ran before
                with strategy.accumulate(last=last):
                    with torch.autocast(strategy.device.type, torch.bfloat16, enabled=job.precision == "bf16"):
                        losses = forward(batch, step)
                    if last:
                        finish_moments = strategy.sum_moments(method.moments)
                    (losses["loss"] * scale).backward()
                meter.add(losses, batch)
            optimizer.step()
            finish_moments()
            method.after_step(step)
            done = step + 1

            # ---------------------------------------------------------- write down
            ending = done == job.steps
            probing = job.probe is not None and (ending or done % job.probe_every == 0)
            saving = ending or done % job.checkpoint_every == 0
            if saving or probing or done % job.log_every == 0:
                values = meter.read(strategy, clock, method if saving else None, store)
                values["learning_rate"] = optimizer.param_groups[0]["lr"]
                values["device_hours"] = clock.device_seconds / 3600
                progress.update(values)
                if journal is not None:
                    journal.write(done, values)
            if probing:
                probe(done)
            if saving and journal is not None:
                journal.flush()
                store.save(State(done, clock.device_seconds, method.state_dict(), optimizer.state_dict()))
            progress.show(done, seconds_per_step=clock.seconds / meter.steps, last=ending)

        # -------------------------------------------------------------- the end
        return Summary(
            run=job.run,
            steps=done,
            metrics=latest(job.run) if strategy.first else {},
            device_hours=clock.device_seconds / 3600,
            clips_per_second=meter.clips * strategy.world / clock.seconds if meter.clips else 0.0,
            data_wait=clock.waited / clock.seconds if meter.clips else 0.0,
        )


def restore(job: Job, store: Checkpoints, step: int, device: torch.device) -> float:
    """Put a checkpoint's state back; returns the device-seconds spent until then."""
    state = store.load(step, device)
    try:
        job.method.load_state_dict(state.method)
        job.optimizer.load_state_dict(state.optimizer)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{store.path(step)} was written by a run of another configuration ({reason}): "
            f"give the options of that run, or choose an empty run directory."
        ) from error
    return state.seconds


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float | Sequence[float]) -> None:
    """Give every param group its rate times its own "scale"."""
    rates = rate if isinstance(rate, Sequence) else [rate] * len(optimizer.param_groups)
    for group, value in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = value * group.get("scale", 1.0)


class Clock:
    """Training time: `seconds` of this process, `device_seconds` of all ranks and all lives of the run."""

    def __init__(self, world: int, device_seconds: float = 0.0) -> None:
        self.world, self.earlier = world, device_seconds
        self.started = time.perf_counter()
        self.waited = 0.0  # seconds spent waiting for data

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    @property
    def device_seconds(self) -> float:
        return self.earlier + self.seconds * self.world

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count what happens inside."""
        before = time.perf_counter()
        try:
            yield
        finally:
            self.started += time.perf_counter() - before

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count what happens inside as waiting for data."""
        before = time.perf_counter()
        try:
            yield
        finally:
            self.waited += time.perf_counter() - before


class Meter:
    """Losses since the last reading, left on the device until then: a step never waits for them."""

    def __init__(self, groups: int, done: int) -> None:
        self.groups, self.done = groups, done  # groups of this rank; steps that the last reading covered
        self.rows: list[Tensor] = []  # one a group: the scalars of one forward pass
        self.names: list[str] = []
        self.clips = self.steps = 0  # of this rank, since the run started or resumed
        self.before = (0, 0.0, 0.0)  # clips, seconds and seconds waited at the last reading

    def add(self, losses: dict[str, Tensor], batch: Batch) -> None:
        self.names = sorted(losses)
        self.rows.append(torch.stack([losses[name].detach().float() for name in self.names]))
        self.clips += batch.views[0].size
        self.steps += len(self.rows) % self.groups == 0

    def read(self, strategy: Strategy, clock: Clock, saved: Method | None, store: Checkpoints) -> dict[str, float]:
        """The means over the steps since the last reading and over all ranks, in one collective and one transfer.

        Every rank puts in the first step at which its loss was not finite, and before a checkpoint of `saved` whether
        the parameters are not, so all ranks stop together and all know where it began.
        """
        rows = torch.stack(self.rows).double().unflatten(0, (-1, self.groups)).mean(1)  # (steps, names)
        bad = ~rows[:, self.names.index("loss")].isfinite()
        faults = rows.new_zeros(2, strategy.world)  # by rank: first bad step from 1, or 0; bad parameters
        faults[0, strategy.rank] = torch.where(bad.any(), bad.int().argmax() + 1, 0)
        if saved is not None:
            faults[1, strategy.rank] = not_finite(saved)
        said = strategy.sum(torch.cat([faults.flatten(), rows.mean(0) / strategy.world])).tolist()
        began = sorted((int(step), rank) for rank, step in enumerate(said[: strategy.world]) if step)
        if began:
            stop(f"The loss is not finite at step {self.done + began[0][0]} on rank {began[0][1]}", store)
        for rank, spoilt in enumerate(said[strategy.world : 2 * strategy.world]):
            if spoilt:
                stop(f"A parameter is not finite after step {self.done + len(rows)} on rank {rank}", store)

        seconds, waited = clock.seconds, clock.waited
        values = dict(zip(self.names, said[2 * strategy.world :], strict=True))
        values["clips_per_second"] = (self.clips - self.before[0]) * strategy.world / (seconds - self.before[1])
        values["data_wait"] = (waited - self.before[2]) / (seconds - self.before[1])
        self.done += len(rows)
        self.rows.clear()
        self.before = (self.clips, seconds, waited)
        return values


def not_finite(method: Method) -> Tensor:
    """1 if any parameter holds a NaN or an infinity, else 0, without waiting for the device."""
    largest = torch._foreach_norm(list(method.parameters()), torch.inf)
    return (~torch.stack([norm.double() for norm in largest]).isfinite()).any()


def stop(fault: str, store: Checkpoints) -> NoReturn:
    steps = store.steps()
    left = f"the last good checkpoint is {store.path(steps[-1])}" if steps else "there is no checkpoint yet"
    raise TrainingStopped(f"{fault}; {left}. Lower the learning rate, or look for broken recordings in the data.")
