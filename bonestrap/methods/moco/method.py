"""MoCo (He et al. 2020) as a way of tuning a trained encoder (Mehraban et al., Table 6).

Legend: B clips of a group, D dimensions.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from bonestrap.encoders.encoder import Encoder
from bonestrap.methods.config import Task
from bonestrap.methods.heads import Head
from bonestrap.methods.moco import MoCoConfig
from bonestrap.methods.tuning.method import Inputs, Tuning
from bonestrap.methods.tuning.queue import Queue
from bonestrap.momentum import BatchNorm, batch_norms, ema, take_moments


class MoCo(Tuning):
    """A query is to be nearer to the key of its clip's other view than to the keys of clips before."""

    config: MoCoConfig
    count = 2

    def __init__(self, encoder: Encoder, config: MoCoConfig, task: Task):
        super().__init__(encoder, config, task)
        self.projector = Head(encoder.features, config.hidden, config.projection)
        self.key_encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.key_projector = copy.deepcopy(self.projector).requires_grad_(False)
        self.queue = Queue(config.queue, config.projection)
        self.begin((1, config.projection))

    def norms(self) -> list[BatchNorm]:
        return batch_norms(self.projector)

    def followers(self) -> list[list[BatchNorm]]:
        return [self.norms(), batch_norms(self.key_projector)]

    def train(self, mode: bool = True) -> MoCo:
        super().train(mode)
        self.key_encoder.eval()
        self.key_projector.eval()
        return self

    def start_from_encoder(self, state: Mapping[str, Tensor]) -> None:
        for network in (self.encoder, self.key_encoder):
            network.load_state_dict(state)

    @torch.no_grad()
    def note(self, inputs: Inputs) -> list[Tensor]:
        """The keys of the second views."""
        keys = self.key_projector(self.key_encoder(inputs.views[1]).float())
        return [F.normalize(keys.float(), dim=1)]

    def losses(self, inputs: Inputs, branch: Hashable) -> dict[str, Tensor]:
        if not self.shares:
            self.write(inputs, self.note(inputs))
        queries = F.normalize(self.projector(self.encoder(inputs.views[0]).float()).float(), dim=1)
        self.moments += take_moments(self.norms())
        keys = self.noted(0)[0][inputs.places]
        return {"loss": contrast(queries, keys, self.queue.similarity(queries, inputs.items), self.config.temperature)}

    def rates(self, step: int) -> dict[str, float]:
        return {**super().rates(step), "momentum": self.config.momentum}

    def follow(self, rates: Mapping[str, float | Tensor], branch: Hashable) -> None:
        self.queue.put(*self.noted(0))
        ema(self.key_encoder, self.encoder, rates["momentum"])
        ema(self.key_projector, self.projector, rates["momentum"])
        super().follow(rates, branch)


def contrast(queries_BD: Tensor, keys_BD: Tensor, past_BQ: Tensor, temperature: float) -> Tensor:
    """Each query's own key against the queue's, by cosine (He et al., Eq. 1), its mean over the clips."""
    own = (queries_BD * keys_BD).sum(1, keepdim=True)
    logits = torch.cat((own, past_BQ), 1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))
