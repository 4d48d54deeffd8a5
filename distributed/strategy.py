"""How the ranks of a run work together: nothing else in the tree imports `torch.distributed`.

The loop is written once, for any number of ranks. A strategy says which normalisation groups this rank holds, sums
gradients and metrics, and sums the batch-norm moments of a step in one collective.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from distributed.progress import Screen, Silence, Terminal
from distributed.watch import Alone, Watch

T = TypeVar("T")

UNEVEN = "The groups of one step did not reach the same parameters: a method must not choose by its data which it uses."


class PairwiseSum:
    """Gradients of a rank's groups, added by halves: (0 + 1) + (2 + 3), not ((0 + 1) + 2) + 3.

    A rank of two holds one half, so one and two ranks (and four, but for the order in which the collective adds) make
    the same sums and round them alike. That matters: through ReLU, a difference in the last bit moves a gradient's
    third digit, and after twenty steps the losses of an untrained network differ in the second.
    """

    def __init__(self, method: nn.Module, groups: int) -> None:
        self.parameters = [p for p in method.parameters() if p.requires_grad]
        self.additions = additions_by_halves(groups)
        self.aside: list[dict[nn.Parameter, Tensor]] = []  # sums of neighbouring groups, the newest last
        self.groups = 0  # put aside in this step

    def put_aside(self) -> None:
        """Take the gradients of the group whose backward pass is over, all but the step's last.

        Raises RuntimeError if another group of the step reached other parameters.
        """
        newest = {p: p.grad for p in self.parameters if p.grad is not None}
        if self.aside and newest.keys() != self.aside[-1].keys():
            raise RuntimeError(UNEVEN)
        for p in newest:
            p.grad = None
        self.aside.append(newest)
        for _ in range(self.additions[self.groups]):
            newest, older = self.aside.pop(), self.aside[-1]
            torch._foreach_add_(list(older.values()), list(newest.values()))
        self.groups += 1

    def add_to(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add what was put aside to these parameters' gradients of the last group, in place."""
        for older in reversed(self.aside):
            pairs = [(p.grad, older[p]) for p in parameters if p in older and p.grad is not None]
            if pairs:
                torch._foreach_add_([gradient for gradient, _ in pairs], [put_aside for _, put_aside in pairs])

    def clear(self) -> None:
        """End the step. Raises RuntimeError if another group reached a parameter that the last did not."""
        if any(p.grad is None for older in self.aside for p in older):
            raise RuntimeError(UNEVEN)
        self.aside.clear()
        self.groups = 0


