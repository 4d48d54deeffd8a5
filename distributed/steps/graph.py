"""A training step as a few CUDA graphs (`bonestrap.capture.graphs`).

What changes from step to step lies in tensors that are filled before the replay: the inputs that `Method.prepare` has
drawn, and one vector with learning rates, the factor of the loss and what the schedules of `Method.rates` give. One
graph goes from the inputs of a group to its gradients, for each shape; one from the gradients of a step to its end.
Between them the ranks sum, outside any graph. In the tests on a CPU the same functions run on the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bonestrap.capture.graphs import Recorded, Recorder, Static, padded, shape_of
from bonestrap.clips import Batch
from bonestrap.encoders.encoder import Encoder
from bonestrap.methods.method import Method
from bonestrap.momentum import batch_norms
from bonestrap.sgd import SGD
from distributed.strategy import UNEVEN, Strategy, additions_by_halves

ADAM = (torch.optim.Adam, torch.optim.AdamW)
ADAM_DEVICES = ("cuda",)  # where PyTorch's Adam can leave its count of steps on the device


def reason_against(method: Method, strategy: Strategy) -> str:
    """Why steps cannot be recorded, as the end of a sentence; empty where they can."""
    if strategy.device.type != "cuda":
        return "the device is not a GPU"
    if strategy.graph_reason:
        return strategy.graph_reason
    if not method.in_parts:
        return f"{type(method).__name__} has a forward pass of its own instead of prepare and losses"
    if any(module._compiled_call_impl is not None for module in method.modules()):
        return "the encoders are compiled"
    return ""


class StepGraph:
    """A `distributed.steps.plain.Step` on memory that stays the same, which `recorder` makes graphs of."""

    def __init__(
        self,
        method: Method,
        optimizer: torch.optim.Optimizer,
        strategy: Strategy,
        *,
        groups: int,
        all_groups: int,
        half: bool,
        recorder: Recorder | None,
    ) -> None:
        """As `PlainStep`. Without a recorder every step is run by Python, on the same memory."""
        strategy.replicate(method)
        self.method, self.optimizer, self.strategy, self.half = method, optimizer, strategy, half
        self.device = strategy.device
        self.all_groups = all_groups
        self.gradients = Gradients([p for p in method.parameters() if p.requires_grad], groups)
        encoders = [module for module in method.modules() if isinstance(module, Encoder)]
        self.pads = all(encoder.takes_padding for encoder in encoders)
        self.norms = batch_norms(method)
        self.recorder = recorder
        self.shapes: dict[tuple[Hashable, Hashable], Shape] = {}  # by branch and shape
        self.ends: dict[Hashable, Recorded] = {}  # by branch and the parameters that have a gradient
        self.names = sorted(method.rates(0))
        # Learning rates of the param groups, the factor of the loss, the rates by name.
        self.rates = torch.zeros(len(optimizer.param_groups) + 1 + len(self.names), dtype=torch.float64).to(self.device)
        self.filled: int | None = None  # the step whose rates these are
        self.finish_moments: Callable[[], object] = lambda: None

    def group(self, batch: Batch, step: int, *, last: bool) -> dict[str, Tensor]:
        if step != self.filled:
            self.fill(step)
        inputs = self.method.prepare(batch)
        branch = self.method.branch(step)
        if self.pads:
            inputs = padded(inputs)
        key = branch, shape_of(inputs)
        warm = any(known == branch for known, _ in self.shapes)
        if key not in self.shapes:
            self.shapes[key] = Shape(inputs)
        shape = self.shapes[key]
        shape.take(inputs)

        def forward_and_backward() -> None:
            for layer in self.norms:
                layer.seen = None  # what a recording that failed has noted exists in its graph alone
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
                losses = self.method.losses(shape.inputs, branch)
            scale = self.rates[len(self.optimizer.param_groups)]
            shape.reached = self.gradients.of(losses["loss"] * scale.to(losses["loss"].dtype))
            shape.names = sorted(losses)
            shape.values = torch.stack([losses[name].detach().float() for name in shape.names])

        shape.recorded.run(forward_and_backward, self.recorder, warm=warm)
        values = shape.values.clone()  # the next replay writes over them
        self.gradients.add(shape.reached, last=last)
        if last:
            self.finish_moments = self.strategy.sum_moments(self.method.moments)
            self.strategy.watch.at(step, "summing gradients")
        return dict(zip(shape.names, values.unbind(), strict=True))

    def finish(self, step: int) -> Tensor:
        norm = self.gradients.flat.norm()  # of what this rank's groups gave
        self.strategy.sum(self.gradients.flat)
        self.finish_moments()
        branch, reached = self.method.branch(step), self.gradients.reached
        self.gradients.give()
        moved = capturable(self.optimizer, self.device)
        if not moved:
            self.optimizer.step()

        def move() -> None:
            count = len(self.optimizer.param_groups)
            if moved:
                with rates_in_tensors(self.optimizer, self.rates[:count]):
                    self.optimizer.step()
            self.method.follow(dict(zip(self.names, self.rates[count + 1 :].unbind(), strict=True)), branch)

        self.ends.setdefault((branch, reached), Recorded()).run(move, self.recorder)
        return norm

    def fill(self, step: int) -> None:
        """Put the rates of a step where graphs read them, from memory of their own: the host may be steps ahead."""
        named = self.method.rates(step)
        values = [group["lr"] for group in self.optimizer.param_groups]
        values += [1 / self.all_groups, *(named[name] for name in self.names)]
        source = torch.tensor(values, dtype=torch.float64)
        self.rates.copy_(source if self.device.type == "cpu" else source.pin_memory(), non_blocking=True)
        self.filled = step


class Shape(Static):
    """What one group's graph reads and leaves behind."""

    names: list[str]  # of the losses
    values: Tensor  # of the losses, in this order
    reached: tuple[int, ...]  # the parameters that have a gradient, by number


