"""What methods that tune a trained encoder have in common: which layers move, and how groups know of each other.

Legend: B clips of a group, A clips of a step, D dimensions, P numbers of a clip that all groups know.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Batch, Clips, to_device
from bonestrap.encoders.encoder import Encoder
from bonestrap.methods.config import Task
from bonestrap.methods.method import Method
from bonestrap.methods.tuning import TuningConfig
from bonestrap.momentum import BatchNorm, batch_norms, commit, moments_size, take_moments, warm_alpha


class Inputs(NamedTuple):
    """A group as its losses take it."""

    views: tuple[Clips, ...]
    items: Tensor  # (B,) int64, which recording or performance each clip is of; -1: unknown
    places: Tensor  # (B,) int64, of the clips among those of the step


class Tuning(Method):
    """Heads on an encoder whose last layers move and whose batch statistics stay.

    A loss may depend on all clips of a step, wherever they are: `note` says what of a clip, and `shared` holds it for
    all. Where a step has one group `losses` fills it; else the loop does, in a pass without gradients before.
    """

    count: int = 1  # views of a clip

    def __init__(self, encoder: Encoder, config: TuningConfig, task: Task):
        super().__init__()
        self.config = config
        self.steps, self.batch, self.groups = task.steps, task.batch, task.groups
        self.shares = task.groups > 1
        self.pipeline = Pipeline(task.layout, task.clip, config.view)
        self.encoder = encoder.requires_grad_(False)
        layers = encoder.layers()
        for layer in layers[len(layers) - int(len(layers) * config.tuned) :]:
            layer.requires_grad_(True)

    def begin(self, shared: tuple[int, int]) -> None:
        """Called when the heads are there: all groups know so many rows of so many numbers of each clip."""
        rows, width = shared
        room = torch.zeros(rows, self.batch, width + 1, dtype=torch.float64)
        self.register_buffer("shared", room, persistent=False)
        self.moments = torch.zeros(moments_size(self.norms()), dtype=torch.float64)
        self.train()

    def norms(self) -> list[BatchNorm]:
        """The layers that normalise with batches: those of the heads, in training."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Tuning:
        super().train(mode)
        for layer in batch_norms(self.encoder):
            layer.eval()
        return self

    def prepare(self, batch: Batch) -> Inputs:
        recordings, generator = batch.views[0], torch.Generator().manual_seed(batch.seed)
        views = tuple(self.pipeline(recordings, generator) for _ in range(self.count))
        device, size = views[0].joints.device, recordings.size
        items = torch.full((size,), -1) if batch.items is None else batch.items
        places = torch.arange(size) + batch.group * size
        return Inputs(views, to_device(items, device), to_device(places, device))

    def note(self, inputs: Inputs) -> list[Tensor]:
        """What all groups need of these clips, some rows (B, P) of it."""
        raise NotImplementedError

    def share(self, batch: Batch, step: int) -> None:
        inputs = self.prepare(batch)
        self.write(inputs, self.note(inputs))
        take_moments(self.norms())  # `losses` notes the same clips

    def write(self, inputs: Inputs, notes: list[Tensor]) -> None:
        """Put a group's notes in their places, each with its item."""
        for rows, values in zip(self.shared, notes, strict=True):
            rows[inputs.places] = torch.cat((values.detach().double(), inputs.items.double()[:, None]), 1)

    def noted(self, row: int) -> tuple[Tensor, Tensor]:
        """The notes (A, P) of all clips of the step, float32, and their items (A,)."""
        values, items = self.shared[row].split([self.shared.shape[2] - 1, 1], 1)
        return values.float(), items.squeeze(1).round().long()

    def over_groups(self, loss: Tensor) -> Tensor:
        """A loss of the whole step as one group's part: its value, and `groups` times the gradient by this group.

        A step follows the mean over its groups of the gradients; what each depends on of the others is a constant.
        """
        return loss.detach() + self.groups * (loss - loss.detach())

    def start_from(self, state: Mapping[str, Tensor]) -> str:
        """The networks of a run of this method, or the encoder alone of a run of another."""
        own = self.state_dict()
        if state.keys() == own.keys():
            return super().start_from(state)
        encoder = {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
        if not encoder:
            raise RuntimeError("its checkpoint has no encoder under that name; name its model directory")
        self.start_from_encoder(encoder)
        return "the encoder"

    def rates(self, step: int) -> dict[str, float]:
        return {"alpha": warm_alpha(self.config.alpha, step)}

    def follow(self, rates: Mapping[str, float | Tensor], branch: Hashable) -> None:
        commit(self.moments, self.followers(), rates["alpha"])
        self.moments.zero_()
        self.shared.zero_()

    def followers(self) -> list[list[BatchNorm]]:
        """Whose statistics follow the batches'."""
        return [self.norms()]
