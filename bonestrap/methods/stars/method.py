"""STARS, the contrastive tuning of a masked predictor's encoder (Mehraban et al., section 3.3, algorithm 1).

Legend: B clips of a group, A clips of a step, D dimensions.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from bonestrap.clips import Clips
from bonestrap.encoders.encoder import Encoder
from bonestrap.methods.config import Task
from bonestrap.methods.heads import Head
from bonestrap.methods.stars import STARSConfig
from bonestrap.methods.tuning.method import Inputs, Tuning
from bonestrap.methods.tuning.queue import Queue
from bonestrap.momentum import BatchNorm, batch_norms, take_moments


class STARS(Tuning):
    """A clip's prediction is to be nearer to the nearest neighbour of its projection than to those of other clips."""

    config: STARSConfig

    def __init__(self, encoder: Encoder, config: STARSConfig, task: Task):
        super().__init__(encoder, config, task)
        self.count = 1 + config.pair
        self.projector = BatchNorm(encoder.features)
        self.predictor = Head(encoder.features, config.hidden, encoder.features)
        self.queue = Queue(config.queue, encoder.features)
        self.begin((self.count, 2 * encoder.features))

    def norms(self) -> list[BatchNorm]:
        return [self.projector, *batch_norms(self.predictor)]

    def embed(self, clips: Clips) -> tuple[Tensor, Tensor]:
        """Predictions z+ and projections z of a view, unit vectors (B, D)."""
        z = self.projector(self.encoder(clips).float())
        return F.normalize(self.predictor(z).float(), dim=1), F.normalize(z.float(), dim=1)

    def note(self, inputs: Inputs) -> list[Tensor]:
        return [torch.cat(self.embed(clips), 1) for clips in inputs.views]

    def losses(self, inputs: Inputs, branch: Hashable) -> dict[str, Tensor]:
        embedded = [self.embed(clips) for clips in inputs.views]
        self.moments += take_moments(self.norms())
        if not self.shares:
            self.write(inputs, [torch.cat(each, 1) for each in embedded])
        parts = []
        for view, (prediction, _) in enumerate(reversed(embedded)):
            notes, items = self.noted(view)
            with torch.no_grad():
                neighbours = self.queue.nearest(notes.chunk(2, 1)[1], items)
            others = self.noted(len(embedded) - 1 - view)[0].chunk(2, 1)[0]
            predictions = others.index_copy(0, inputs.places, prediction)  # gradients reach this group's
            parts.append(info_nce(neighbours, predictions, self.config.temperature))
        return {"loss": self.over_groups(torch.stack(parts).mean())}

    def follow(self, rates: Mapping[str, float | Tensor], branch: Hashable) -> None:
        notes, items = self.noted(0)
        self.queue.put(notes.chunk(2, 1)[1], items)
        super().follow(rates, branch)


def info_nce(neighbours_AD: Tensor, predictions_AD: Tensor, temperature: float) -> Tensor:
    """Eq. 6, its mean over the clips of the step."""
    with torch.autocast(predictions_AD.device.type, enabled=False):
        logits = neighbours_AD @ predictions_AD.float().T / temperature
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
