"""How the ranks of a run work together: nothing else in the tree imports `torch.distributed`.

The loop is written once, for any number of ranks. A strategy says which normalisation groups this rank holds, averages
gradients and metrics, and sums the batch-norm moments of a step in one collective.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from distributed.progress import Screen, Silence, Terminal

T = TypeVar("T")


class Strategy:
    """One process on one device; the base that many processes refine."""

    rank: int = 0
    world: int = 1

    def __init__(self, device: torch.device | str = "cpu", screen: Screen | None = None) -> None:
        self.device = torch.device(device)
        self.screen: Screen = screen or (Terminal() if self.rank == 0 else Silence())
        self.moment_collectives = 0  # one a step, whatever the number of layers and groups

    @property
    def first(self) -> bool:
        """Whether this rank writes files and speaks to the user."""
        return self.rank == 0

    def share(self, groups: int) -> range:
        """The normalisation groups of every step that this rank runs: neighbours, the same number on every rank.

        Raises ValueError if the groups do not divide among the ranks: a group is never cut, as its clips share their
        batch statistics.
        """
        if groups % self.world:
            raise ValueError(
                f"{groups} normalisation groups a step cannot be shared evenly by {self.world} workers: "
                f"choose a number of workers that divides {groups}, or another batch or group size."
            )
        mine = groups // self.world
        return range(self.rank * mine, (self.rank + 1) * mine)

    def wrap(self, method: nn.Module) -> Callable[..., dict[str, Tensor]]:
        """What the loop calls in place of the method; on many ranks it averages the gradients."""
        return method

    def accumulate(self, *, last: bool) -> AbstractContextManager[Any]:
        """Around one group's forward and backward pass: ranks exchange gradients in the last group's only."""
        return nullcontext()

    def sum_moments(self, moments: Tensor) -> Callable[[], object]:
        """Start to sum `moments` in place over the ranks; the sum stands once the returned function has been called."""
        return lambda: None

    def sum(self, values: Tensor) -> Tensor:
        """The sum of `values` over the ranks, on every rank."""
        return values

    def agree(self, find: Callable[[], T]) -> T:
        """What `find` returns on the first rank, on every rank, for things such as which checkpoint to resume."""
        return find()


class Single(Strategy):
    """`--workers 0`: this process alone, with torch and numpy and nothing else."""


class DDP(Strategy):
    """`DistributedDataParallel` on gloo or NCCL. The default process group must have been started."""

    def __init__(self, device: torch.device | str = "cpu", screen: Screen | None = None) -> None:
        import torch.distributed as dist

        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        super().__init__(device, screen if self.rank == 0 else Silence())
        self.replica: nn.parallel.DistributedDataParallel | None = None

    def wrap(self, method: nn.Module) -> Callable[..., dict[str, Tensor]]:
        """Replicate the first rank's parameters and buffers, once.

        `broadcast_buffers=False`: rank 0's batch-norm statistics must not overwrite the others', since those of the
        target are equal on every rank by `sum_moments`, and those of a group belong to the rank that holds it.
        `find_unused_parameters=True`: a step may leave parameters without gradient, as fine-tuning does while its
        encoder is frozen. It also keeps the buckets in which gradients are summed the same from the first step on;
        otherwise they are rebuilt after one step, floating-point sums change order, and a resumed run is not exact.
        """
        import torch.distributed as dist

        for buffer in method.buffers():
            dist.broadcast(buffer, src=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # its new name is not known to every version
            self.replica = nn.parallel.DistributedDataParallel(
                method,
                device_ids=[self.device] if self.device.type == "cuda" else None,
                broadcast_buffers=False,
                find_unused_parameters=True,
                gradient_as_bucket_view=True,
            )
        return self.replica

    def accumulate(self, *, last: bool) -> AbstractContextManager[Any]:
        if last or self.replica is None:
            return nullcontext()
        return self.replica.no_sync()

    def sum_moments(self, moments: Tensor) -> Callable[[], object]:
        """One asynchronous collective, which runs beside the backward pass of the step's last group."""
        import torch.distributed as dist

        if not moments.numel():
            return lambda: None
        self.moment_collectives += 1
        work = dist.all_reduce(moments, async_op=True)
        assert work is not None
        return work.wait

    def sum(self, values: Tensor) -> Tensor:
        import torch.distributed as dist

        dist.all_reduce(values)
        return values

    def agree(self, find: Callable[[], T]) -> T:
        """Raises on every rank what `find` raised on the first, so that no rank waits for one that has stopped."""
        import torch.distributed as dist

        said: list[Any] = [None, None]
        if self.first:
            try:
                said[0] = find()
            except Exception as error:
                said[1] = error
        dist.broadcast_object_list(said, src=0, device=self.device if self.device.type == "cuda" else None)
        if said[1] is not None:
            raise said[1]
        return said[0]


def peer_lost(error: BaseException) -> bool:
    """Whether an exception only echoes another rank's end: a collective that lost its peer or waited in vain."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())
