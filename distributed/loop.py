"""The training loop: one function for every method and any number of workers.

`train` is long on purpose and reads from top to bottom: this rank's groups, resume, the step, what is written, the
end. The result is a function of what `Job` lists first: neither the number of workers, nor a kill and a resume, nor how
often something is logged or probed changes it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from bonestrap.capture.graphs import CUDARecorder
from bonestrap.clips import Batch
from bonestrap.files import misfit
from bonestrap.methods.method import Method
from distributed.checkpoint import Checkpoints, State, Writer
from distributed.lease import Leases
from distributed.meter import Clock, Meter
from distributed.progress import Progress
from distributed.record import Record
from distributed.steps.graph import StepGraph, reason_against
from distributed.steps.plain import PlainStep, Step
from distributed.strategy import Strategy
from distributed.tracking import CHECKPOINTS, Tracking, latest, recording, spent
from distributed.watch import GracefulStop, TrainingStopped
from shards.errors import reason

__all__ = ["Clock", "Groups", "Job", "Summary", "TrainingStopped", "train"]


class Groups(Protocol):
    """Where batches come from: random access, so that any rank can take up any group of any step."""

    groups: int  # normalisation groups a step, over all ranks

    def group(self, step: int, group: int) -> Batch:
        """The clips of one group, on the device; a function of (step, group) and the loader's own seed."""

    def keys(self, step: int, group: int) -> Sequence[str]:
        """The names of a group's recordings, for a message about them."""


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
    graph: bool = True  # steps as CUDA graphs, where they can be
    run: Path  # an absolute path that every worker sees
    record: Record | None = None  # whose the run directory and the checkpoints are; None: not written down
    title: str = "train"
    tracking: Tracking | None = None  # None: the journal alone
    probe: Callable[[], dict[str, float]] | None = None  # called on the first rank; the clock does not count it
    probe_every: int = 1000
    measured: nn.Module | None = None  # what the probe looks at; None: the encoder
    checkpoint_every: int = 1000
    checkpoints: Path | str | None = None  # a path or an address such as s3://bucket/run; None: in `run`
    keep: int = 2  # newest checkpoints, beside the best
    best: str = "knn"  # what the probe says of a checkpoint, higher is better
    log_every: int = 10


class Summary(NamedTuple):
    """What is left of a run beside its files."""

    run: Path
    steps: int
    metrics: dict[str, float]  # the newest value of every metric
    device_hours: float  # over all restarts; probes not counted
    clips_per_second: float  # of this process's life, over all ranks; 0 if there was nothing left to do
    data_wait: float  # fraction of the training time spent waiting for the loader
    unsaved: str = ""  # what the disk or the store has not taken at the end: the last checkpoint, lines of the journal


