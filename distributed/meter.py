"""How long and how well: the clock of a run, and the losses of its steps, read seldom and by all ranks together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import torch
from torch import Tensor

from bonestrap.clips import Batch
from bonestrap.methods.method import Method
from distributed.strategy import Strategy
from distributed.watch import TrainingStopped

FAULTS = ("The loss", "A gradient", "A parameter")  # in the order in which one leads to the next
NAMED = 8  # recordings in a message


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

    def __init__(self, groups: Sequence[int], done: int) -> None:
        self.groups, self.done = len(groups), done  # groups of this rank; steps that the last reading covered
        self.rows: list[Tensor] = []  # one a group: the scalars of one forward pass
        self.norms: list[Tensor] = []  # one a step: of this rank's gradients
        self.names: list[str] = []
        self.clips = self.steps = 0  # of this rank, since the run started or resumed
        self.before = (0, 0.0, 0.0)  # clips, seconds and seconds waited at the last reading

    def add(self, losses: dict[str, Tensor], batch: Batch) -> None:
        self.names = sorted(losses)
        self.rows.append(torch.stack([losses[name].detach().float() for name in self.names]))
        self.clips += batch.views[0].size

    def step(self, gradient_norm: Tensor) -> None:
        self.norms.append(gradient_norm)
        self.steps += 1

    def read(
        self,
        strategy: Strategy,
        clock: Clock,
        method: Method,
        keys: Callable[[int, int], Sequence[str]],
        last_good: Callable[[], str | None],
    ) -> tuple[dict[str, float], bool]:
        """The means over the steps since the last reading and over all ranks, in one collective and one transfer.

        Every rank puts in the first step at which its loss or its gradient was not finite, whether the parameters are
        not, and whether its machine will go away, so all ranks stop or save together and all know where it began.
        Returns the means, and whether any rank will lose its machine.
        """
        rows = torch.stack(self.rows).double().unflatten(0, (-1, self.groups))  # (steps, groups, names)
        said = rows.new_zeros(len(FAULTS) + 2, strategy.world)
        bad_losses = ~rows[:, :, self.names.index("loss")].isfinite()
        bad_gradients = ~torch.stack(self.norms).isfinite()
        said[0, strategy.rank] = first(bad_losses.any(1))
        said[1, strategy.rank] = first(bad_gradients)
        said[2, strategy.rank] = not_finite(method) * len(rows)
        said[3, strategy.rank] = first(bad_losses[(said[0, strategy.rank].long() - 1).clamp(min=0)])
        said[4] = strategy.watch.preempted()
        means = rows.mean((0, 1)) / strategy.world
        told = strategy.sum(torch.cat([said.flatten(), means])).tolist()
        said_rows = [told[i * strategy.world : (i + 1) * strategy.world] for i in range(len(said))]
        faults = [(int(at), kind, rank) for kind, row in enumerate(said_rows[:3]) for rank, at in enumerate(row) if at]
        if faults:
            at, kind, rank = min(faults)
            group = int(said_rows[3][rank]) - 1 if kind == 0 else None
            self.stop(FAULTS[kind], at, rank, group, keys, strategy.agree(last_good))

        seconds, waited = clock.seconds, clock.waited
        values = dict(zip(self.names, told[-len(self.names) :], strict=True))
        values["clips_per_second"] = (self.clips - self.before[0]) * strategy.world / (seconds - self.before[1])
        values["data_wait"] = (waited - self.before[2]) / (seconds - self.before[1])
        self.done += len(rows)
        self.rows.clear()
        self.norms.clear()
        self.before = (self.clips, seconds, waited)
        return values, any(said_rows[4])

    def stop(
        self,
        what: str,
        at: int,
        rank: int,
        group: int | None,
        keys: Callable[[int, int], Sequence[str]],
        last_good: str | None,
    ) -> NoReturn:
        """End the run over the `at`th step since the last reading; `group` is the rank's own number of the group."""
        step = self.done + at
        groups = range(rank * self.groups, (rank + 1) * self.groups)
        held = [key for one in (groups if group is None else [groups[group]]) for key in keys(step - 1, one)]
        shown = ", ".join(held[:NAMED]) + (f" and {len(held) - NAMED} more" if len(held) > NAMED else "")
        left = f"the last good checkpoint is {last_good}" if last_good else "there is no checkpoint yet"
        raise TrainingStopped(
            f"{what} is not finite at step {step} on rank {rank}, whose batch held {shown}; {left}. "
            "Lower the learning rate, or look for broken recordings among them."
        )


def first(flags: Tensor) -> Tensor:
    """The place of the first True from 1 on, or 0, without waiting for the device."""
    return torch.where(flags.any(), flags.int().argmax() + 1, 0)


def not_finite(method: Method) -> Tensor:
    """1 if any parameter holds a NaN or an infinity, else 0, without waiting for the device."""
    largest = torch._foreach_norm(list(method.parameters()), torch.inf)
    return (~torch.stack([norm.double() for norm in largest]).isfinite()).any()
