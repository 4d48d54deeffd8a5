"""A graph that needs no GPU: the operations of a function, replayed on the memory on which they ran first.

Nothing of Python runs in a replay, as in that of a CUDA graph. So a number that should have been a tensor keeps the
value that it had when it was recorded, and whatever depends on it is stale. As in a capture, reading a value fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
READS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten._unique2.default}


class Replayed(TorchDispatchMode):
    """Records what runs inside; `replay` does it again, but for the first time, when it has just been done."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READS:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        result = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        if self.replays == 1:
            return
        for func, args, kwargs, before in self.operations:
            given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
            after = func(*args, **kwargs)
            for old, new in zip(tree_leaves(before), tree_leaves(after), strict=True):
                if isinstance(old, Tensor) and old.untyped_storage()._cdata not in given:  # else a view, or in place
                    old.copy_(new)


class ReplayRecorder:
    """A `distributed.steps.graph.Recorder`."""

    def __init__(self) -> None:
        self.graphs: list[Replayed] = []

    def record(self, function: Callable[[], None]) -> Replayed:
        graph = Replayed()
        with graph:
            function()
        self.graphs.append(graph)
        return graph