def train(job: Job, strategy: Strategy) -> Summary:
    """Run `job` to its last step, from the newest whole checkpoint in `job.run` if there is one.

    Steps are counted by how many are done: a checkpoint, a journal line or a probe "at step 100" comes after 100
    optimizer steps, of which the last was given `step=99`.

    Raises TrainingStopped when a loss, a gradient or a parameter is not finite (the last good checkpoint stays),
    GracefulStop when the run was asked to stop (a checkpoint has been written), RunInUse when another job trains it,
    and ValueError when the groups cannot be divided among the workers, or when the run directory or a checkpoint is
    another run's.
    Nothing is written before the lease is held and the checkpoints are known to be this run's, and nothing that was
    written is taken back. A disk or store that fails while training is warned of, and what it has not taken at the end
    stands in `Summary.unsaved`; OSError is raised where it fails at the start, and JournalGone where the run directory
    is removed.
    """
    with ExitStack() as closing:
        # ---------------------------------------------------------------- this rank's groups of every step
        method, optimizer, loader, watch = job.method, job.optimizer, job.loader, strategy.watch
        groups = strategy.own_groups(loader.groups)
        closing.enter_context(watch.listening())

        # ---------------------------------------------------------------- resume
        folder = job.checkpoints or job.run / CHECKPOINTS
        lease = Leases(job.run, folder, watch.job, strategy.screen.message)
        result = None if job.record is None else job.record.result
        store = Checkpoints(folder, keep=job.keep, warn=strategy.screen.message, held=lease.check, result=result)
        strategy.agree(lease.take)
        if strategy.first:
            closing.callback(lease.release)
        strategy.agree(store.check)
        done = strategy.agree(store.newest) or 0
        seconds = restore(job, store, done, strategy.device) if done else 0.0
        if job.record is not None:
            strategy.agree(functools.partial(job.record.write, job.run))
        clock = Clock(strategy.world, max(seconds, strategy.agree(lambda: spent(job.run))))
        if done:
            strategy.screen.message(f"Resuming {job.run} after {done} of {job.steps} steps.")
        progress = Progress(strategy.screen, title=job.title, steps=job.steps)
        meter = Meter(groups, done)
        paid = clock.device_seconds
        one = step_of(job, strategy, len(groups))
        method.train()

        # ---------------------------------------------------------------- what is written while it runs
        journal = None
        if strategy.first:
            said = strategy.screen.message
            journal = closing.enter_context(recording(job.run, job.tracking, done, said, job.checkpoints))
            if clock.earlier > seconds:  # a kill has undone work that was paid for
                journal.write(done, {"device_hours": clock.earlier / 3600})
        writer = Writer(store, watch.saved)
        closing.callback(writer.wait)

        def last_good() -> str | None:
            """The newest checkpoint, once it is written; asked on the first rank."""
            writer.wait()
            try:
                steps = store.steps()
            except OSError as error:
                return f"in {folder}, which cannot be read now ({reason(error)})"
            return store.path(steps[-1]) if steps else None

        def probe(step: int) -> dict[str, float]:
            """Measure the model on the first rank, while the others wait at their next collective."""
            if journal is None or job.probe is None:
                return {}
            watch.at(step, "measuring the model")
            with clock.paused():
                values = job.probe()
            journal.write(step, values)
            progress.update(values)
            return values

        def left() -> GracefulStop:
            resumes = ": the same command resumes."
            if writer.unsaved:
                resumes = f", but {writer.unsaved}: the same command resumes from the checkpoint before it."
            return GracefulStop(f"{job.run} has stopped after {done} of {job.steps} steps{resumes}")

        if done < job.steps and watch.leaves(done):
            raise left()
        measured = job.measured or method.encoder
        untrained: dict[str, Tensor] = {}  # what is measured, before the first step, until that has been done
        if not done and journal is not None and job.probe is not None:
            untrained = copied(measured)

        def probe_untrained() -> None:
            """Measure where the curve begins. The first step does not wait for it: it says whether all is well."""
            if untrained:
                with weights(measured, untrained):
                    probe(0)
                untrained.clear()

        # ---------------------------------------------------------------- steps
        for step in range(done, job.steps):
            set_learning_rate(optimizer, job.learning_rate(step))
            early = shared(job, strategy, clock, groups, step) if method.shares else {}
            for group in groups:
                watch.at(step, "waiting for data")
                with clock.waiting():
                    batch = early.get(group) or loader.group(step, group)
                watch.at(step, "computing")
                strategy.seed(batch.seed)  # draws depend on the group alone, not on who runs it or what ran before
                meter.add(one.group(batch, step, last=group == groups[-1]), batch)
            meter.step(one.finish(step))
            done = step + 1

            # ------------------------------------------------------------ write down
            ending = done == job.steps
            probing = job.probe is not None and (ending or done % job.probe_every == 0)
            leaving = not ending and watch.leaves(done)
            saving = ending or leaving or done % job.checkpoint_every == 0
            if saving or probing or done % job.log_every == 0:
                lease.raise_if_lost()
                values, preempted = meter.read(strategy, clock, method, loader.keys, last_good)
                saving = saving or preempted
                values["learning_rate"] = optimizer.param_groups[0]["lr"]
                paid = clock.device_seconds
                values["device_hours"] = paid / 3600
                progress.update(values)
                if journal is not None:
                    journal.write(done, values)
                    watch.measured(job.run.name, done, values)
            if probing:
                probe_untrained()
            probed = probe(done) if probing else {}
            if saving:
                state = State(done, paid, method.state_dict(), strategy.optimizer_state(optimizer))
                if journal is not None:
                    journal.flush()
                    writer.put(state, probed.get(job.best))
            progress.show(done, seconds_per_step=clock.seconds / meter.steps, last=ending)
            probe_untrained()
            if leaving:
                writer.wait()
                raise left()

        # ---------------------------------------------------------------- the end
        writer.wait()
        summary = Summary(
            run=job.run,
            steps=done,
            metrics=latest(job.run) if strategy.first else {},
            device_hours=paid / 3600,  # as written down: what a later run adds to
            clips_per_second=meter.clips * strategy.world / clock.seconds if meter.clips else 0.0,
            data_wait=clock.waited / clock.seconds if meter.clips else 0.0,
        )
    lost = [part.unsaved for part in (writer, journal) if part is not None and part.unsaved]
    return summary._replace(unsaved=" and ".join(lost))


