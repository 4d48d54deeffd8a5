"""A GPU that is not there: the shapes, types and places of all tensors, and every time the host would wait for it.

Torch's device "meta" computes shapes and no values. As on a GPU, tensors of two places do not mix. What would have to
come back is made up (zeros), so whole programs run to their end. Waiting is what `torch.cuda.set_sync_debug_mode`
calls so: reading a value, a shape that depends on values, a copy to the host, and a copy from the host that is not
asynchronous or not from pinned memory. `peers` adds a process group, in which DDP moves what it would move to a GPU.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("meta")
aten = torch.ops.aten
SIZED_BY_VALUES = {aten.nonzero.default, aten.masked_select.default, aten._unique2.default, aten.bincount.default}
INDEXED = {aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default}
MADE_FROM_VALUES = {torch.tensor, torch.as_tensor}


class Waited(AssertionError):
    """The host would wait for the device here."""


class PretendGPU(TorchDispatchMode):
    """Inside, `DEVICE` is a GPU; `waits` has a line for every time that the host waited."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.pinned: dict[int, Tensor] = {}  # by address; kept, so that no other tensor comes to lie there
        self.forbidden = False

    @contextmanager
    def never_waits(self) -> Iterator[None]:
        """Waited is raised inside."""
        self.forbidden = True
        try:
            yield
        finally:
            self.forbidden = False

    def wait(self, why: str) -> None:
        frames = [f for f in traceback.extract_stack() if "/torch/" not in f.filename and f.filename != __file__]
        self.waits.append(f"{why}: {frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}")
        if self.forbidden:
            raise Waited(self.waits[-1])

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "c10d":
            return summed(func, args, kwargs)
        if func is aten.is_pinned.default:
            return args[0].data_ptr() in self.pinned
        if func is aten._pin_memory.default:
            return self.pin(args[0].clone())
        if kwargs.get("pin_memory"):
            return self.pin(func(*args, **{**kwargs, "pin_memory": False}))
        if func is aten._to_copy.default:
            return self.copied(args[0], kwargs)
        if func is aten.copy_.default and args[0].device != args[1].device and args[1].ndim:
            self.crossing(args[1], args[0].device, args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
            return args[0].zero_()
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if not any(x.device == DEVICE for x in tensors):
            return func(*args, **kwargs)
        if func is aten._local_scalar_dense.default:
            self.wait("a value is read")
            return torch.zeros((), dtype=args[0].dtype).item()
        if func in SIZED_BY_VALUES:
            self.wait("a shape depends on values")
        if func in INDEXED:
            self.indexing([index for index in args[1] if index is not None])
        elif any(x.device != DEVICE and x.ndim for x in tensors):
            raise RuntimeError(f"{func} has tensors of two devices")
        return func(*args, **kwargs)

    def pin(self, x: Tensor) -> Tensor:
        self.pinned[x.data_ptr()] = x
        return x

    def indexing(self, indices: list[Tensor]) -> None:
        if any(index.device != DEVICE for index in indices):
            self.wait("an index comes from the host")
        if any(index.dtype == torch.bool for index in indices):
            self.wait("a shape depends on values")

    def copied(self, source: Tensor, how: dict[str, Any]) -> Tensor:
        """`Tensor.to`, which may cross from one device to the other."""
        place = torch.device(torch.device(how.get("device") or source.device).type)  # there is one of each
        if place != source.device:
            self.crossing(source, place, how.get("non_blocking", False))
            return torch.zeros(source.shape, dtype=how.get("dtype") or source.dtype, device=place)
        return aten._to_copy.default(source, **how)

    def crossing(self, source: Tensor, place: torch.device, asynchronous: bool) -> None:
        if place == DEVICE and not (asynchronous and source.data_ptr() in self.pinned):
            self.wait("a copy from the host is not asynchronous from pinned memory")
        if source.device == DEVICE:
            self.wait("a copy to the host")


def summed(func: Any, args: Any, kwargs: Any) -> Any:
    """A collective, done at once: every sum is what this rank has put in."""
    result = func(*args, **kwargs)
    if func is not torch.ops.c10d.allreduce_.default:
        return result
    future: torch.futures.Future[Any] = torch.futures.Future()
    future.set_result(args[0])
    return args[0], torch._C._distributed_c10d._create_work_from_future(future).boxed()  # type: ignore[attr-defined]


class Hidden(TorchFunctionMode):
    """Copies that no dispatcher sees: values of Python that become a tensor on the device."""

    def __init__(self, gpu: PretendGPU) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in MADE_FROM_VALUES and kwargs.get("device") is not None and torch.device(kwargs["device"]) == DEVICE:
            self.gpu.wait("values of the host become a tensor")
        if func in (Tensor.__getitem__, Tensor.__setitem__) and args[0].device == DEVICE:
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(part, list) for part in index):
                self.gpu.wait("an index comes from the host")
        return func(*args, **kwargs)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendGPU]:
    """The mode, switched on; autocast, which knows no such device, is left out."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)
    with ExitStack() as modes:
        pretended = modes.enter_context(PretendGPU())
        modes.enter_context(Hidden(pretended))
        yield pretended


@pytest.fixture
def peers(gpu: PretendGPU, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process group of two ranks, of which the other is not there."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    # It would read the sizes that the other rank has sent; and there are no streams to copy on.
    monkeypatch.setattr(torch.nn.parallel.distributed, "_verify_param_shape_across_processes", lambda *_: None)
    monkeypatch.setenv("PYTORCH_DDP_USE_SIDE_STREAM", "0")
    dist.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield
    dist.destroy_process_group()
