"""The interface between a learning method and the loop that trains it."""

from __future__ import annotations

from torch import Tensor, nn

from bonestrap.clips import Batch


class Method(nn.Module):
    """A module whose forward pass is a loss.

    All that changes while training is a parameter or a buffer, and every schedule is a function of the step, so a
    checkpoint is `state_dict()` and a step. The loop calls, once per normalisation group, `method(batch, step)`, then
    the optimizer, then `after_step(step)`; between them the strategy sums `moments` over the ranks.
    """

    encoder: nn.Module  # what is probed, evaluated and shipped
    moments: Tensor  # flat float64 buffer of batch-norm moments, summed over the ranks once a step; may be empty

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Return {"loss": mean over the group's clips, ...}; the other entries are scalars worth plotting."""
        raise NotImplementedError

    def after_step(self, step: int) -> None:
        """Commit what follows the optimizer's step: moving statistics and target network."""
        raise NotImplementedError
