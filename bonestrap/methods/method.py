"""The interface between a learning method and the loop that trains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bonestrap.clips import Batch
from bonestrap.encoders.encoder import Encoder


class Group(NamedTuple):
    """Parameters that an optimizer treats alike."""

    parameters: Sequence[tuple[str, nn.Parameter]]
    scale: float = 1.0  # factor of the learning rate


class Method(nn.Module):
    """A module whose forward pass is a loss.

    All that changes while training is a parameter or a buffer, and every schedule is a function of the step, so a
    checkpoint is `state_dict()` and a step. The loop calls, once per normalisation group, `method(batch, step)`, then
    the optimizer, then `after_step(step)`; between them the strategy sums `moments` over the ranks.

    A method of one's own needs `encoder` and `forward`.
    """

    encoder: Encoder  # what is probed, evaluated and shipped
    moments: Tensor  # flat float64 buffer of batch-norm moments, summed over the ranks once a step; may be empty

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("moments", torch.zeros(0, dtype=torch.float64))

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Return {"loss": mean over the group's clips, ...}; the other entries are scalars worth plotting."""
        raise NotImplementedError

    def after_step(self, step: int) -> None:
        """Commit what follows the optimizer's step: moving statistics and target network. By default nothing."""

    def parameter_groups(self) -> list[Group]:
        """What the optimizer moves, by default every parameter that requires a gradient."""
        return [Group([(name, p) for name, p in self.named_parameters() if p.requires_grad])]

    def shipped_head(self) -> nn.Module | None:
        """The classifier that is shipped with the encoder; None: features only."""
        return None

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Take the networks of a checkpoint (`--init-from` a run). Raises RuntimeError where they do not fit."""
        self.load_state_dict(state)
        self.moments.zero_()

    def start_from_encoder(self, state: Mapping[str, Tensor]) -> None:
        """Take a trained encoder (`--init-from` a model). Raises RuntimeError where it does not fit."""
        self.encoder.load_state_dict(state)
