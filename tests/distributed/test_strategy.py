"""How strategies treat devices, on a GPU that is not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bonestrap.clips import Batch
from bonestrap.methods.method import Method
from distributed.cluster import collective_timeout
from distributed.coordinator import STARTING_SECONDS
from distributed.strategy import DDP, Single, Strategy
from tests.bonestrap.tiny import Pairs, byol
from tests.pretend import DEVICE, gpu, peers

__all__ = ["gpu", "peers"]  # fixtures


def there(batch: Batch) -> Batch:
    """The frames on the GPU, all else on the CPU, as the loader gives them."""
    return batch._replace(views=tuple(view._replace(frames=view.frames.to(DEVICE)) for view in batch.views))


def step(strategy: Strategy, method: Method) -> list[list[str]]:
    """A whole step of two groups; what was misplaced when each came to the method."""
    seen: list[list[str]] = []
    parameters = [p for p in method.parameters() if p.requires_grad]
    forward = strategy.wrap(method, torch.optim.SGD(parameters, lr=0.1), groups=2)
    method.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].misplaced(DEVICE)))
    batches = [there(Pairs().group(0, group)) for group in range(2)]
    for group, batch in enumerate(batches):
        with strategy.accumulate(last=group == 1):
            losses = forward(batch, 0)
            if group == 1:
                finish = strategy.sum_moments(method.moments)
            strategy.backward(losses["loss"] / 4)
    finish()
    method.after_step(0)
    assert losses["loss"].device == strategy.gradient_norm().device == DEVICE
    assert all(p.grad is not None and p.grad.device == DEVICE for p in parameters)
    return seen


@pytest.mark.usefixtures("peers")
@pytest.mark.parametrize("make", [lambda: Single(DEVICE), lambda: DDP("cuda:0")], ids=["single", "ddp"])
def test_inputs_stay_where_a_batch_says_that_they_are(make: Callable[[], Strategy]) -> None:
    """On one of two GPU workers: sizes that are kept on the CPU are still there inside, and frames on the GPU."""
    assert step(make(), byol().to(DEVICE)) == [[], []]


@pytest.mark.usefixtures("peers")
def test_device_ids_would_move_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the strategy must not give DDP, and what the test before notices: sizes on the GPU."""
    kind = torch.nn.parallel.DistributedDataParallel

    def with_device_ids(*given: Any, **more: Any) -> torch.nn.Module:
        replica = kind(*given, **more)
        replica.device_ids = [0]
        return replica

    monkeypatch.setattr(torch.nn.parallel, "DistributedDataParallel", with_device_ids)
    method = Moved().to(DEVICE)
    strategy = DDP("cuda:0")
    forward = strategy.wrap(method, torch.optim.SGD(method.parameters(), lr=0.1), groups=1)
    with strategy.accumulate(last=True):
        strategy.backward(forward(there(Pairs().group(0, 0)), 0)["loss"])
    assert "views[0].start" in method.misplaced and "views[1].frames" not in method.misplaced


class Moved(Method):
    """Notes what was misplaced, and uses none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))

    def forward(self, batch: Batch, step: int) -> dict[str, torch.Tensor]:
        self.misplaced = batch.misplaced(DEVICE)
        return {"loss": self.weight.sum()}


def test_collectives_outlast_the_report_of_a_hang() -> None:
    for hang_seconds in (10.0, 300.0, 3600.0):
        assert collective_timeout(hang_seconds) > max(hang_seconds, STARTING_SECONDS) + 60
