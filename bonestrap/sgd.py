"""PyTorch's SGD without `torch._dynamo`, whose import takes longer than many a first step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# PyTorch wraps these for its compiler, which is imported when one is first called; inside are the plain methods.
_step = inspect.unwrap(torch.optim.SGD.step)


class SGD(torch.optim.SGD):
    """The same arithmetic, state and hooks: only the compiler is left out, which never sees an optimizer here.

    Beyond PyTorch's, a learning rate may be a tensor on the device, which a CUDA graph reads anew at every replay.
    """

    add_param_group = inspect.unwrap(torch.optim.SGD.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.SGD.zero_grad)
    state_dict = inspect.unwrap(torch.optim.SGD.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.SGD.load_state_dict)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        if not any(isinstance(group["lr"], Tensor) for group in self.param_groups):
            return _step(self, closure)
        for group in self.param_groups:
            self._move(group)
        return None

    @property
    def plain(self) -> bool:
        """Whether it has none of the options that a learning rate in a tensor does not go with."""
        return not any(group["dampening"] or group["nesterov"] or group["maximize"] for group in self.param_groups)

    def _move(self, group: dict[str, Any]) -> None:
        """One step of a group whose learning rate is a tensor without dimensions; PyTorch would read its value."""
        parameters = [p for p in group["params"] if p.grad is not None]
        if not parameters:
            return
        moves = [p.grad for p in parameters]
        if group["weight_decay"]:
            moves = list(torch._foreach_add(moves, parameters, alpha=group["weight_decay"]))
        if group["momentum"]:
            states = [self.state[p] for p in parameters]
            known = [i for i, state in enumerate(states) if state.get("momentum_buffer") is not None]
            if known:
                buffers = [states[i]["momentum_buffer"] for i in known]
                torch._foreach_mul_(buffers, group["momentum"])
                torch._foreach_add_(buffers, [moves[i] for i in known])
            for state, move in zip(states, moves, strict=True):
                if state.get("momentum_buffer") is None:
                    state["momentum_buffer"] = move.clone()
            moves = [state["momentum_buffer"] for state in states]
        torch._foreach_add_(parameters, torch._foreach_mul(moves, -group["lr"].to(moves[0].dtype)))
