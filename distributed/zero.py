"""DeepSpeed's ZeRO 1 and 2: the optimizer's state (and with 2 the gradients) divided among the ranks.

Nothing else in the tree imports deepspeed. The parameters, the moving average of the target and all batch statistics
are whole and in fp32 on every rank; bf16 is a matter of autocast. A step adds the same gradients in the same order as
DDP does, and a checkpoint holds the optimizer's state whole and by parameter, so runs change strategy in the middle.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from bonestrap.sgd import SGD
from distributed.progress import Screen
from distributed.strategy import DDP, UNEVEN, Strategy
from distributed.watch import Watch

# What one value's update depends on: that value's gradient and state alone. ZeRO hands out flat slices of all
# parameters, in which an optimizer cannot see where one ends and the next begins.
ELEMENTWISE = (SGD, torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop)
BUCKET = 50_000_000  # values reduced at a time


class ZeRO(DDP):
    """`stage` 1 divides the optimizer's state, 2 the gradients as well."""

    graph_reason = "DeepSpeed reduces gradients and moves parameters on streams of its own"

    def __init__(
        self,
        stage: Literal[1, 2],
        device: torch.device | str = "cpu",
        screen: Screen | None = None,
        watch: Watch | None = None,
    ) -> None:
        super().__init__(device, screen, watch)
        self.stage = stage
        self.last = False
        self.engine: Any = None
        self.parameters: list[nn.Parameter] = []  # in the optimizer's order

    def wrap(
        self, method: nn.Module, optimizer: torch.optim.Optimizer, groups: int
    ) -> Callable[..., dict[str, Tensor]]:
        """Raises ValueError for an optimizer whose step needs whole parameters, such as LARS."""
        import torch.distributed as dist

        if type(optimizer) not in ELEMENTWISE:
            raise ValueError(
                f"{type(optimizer).__name__} cannot be used with ZeRO, which flattens all parameters and hands each "
                "rank a slice: a step that needs a parameter's norm would take that of the slice; use --strategy ddp."
            )
        for buffer in method.buffers():
            dist.broadcast(buffer, src=0)
        deepspeed = loaded(self.device)
        Strategy.wrap(self, method, optimizer, groups)
        for p in self.gradients.parameters:  # before DeepSpeed's own hooks, which take the gradient away
            p.register_post_accumulate_grad_hook(self.complete)
        for p in method.parameters():  # it flattens them all, and cannot send one in another layout
            p.data = p.data.reshape(-1).view(p.shape)  # `contiguous` leaves the strides of dimensions of one
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        state = optimizer.state_dict()["state"]
        optimizer.state.clear()
        self.engine, *_ = deepspeed.initialize(
            model=KeepsAutocast(method, self.device.type),
            optimizer=optimizer,
            dist_init_required=False,
            config={
                "train_micro_batch_size_per_gpu": 1,
                "zero_optimization": {
                    "stage": self.stage,
                    "reduce_bucket_size": BUCKET,
                    "allgather_bucket_size": BUCKET,
                    "overlap_comm": False,
                },
                "gradient_clipping": 0.0,  # at the default norms are cut to one, unasked
                "zero_allow_untested_optimizer": True,
                "steps_per_print": 2**62,
            },
        )
        self.restore(optimizer, state)

        def forward(*inputs: Any) -> dict[str, Tensor]:
            if not self.last:
                return method(*inputs)
            self.engine.module.note()
            return self.engine(*inputs)

        return forward

    def complete(self, p: Tensor) -> None:
        """The last group's gradient of one parameter has come: add the other groups'."""
        assert isinstance(p, nn.Parameter)
        assert p.grad is not None
        self.gradients.add_to([p])
        self.norms.append(p.grad.norm())
        self.reached.add(p)

    @contextmanager
    def accumulate(self, *, last: bool) -> Iterator[None]:
        self.last = last
        self.reached: set[nn.Parameter] = set()
        yield
        if last:
            if any(p not in self.reached for older in self.gradients.aside for p in older):
                raise RuntimeError(UNEVEN)
            self.gradients.aside.clear()
            self.gradients.groups = 0
        else:
            self.gradients.put_aside()

    def backward(self, loss: Tensor) -> None:
        """All but the last group go past DeepSpeed; with the last it takes the sums of this rank's groups."""
        loss = loss * self.world  # it takes means over the ranks
        if self.last:
            self.engine.backward(loss)
            return
        parameters = self.gradients.parameters
        for p, gradient in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
            p.grad = gradient

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        self.engine.step()

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """As plain torch writes it: the ranks put their slices together and cut them by parameter."""
        import torch.distributed as dist

        groups: list[dict[str, Any]] = []
        state: dict[int, dict[str, Any]] = {}
        numbers = {p: number for number, p in enumerate(self.parameters)}
        for group, flat in zip(optimizer.param_groups, self.flat_groups(), strict=True):
            rest = {key: value for key, value in group.items() if key != "params"}
            groups.append({**rest, "params": [numbers[p] for p in flat.parameters]})
            for key, value in optimizer.state.get(flat.mine, {}).items():
                if divided(value):
                    parts = [torch.empty_like(value) for _ in range(self.world)]
                    dist.all_gather(parts, value)
                    whole = torch.cat(parts)
                for p in flat.parameters if value is not None else []:
                    entry = flat.of(whole, p).clone() if divided(value) else value
                    state.setdefault(numbers[p], {})[key] = entry
        return {"state": state, "param_groups": groups}

    def restore(self, optimizer: torch.optim.Optimizer, state: dict[int, dict[str, Any]]) -> None:
        """Divide an optimizer's state, whole and by parameter, among the ranks."""
        numbers = {p: number for number, p in enumerate(self.parameters)}
        for flat in self.flat_groups():
            wholes: dict[str, Any] = {}
            for p in flat.parameters:
                for key, value in state.get(numbers[p], {}).items():
                    if divided(value):
                        whole = wholes.setdefault(key, torch.zeros_like(flat.all))
                        flat.of(whole, p).copy_(value)
                    elif value is not None:
                        wholes[key] = value
            for key, whole in wholes.items():
                mine = whole.chunk(self.world)[self.rank].clone() if divided(whole) else whole
                optimizer.state[flat.mine][key] = mine

    def flat_groups(self) -> list[Flat]:
        """How DeepSpeed has laid out each param group."""
        zero = self.engine.optimizer
        parts = zip(zero.bit16_groups_flat, zero.single_partition_of_fp32_groups, zero.bit16_groups, strict=True)
        return [Flat(*part) for part in parts]


