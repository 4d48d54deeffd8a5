"""How strategies treat devices, on a GPU that is not there."""

from __future__ import annotations

import pytest
import torch

from bonestrap.clips import Batch
from distributed.strategy import DDP
from tests.bonestrap.tiny import Pairs, byol
from tests.pretend import DEVICE, gpu, peers

__all__ = ["gpu", "peers"]  # fixtures


def there(batch: Batch) -> Batch:
    """The frames on the GPU, all else on the CPU, as the loader gives them."""
    return batch._replace(views=tuple(view._replace(frames=view.frames.to(DEVICE)) for view in batch.views))


@pytest.mark.usefixtures("peers")
def test_ddp_leaves_inputs_where_they_are() -> None:
    """A whole step of two groups on one of two GPU workers: sizes that are kept on the CPU are still there inside."""
    method = byol().to(DEVICE)
    parameters = [p for p in method.parameters() if p.requires_grad]
    strategy = DDP("cuda:0")
    forward = strategy.wrap(method, torch.optim.SGD(parameters, lr=0.1), groups=2)
    seen: list[set[str]] = []
    method.register_forward_pre_hook(
        lambda _, inputs: seen.append({view.start.device.type for view in inputs[0].views})
    )
    batches = [there(Pairs().group(0, group)) for group in range(2)]
    for group, batch in enumerate(batches):
        with strategy.accumulate(last=group == 1):
            losses = forward(batch, 0)
            if group == 1:
                finish = strategy.sum_moments(method.moments)
            strategy.backward(losses["loss"] / 4)
    finish()
    method.after_step(0)
    assert seen == [{"cpu"}] * 2
    assert losses["loss"].device == strategy.gradient_norm().device == DEVICE
    assert all(p.grad is not None and p.grad.device == DEVICE for p in parameters)
