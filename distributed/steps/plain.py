"""One training step of the loop, as torch runs it: the forward and backward pass of each group, then what moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from bonestrap.clips import Batch
from bonestrap.methods.method import Method
from distributed.strategy import Strategy


class Step(Protocol):
    """What the loop calls in every step: `group` for each of this rank's groups, then `finish`."""

    def group(self, batch: Batch, step: int, *, last: bool) -> dict[str, Tensor]:
        """The gradients of one group, and its losses; with the step's last group the ranks begin to sum."""

    def finish(self, step: int) -> Tensor:
        """Move parameters, statistics and target. The norm of this rank's gradients in the step."""


class PlainStep:
    """Every operation is launched when its turn comes, and each step is free to differ from the one before."""

    def __init__(
        self,
        method: Method,
        optimizer: torch.optim.Optimizer,
        strategy: Strategy,
        *,
        groups: int,
        all_groups: int,
        half: bool,
    ) -> None:
        """`groups` of the step's `all_groups` are this rank's; `half` computes under autocast in bf16."""
        self.method, self.optimizer, self.strategy, self.half = method, optimizer, strategy, half
        self.scale = 1 / all_groups  # gradients are summed over groups and ranks: the step follows the groups' mean
        self.forward = strategy.wrap(method, optimizer, groups)
        self.finish_moments: Callable[[], object] = lambda: None
        self.begun = False  # whether the step's first group has come

    def group(self, batch: Batch, step: int, *, last: bool) -> dict[str, Tensor]:
        strategy = self.strategy
        if not self.begun:
            self.optimizer.zero_grad(set_to_none=True)
        self.begun = not last
        with strategy.accumulate(last=last):
            with torch.autocast(strategy.device.type, torch.bfloat16, enabled=self.half):
                losses = self.forward(batch, step)
            if last:
                self.finish_moments = strategy.sum_moments(self.method.moments)
                strategy.watch.at(step, "summing gradients")
            strategy.backward(losses["loss"] * self.scale)
        return losses

    def finish(self, step: int) -> Tensor:
        norm = self.strategy.gradient_norm()
        self.strategy.step(self.optimizer)
        self.finish_moments()
        self.method.after_step(step)
        return norm
