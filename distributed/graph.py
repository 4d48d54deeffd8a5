"""A training step as a few CUDA graphs, which the GPU replays without the host launching thousands of kernels.

A graph repeats the operations of one step on the same memory: what changes from step to step has to lie in tensors that
are filled before the replay. These are the inputs that `Method.prepare` has drawn, and one vector with learning rates,
the factor of the loss and what the schedules of `Method.rates` give. One graph goes from the inputs of a group to its
gradients, for each shape; one from the gradients of a step to its end. Between them the ranks sum, outside any graph.

Shapes recur because the bodies of a batch are filled up to one of a few numbers. The first step of a shape runs as it
is, the second is recorded. Where nothing is recorded, as in the tests on a CPU, the same functions run on the same
memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from bonestrap.clips import Batch, Clips
from bonestrap.encoders.encoder import Encoder
from bonestrap.methods.method import Method
from bonestrap.momentum import batch_norms
from bonestrap.sgd import SGD
from distributed.strategy import UNEVEN, Strategy, additions_by_halves

T = TypeVar("T")

SHAPES = 48  # that are recorded; a step of any other runs as it is
COUNTS = 16  # numbers of bodies between one and two for each clip
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
    """A `distributed.step.Step` on memory that stays the same, which `recorder` makes graphs of."""

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
        self.recorder = recorder
        self.shapes: dict[Hashable, Shape] = {}
        self.ends: dict[Hashable, Recorded] = {}
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
        leaves, structure = tree_flatten(padded(inputs) if self.pads else inputs)
        key = (branch, structure, *(signature(leaf) for leaf in leaves))
        shape = self.shapes.setdefault(key, Shape(leaves))
        shape.take(leaves)

        def forward_and_backward() -> None:
            static = tree_unflatten(shape.leaves, structure)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
                losses = self.method.losses(static, branch)
            scale = self.rates[len(self.optimizer.param_groups)]
            shape.reached = self.gradients.of(losses["loss"] * scale.to(losses["loss"].dtype))
            shape.names = sorted(losses)
            shape.values = torch.stack([losses[name].detach().float() for name in shape.names])

        shape.recorded.run(forward_and_backward, self.recorder)
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


class Shape:
    """The memory of one shape of inputs, and the graph on it."""

    def __init__(self, leaves: list[Any]) -> None:
        self.leaves = [torch.empty_like(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.recorded = Recorded()
        self.names: list[str] = []  # of the losses
        self.values = torch.empty(0)  # of the losses, in this order
        self.reached: tuple[int, ...] = ()  # the parameters that have a gradient, by number

    def take(self, leaves: list[Any]) -> None:
        for mine, given in zip(self.leaves, leaves, strict=True):
            if isinstance(mine, Tensor):
                mine.copy_(given, non_blocking=True)


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


class Recorded:
    """A function of no arguments that always does the same on the same memory, and the graph of it."""

    def __init__(self) -> None:
        self.runs = 0
        self.graph: Graph | None = None

    def run(self, function: Callable[[], None], recorder: Recorder | None) -> None:
        """Run it, from its second time on as a graph; the first has made all state that it leaves behind."""
        if self.graph is None and recorder is not None and self.runs:
            self.graph = recorder.record(function)
        self.runs += 1
        if self.graph is None:
            function()
        else:
            self.graph.replay()


class Graph(Protocol):
    def replay(self) -> None:
        """Do what was recorded once more."""


class Recorder(Protocol):
    def record(self, function: Callable[[], None]) -> Graph | None:
        """A graph of the function, which has not run yet; None where there is no more room or it cannot be recorded."""


class CUDARecorder:
    """Makes CUDA graphs that share their memory: what one leaves there is taken away before the next is replayed."""

    def __init__(self, method: Method, strategy: Strategy) -> None:
        self.method, self.strategy = method, strategy
        self.pool = torch.cuda.graph_pool_handle()
        self.room = SHAPES
        self.failed = False

    def record(self, function: Callable[[], None]) -> torch.cuda.CUDAGraph | None:
        if self.failed or not self.room:
            return None
        self.room -= 1
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads, such as the one that writes checkpoints, may use the device meanwhile.
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                function()
        except RuntimeError as error:
            self.failed = True
            for layer in batch_norms(self.method):
                layer.seen = None  # what was noted exists in the graph alone
            reason = str(error).splitlines()[0]
            self.strategy.screen.message(f"Steps are not recorded as CUDA graphs any more: {reason}")
            return None
        return graph


def padded(inputs: T) -> T:
    """The same with as many bodies in all its clips, padding included, and one of `COUNTS` numbers of them.

    Where every clip has one body, as in many data sets, there is no padding.
    """
    clips = [part for part in tree_flatten(inputs, is_leaf=is_clips)[0] if is_clips(part)]
    if all(len(part.owner) == part.size for part in clips):
        return inputs
    step = max(1, clips[0].size // COUNTS)
    bodies = step * math.ceil(max(len(part.owner) for part in clips) / step)
    found: T = tree_map(lambda part: part.padded(bodies) if is_clips(part) else part, inputs, is_leaf=is_clips)
    return found


def is_clips(part: object) -> bool:
    return isinstance(part, Clips)


def signature(leaf: Any) -> Hashable:
    """What has to be the same for two leaves of the inputs to go through one graph."""
    return (tuple(leaf.shape), leaf.dtype) if isinstance(leaf, Tensor) else leaf


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
