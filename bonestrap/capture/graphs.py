"""Functions on memory that stays the same, as CUDA graphs, which a GPU replays without the host launching each kernel.

Legend: N bodies, padding included.

A graph repeats operations on the memory on which they were recorded: what changes has to lie in tensors that are filled
before the replay. Shapes recur because the bodies of a batch are filled up to one of a few numbers (`padded`). Without
a recorder, as on a CPU, the function itself runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from bonestrap.clips import Clips

T = TypeVar("T")

SHAPES = 48  # that are recorded; a run of any other goes without a graph
COUNTS = 16  # numbers of bodies between one and two for each clip


class Static:
    """The memory of inputs of one shape, nested tuples of tensors, and the graph on it."""

    def __init__(self, inputs: Any) -> None:
        leaves, self.structure = tree_flatten(inputs)
        self.leaves = [torch.empty_like(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.recorded = Recorded()

    @property
    def inputs(self) -> Any:
        return tree_unflatten(self.leaves, self.structure)

    def take(self, inputs: Any) -> None:
        """Fill the memory."""
        for mine, given in zip(self.leaves, tree_flatten(inputs)[0], strict=True):
            if isinstance(mine, Tensor):
                mine.copy_(given, non_blocking=True)


class Recorded:
    """A function of no arguments that always does the same on the same memory, and the graph of it.

    A run without a graph makes the state that it leaves behind, and loads what it needs. Where another shape's has done
    so the first is recorded as well: graphs share their memory, and beside it a run would need the same once more.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.graph: Graph | None = None

    def run(self, function: Callable[[], None], recorder: Recorder | None, *, warm: bool = False) -> None:
        """Run it, from its second time on, or if `warm` from its first, as a graph."""
        if self.graph is None and recorder is not None and (self.runs or warm):
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

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` is told once, if something cannot be recorded."""
        self.say = say
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
            self.say(f"Work is not recorded as CUDA graphs any more: {str(error).splitlines()[0]}")
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


def shape_of(inputs: Any) -> Hashable:
    """What has to be the same for inputs to go through one graph."""
    leaves, structure = tree_flatten(inputs)
    return structure, *((tuple(x.shape), x.dtype) if isinstance(x, Tensor) else x for x in leaves)