def additions_by_halves(groups: int) -> list[int]:
    """How many additions follow each group, so that n are added as n // 2 and the rest: 4 -> [0, 1, 0, 2]."""
    if groups == 1:
        return [0]
    additions = additions_by_halves(groups // 2) + additions_by_halves(groups - groups // 2)
    additions[-1] += 1
    return additions


class Strategy:
    """One process on one device; the base that many processes refine."""

    rank: int = 0
    world: int = 1
    graph_reason: str = ""  # why steps cannot be CUDA graphs here; empty where they can

    def __init__(
        self, device: torch.device | str = "cpu", screen: Screen | None = None, watch: Watch | None = None
    ) -> None:
        self.device = torch.device(device)
        self.screen: Screen = screen or (Terminal() if self.rank == 0 else Silence())
        self.watch: Watch = watch or Alone()
        self.moment_collectives = 0  # one a step, whatever the number of layers and groups
        self.norms: list[Tensor] = []  # of this rank's gradients in this step, before they meet the others'

    @property
    def first(self) -> bool:
        """Whether this rank writes files and speaks to the user."""
        return self.rank == 0

    def own_groups(self, groups: int) -> range:
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

    def seed(self, value: int) -> None:
        """Seed the generators of the CPU and of this rank's device, as `torch.manual_seed` does in 500 times the time.

        (Before CUDA is in use, that notes the whole call stack for the moment when it will be.)
        """
        torch.default_generator.manual_seed(value)
        if self.device.type == "cuda":
            index = torch.cuda.current_device() if self.device.index is None else self.device.index
            torch.cuda.default_generators[index].manual_seed(value)

    def wrap(
        self, method: nn.Module, optimizer: torch.optim.Optimizer, groups: int
    ) -> Callable[..., dict[str, Tensor]]:
        """What the loop calls in place of the method, for each of this rank's `groups` of a step.

        Method and optimizer hold the state to start from, whole.
        """
        self.gradients = PairwiseSum(method, groups)
        return method

    def replicate(self, method: nn.Module) -> None:
        """Start with the first rank's parameters and buffers; in place of `wrap` where the caller sums gradients."""

    @contextmanager
    def accumulate(self, *, last: bool) -> Iterator[None]:
        """Around one group's forward and backward pass; after the last, gradients are sums over groups and ranks."""
        yield
        if last:
            self.gradients.add_to(self.gradients.parameters)
            self.gradients.clear()
            self.norms += torch._foreach_norm([p.grad for p in self.gradients.parameters if p.grad is not None])
        else:
            self.gradients.put_aside()

    def backward(self, loss: Tensor) -> None:
        """The gradients of one group's loss, a part of the step's."""
        loss.backward()

    def gradient_norm(self) -> Tensor:
        """The norm of this rank's gradients in the step just done, summed over its groups: not finite if one is not."""
        norms, self.norms = self.norms, []
        return torch.stack(norms).norm() if norms else torch.zeros((), device=self.device)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """One optimizer step on the gradients of all groups and ranks."""
        optimizer.step()

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """The optimizer's `state_dict`, with whole tensors however they are divided; called on all ranks together."""
        return optimizer.state_dict()

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

    def __init__(
        self, device: torch.device | str = "cpu", screen: Screen | None = None, watch: Watch | None = None
    ) -> None:
        import torch.distributed as dist

        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        super().__init__(device, screen if self.rank == 0 else Silence(), watch)
        self.replica: nn.parallel.DistributedDataParallel | None = None

    def wrap(
        self, method: nn.Module, optimizer: torch.optim.Optimizer, groups: int
    ) -> Callable[..., dict[str, Tensor]]:
        """Replicate the first rank's parameters and buffers, once.

        `broadcast_buffers=False`: rank 0's batch-norm statistics must not overwrite the others', since those of the
        target are equal on every rank by `sum_moments`, and those of a group belong to the rank that holds it.
        `find_unused_parameters=True`: a step may leave parameters without gradient, as fine-tuning does while its
        encoder is frozen. It also keeps the buckets in which gradients are summed the same from the first step on;
        otherwise they are rebuilt after one step, floating-point sums change order, and a resumed run is not exact.
        No `device_ids`: with them DDP moves every tensor of its inputs to the GPU, also those that `Recordings` keeps
        on the CPU because sizes follow from them.
        """
        import torch.distributed as dist

        super().wrap(method, optimizer, groups)
        for buffer in method.buffers():
            dist.broadcast(buffer, src=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # its new name is not known to every version
            self.replica = nn.parallel.DistributedDataParallel(
                method,
                broadcast_buffers=False,
                find_unused_parameters=True,
                gradient_as_bucket_view=True,
            )
        self.replica.register_comm_hook(None, lambda _, bucket: self.sum_bucket(bucket))
        return self.replica

    def replicate(self, method: nn.Module) -> None:
        import torch.distributed as dist

        for tensor in (*method.parameters(), *method.buffers()):
            dist.broadcast(tensor.detach(), src=0)

    def sum_bucket(self, bucket: Any) -> Any:
        """While the last group's backward pass runs: this rank's sum of a few gradients, then that of all ranks."""
        import torch.distributed as dist

        self.gradients.add_to(bucket.parameters())  # not to `bucket.gradients()`: those ignore a weight's memory layout
        self.norms.append(bucket.buffer().norm())
        work = dist.all_reduce(bucket.buffer(), async_op=True)
        assert work is not None
        return work.get_future().then(lambda done: done.value()[0])

    @contextmanager
    def accumulate(self, *, last: bool) -> Iterator[None]:
        assert self.replica is not None
        with nullcontext() if last else self.replica.no_sync():
            yield
        if last:
            self.gradients.clear()
        else:
            self.gradients.put_aside()

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