class Gradients:
    """The gradients of all parameters in one row of memory, each laid out like its parameter.

    Those of a rank's groups are added by halves, as `distributed.strategy.PairwiseSum` does.
    """

    def __init__(self, parameters: list[nn.Parameter], groups: int) -> None:
        self.parameters = parameters
        self.flat = torch.zeros(
            sum(p.numel() for p in parameters), device=parameters[0].device, dtype=parameters[0].dtype
        )
        parts = self.flat.split([p.numel() for p in parameters])
        self.views = [
            part.as_strided(p.shape, p.stride(), part.storage_offset())
            for part, p in zip(parts, parameters, strict=True)
        ]
        self.additions = additions_by_halves(groups)
        self.aside: list[Tensor] = []
        self.groups = 0  # put aside in this step
        self.reached: tuple[int, ...] | None = None  # in this step

    def of(self, loss: Tensor) -> tuple[int, ...]:
        """Write those of a loss; which parameters have one."""
        found = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        reached = tuple(number for number, gradient in enumerate(found) if gradient is not None)
        if len(reached) < len(found):
            self.flat.zero_()
        torch._foreach_copy_([self.views[number] for number in reached], [found[number] for number in reached])
        return reached

    def add(self, reached: tuple[int, ...], *, last: bool) -> None:
        """Put those of a group aside, or with the last add what was put aside to them."""
        if self.groups and reached != self.reached:
            raise RuntimeError(UNEVEN)
        self.reached = reached
        if last:
            for older in reversed(self.aside):
                self.flat += older
            self.aside.clear()
            self.groups = 0
            return
        self.aside.append(self.flat.clone())
        for _ in range(self.additions[self.groups]):
            newest = self.aside.pop()
            self.aside[-1] += newest
        self.groups += 1

    def give(self) -> None:
        """Let the optimizer see them."""
        assert self.reached is not None
        reached = set(self.reached)
        for number, (p, view) in enumerate(zip(self.parameters, self.views, strict=True)):
            p.grad = view if number in reached else None


def capturable(optimizer: torch.optim.Optimizer, device: torch.device) -> bool:
    """Whether a step of it can read what changes from tensors on the device."""
    if type(optimizer) is SGD:
        return optimizer.plain
    return type(optimizer) in ADAM and device.type in ADAM_DEVICES


@contextmanager
def rates_in_tensors(optimizer: torch.optim.Optimizer, rates: Tensor) -> Iterator[None]:
    """Inside, the learning rates are tensors. Afterwards, and in checkpoints, they are numbers as before."""
    before = [dict(group) for group in optimizer.param_groups]
    adam = type(optimizer) in ADAM
    smallest = 1e-30 if adam else 0.0  # by a rate of zero Adam would divide in tensors
    for group, rate in zip(optimizer.param_groups, rates.float().clamp(min=smallest).unbind(), strict=True):
        group["lr"] = rate
        if adam:
            group["capturable"] = True
    for state in optimizer.state.values() if adam else ():
        state["step"] = state["step"].to(rates.device)
    try:
        yield
    finally:
        for group, values in zip(optimizer.param_groups, before, strict=True):
            group.update({name: values[name] for name in ("lr", "capturable") if name in values})