class KeepsAutocast(nn.Module):
    """The method under the autocast of its caller, which DeepSpeed switches off on a GPU: it has a setting of its own,
    which would change the types of gradients as well."""

    def __init__(self, method: nn.Module, device: str) -> None:
        super().__init__()
        self.method, self.device = method, device
        self.note()

    def note(self) -> None:
        """Remember the autocast that is on now."""
        self.enabled, self.dtype = torch.is_autocast_enabled(self.device), torch.get_autocast_dtype(self.device)

    def forward(self, *inputs: Any) -> dict[str, Tensor]:
        with torch.autocast(self.device, self.dtype, enabled=self.enabled):
            losses: dict[str, Tensor] = self.method(*inputs)
        return losses


class Flat(NamedTuple):
    """One param group: all values in a row, with padding between and behind, and the slice whose update is ours."""

    all: Tensor
    mine: Tensor
    parameters: list[nn.Parameter]  # views of `all`

    def of(self, values: Tensor, p: nn.Parameter) -> Tensor:
        """What belongs to a parameter among values laid out like `all`, in the parameter's shape."""
        begin = (p.data_ptr() - self.all.data_ptr()) // p.element_size()
        return values[begin : begin + p.numel()].view(p.shape)


def divided(value: Any) -> bool:
    """Whether an entry of the optimizer's state belongs to values one by one; a step count belongs to all."""
    return isinstance(value, Tensor) and value.ndim > 0


def loaded(device: torch.device) -> Any:
    """DeepSpeed on the process group that is there, silent, and on a CPU without compiling anything."""
    if device.type == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    # The GPU that DeepSpeed moves the method to; Ray's number counts ranks, which need not be in the GPUs' order.
    os.environ["LOCAL_RANK"] = str(device.index or 0)
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    import deepspeed

    # On a CPU its first collective would be compiled for most of a minute, and fail where there is no compiler.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed("nccl" if device.type == "cuda" else "gloo", auto_mpi_discovery=False, verbose=False)
    return deepspeed