def shared(job: Job, strategy: Strategy, clock: Clock, groups: Sequence[int], step: int) -> dict[int, Batch]:
    """What a step's groups know of each other, before the first of them is trained on; returns this rank's batches."""
    batches: dict[int, Batch] = {}
    for group in groups:
        strategy.watch.at(step, "waiting for data")
        with clock.waiting():
            batches[group] = job.loader.group(step, group)
        strategy.watch.at(step, "computing")
        strategy.seed(batches[group].seed)
        with torch.no_grad(), torch.autocast(strategy.device.type, torch.bfloat16, enabled=job.precision == "bf16"):
            job.method.share(batches[group], step)
    strategy.sum(job.method.shared)
    return batches


def step_of(job: Job, strategy: Strategy, groups: int) -> Step:
    """How steps of a rank with so many groups are run: as CUDA graphs, if `job` lets them and nothing is against it."""
    method, optimizer, half = job.method, job.optimizer, job.precision == "bf16"
    all_groups = job.loader.groups
    reason = reason_against(method, strategy)
    if job.graph and not reason:
        recorder = CUDARecorder(strategy.screen.message)
        return StepGraph(
            method, optimizer, strategy, groups=groups, all_groups=all_groups, half=half, recorder=recorder
        )
    if job.graph and strategy.device.type == "cuda":
        strategy.screen.message(f"Steps are not recorded as CUDA graphs: {reason}.")
    return PlainStep(method, optimizer, strategy, groups=groups, all_groups=all_groups, half=half)


def restore(job: Job, store: Checkpoints, step: int, device: torch.device) -> float:
    """Put a checkpoint's state back; returns the device-seconds spent until then."""
    state = store.load(step, device)
    try:
        job.method.load_state_dict(state.method)
        job.optimizer.load_state_dict(state.optimizer)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{store.path(step)} was written by a run of another configuration ({misfit(error)}): "
            f"give the options of that run, or choose an empty run directory."
        ) from error
    return state.seconds


def copied(module: nn.Module) -> dict[str, Tensor]:
    """The module's state as it is now, in memory of its own."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


@contextmanager
def weights(module: nn.Module, state: Mapping[str, Tensor]) -> Iterator[None]:
    """The module with another state, until the end; then its own, bit for bit."""
    own = copied(module)
    module.load_state_dict(state)
    try:
        yield
    finally:
        module.load_state_dict(own)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float | Sequence[float]) -> None:
    """Give every param group its rate times its own "scale"."""
    rates = rate if isinstance(rate, Sequence) else [rate] * len(optimizer.param_groups)
    for group, value in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = value * group.get("scale", 1.0)
