"""The interface between a learning method and the loop that trains it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

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

    A method of one's own needs `encoder` and `forward`. One whose step may become a CUDA graph has `prepare` and
    `losses` in place of `forward`, and `follow` in place of `after_step`.
    """

    encoder: Encoder  # what is probed, evaluated and shipped
    moments: Tensor  # flat float64 buffer of batch-norm moments, summed over the ranks once a step; may be empty
    shared: Tensor  # what each group of a step knows of all, filled by `share` and summed over the ranks; may be empty
    shares: bool = False  # whether the loop calls `share` for all groups before the first `forward` of a step

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("moments", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("shared", torch.zeros(0, dtype=torch.float64), persistent=False)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Return {"loss": mean over the group's clips, ...}; the other entries are scalars worth plotting."""
        return self.losses(self.prepare(batch), self.branch(step))

    def share(self, batch: Batch, step: int) -> None:
        """Add what other groups need of this one to `shared`; without gradients, and with the draws of `forward`."""
        raise NotImplementedError

    def after_step(self, step: int) -> None:
        """Commit what follows the optimizer's step: moving statistics and target network. By default nothing."""
        self.follow(self.rates(step), self.branch(step))

    # The same in parts, of which a CUDA graph takes up `losses` and `follow`: these depend on nothing but their
    # arguments, parameters and buffers, and neither read a value of a tensor nor draw from a generator of their own.

    def prepare(self, batch: Batch) -> Any:
        """Whatever is drawn and sized by the batch: nested tuples of `Clips` and tensors."""
        raise NotImplementedError

    def losses(self, inputs: Any, branch: Hashable) -> dict[str, Tensor]:
        """What `forward` returns, of what `prepare` has returned."""
        raise NotImplementedError

    def branch(self, step: int) -> Hashable:
        """Which way a step goes, where not all go the same: a graph is made for each."""
        return None

    def rates(self, step: int) -> dict[str, float]:
        """What schedules give for `follow` at a step, always under the same names."""
        return {}

    def follow(self, rates: Mapping[str, float | Tensor], branch: Hashable) -> None:
        """What `after_step` does; a graph is given rates as tensors without dimensions, float64 on the device."""

    @property
    def in_parts(self) -> bool:
        """Whether the step is written in these parts."""
        own = type(self)
        return own.losses is not Method.losses and (own.forward, own.after_step) == (Method.forward, Method.after_step)

    def parameter_groups(self) -> list[Group]:
        """What the optimizer moves, by default every parameter that requires a gradient."""
        return [Group([(name, p) for name, p in self.named_parameters() if p.requires_grad])]

    def shipped_head(self) -> nn.Module | None:
        """The classifier that is shipped with the encoder; None: features only."""
        return None

    def start_from(self, state: Mapping[str, Tensor]) -> str:
        """Take the networks of a checkpoint (`--init-from` a run) and say which. RuntimeError where they do not fit."""
        self.load_state_dict(state)
        self.moments.zero_()
        return "all networks"

    def start_from_encoder(self, state: Mapping[str, Tensor]) -> None:
        """Take a trained encoder (`--init-from` a model). Raises RuntimeError where it does not fit."""
        self.encoder.load_state_dict(state)
