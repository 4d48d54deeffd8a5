"""`--compile`: the encoders' passes as kernels that torch.compile makes for them.

Modules are compiled in place, so names of parameters, checkpoints and saved models stay as they are, and a run may go
on without. Of a step this is where the time goes; heads, optimizer and moving averages are few, large operations.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bonestrap.encoders.encoder import Encoder
from bonestrap.methods.method import Method

BACKEND = "inductor"  # C++ on a CPU, Triton on a GPU


def compile_encoders(method: Method, device: torch.device) -> None:
    """Have every encoder of the method compiled when it is first called: after `method` has moved to `device`.

    The first batch is compiled for its own number of bodies, the next one for any; what the encoder does in evaluation
    and without gradients is compiled on its own. Raises ValueError where nothing can be compiled.
    """
    try_out(device)
    for module in method.modules():
        if isinstance(module, Encoder):
            module.compile(backend=BACKEND)


def try_out(device: torch.device) -> None:
    """Compile next to nothing. Raises ValueError in one sentence where that fails."""

    def double(x: Tensor) -> Tensor:
        return 2 * x

    try:
        torch.compile(double, backend=BACKEND)(torch.ones(8, device=device))
    except torch._dynamo.exc.TorchDynamoException as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        needed = "a C++ compiler" if device.type == "cpu" else "Triton and a C compiler"
        raise ValueError(
            f"--compile needs {needed}, and torch.compile fails here ({reason}): install what is missing, "
            "or leave --compile out"
        ) from error
