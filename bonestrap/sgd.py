"""PyTorch's SGD without `torch._dynamo`, whose import takes longer than many a first step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

# PyTorch wraps these for its compiler, which is imported when one is first called; inside are the plain methods.
_step = inspect.unwrap(torch.optim.SGD.step)


class SGD(torch.optim.SGD):
    """The same arithmetic, state and hooks: only the compiler is left out, which never sees an optimizer here."""

    add_param_group = inspect.unwrap(torch.optim.SGD.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.SGD.zero_grad)
    state_dict = inspect.unwrap(torch.optim.SGD.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.SGD.load_state_dict)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        return _step(self, closure)
