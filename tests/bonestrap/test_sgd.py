"""Our SGD is PyTorch's, bit for bit, and leaves the compiler alone."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import torch
from torch import nn

from bonestrap.sgd import SGD

ALONE = """
import sys, torch
from bonestrap.sgd import SGD
layer = torch.nn.Linear(3, 2)
optimizer = SGD([{"params": [layer.weight], "scale": 2.0}, {"params": [layer.bias]}], lr=0.1, momentum=0.9)
for _ in range(2):
    optimizer.zero_grad(set_to_none=True)
    layer(torch.ones(4, 3)).sum().backward()
    optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
sys.exit("torch._dynamo" in sys.modules)
"""


def trained(kind: type[torch.optim.SGD]) -> tuple[dict[str, object], list[torch.Tensor]]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    groups: list[dict[str, Any]] = [
        {"params": list(network[0].parameters())},
        {"params": list(network[2].parameters()), "lr": 0.03},
    ]
    optimizer = kind(groups, lr=0.1, momentum=0.9, weight_decay=1e-2)
    for step in range(6):
        optimizer.zero_grad(set_to_none=True)
        network(torch.randn(5, 6)).square().mean().backward()
        optimizer.step()
        if step == 2:
            optimizer.load_state_dict(optimizer.state_dict())
    return optimizer.state_dict(), [p.detach() for p in network.parameters()]


def test_the_steps_are_pytorch_s() -> None:
    (ours, weights), (theirs, expected) = trained(SGD), trained(torch.optim.SGD)
    assert all(map(torch.equal, weights, expected))
    assert ours["param_groups"] == theirs["param_groups"]
    buffers, expected_buffers = (
        [row["momentum_buffer"] for row in state["state"].values()]  # type: ignore[attr-defined]
        for state in (ours, theirs)
    )
    assert len(buffers) == 4 and all(map(torch.equal, buffers, expected_buffers))


def test_no_compiler_is_imported() -> None:
    assert subprocess.run([sys.executable, "-c", ALONE], check=False).returncode == 0
