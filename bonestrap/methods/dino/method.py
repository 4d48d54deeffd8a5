"""DINO (Caron et al. 2021) as a way of tuning a trained encoder, with Sinkhorn-Knopp centring and KoLeo (DINOv2).

Legend: B clips of a group, A clips of a step, D dimensions, K prototypes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Hashable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap.encoders.encoder import Encoder
from bonestrap.methods.config import Task
from bonestrap.methods.dino import DINOConfig
from bonestrap.methods.heads import Head
from bonestrap.methods.tuning.method import Inputs, Tuning
from bonestrap.momentum import BatchNorm, batch_norms, cosine_momentum, ema, take_moments

ITERATIONS = 3  # of Sinkhorn and Knopp


class Assigner(nn.Module):
    """Features (B, D) to cosines with prototypes, (B, K)."""

    def __init__(self, features: int, config: DINOConfig):
        super().__init__()
        self.projector = Head(features, config.hidden, config.projection)
        self.prototypes = nn.Parameter(torch.randn(config.prototypes, config.projection))

    def forward(self, features: Tensor) -> Tensor:
        z = F.normalize(self.projector(features).float(), dim=1)
        return z @ F.normalize(self.prototypes, dim=1).T


class DINO(Tuning):
    """The student assigns one view of a clip to the prototypes that the teacher assigns the other to."""

    config: DINOConfig
    count = 2

    def __init__(self, encoder: Encoder, config: DINOConfig, task: Task):
        super().__init__(encoder, config, task)
        self.assigner = Assigner(encoder.features, config)
        self.teacher_encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.teacher_assigner = copy.deepcopy(self.assigner).requires_grad_(False)
        self.begin((2, config.prototypes))

    def norms(self) -> list[BatchNorm]:
        return batch_norms(self.assigner)

    def followers(self) -> list[list[BatchNorm]]:
        return [self.norms(), batch_norms(self.teacher_assigner)]

    def train(self, mode: bool = True) -> DINO:
        super().train(mode)
        self.teacher_encoder.eval()
        self.teacher_assigner.eval()
        return self

    def start_from_encoder(self, state: Mapping[str, Tensor]) -> None:
        for network in (self.encoder, self.teacher_encoder):
            network.load_state_dict(state)

    @torch.no_grad()
    def note(self, inputs: Inputs) -> list[Tensor]:
        """The teacher's cosines of both views."""
        return [self.teacher_assigner(self.teacher_encoder(clips).float()) for clips in inputs.views]

    def losses(self, inputs: Inputs, branch: Hashable) -> dict[str, Tensor]:
        if not self.shares:
            self.write(inputs, self.note(inputs))
        cosines = torch.cat([self.noted(view)[0] for view in range(2)])
        targets = sinkhorn_knopp(cosines / self.config.teacher_temperature).chunk(2)
        features = [self.encoder(clips).float() for clips in inputs.views]
        logits = [self.assigner(each) / self.config.student_temperature for each in features]
        self.moments += take_moments(self.norms())
        crossed = [F.cross_entropy(logits[view], targets[1 - view][inputs.places]) for view in range(2)]
        spread = torch.stack([koleo(each) for each in features]).sum()
        return {"loss": torch.stack(crossed).mean() + self.config.koleo * spread, "koleo": spread.detach()}

    def rates(self, step: int) -> dict[str, float]:
        return {**super().rates(step), "momentum": cosine_momentum(self.config.momentum, step, self.steps)}

    def follow(self, rates: Mapping[str, float | Tensor], branch: Hashable) -> None:
        ema(self.teacher_encoder, self.encoder, rates["momentum"])
        ema(self.teacher_assigner, self.assigner, rates["momentum"])
        super().follow(rates, branch)


def sinkhorn_knopp(logits_AK: Tensor) -> Tensor:
    """Assignments of clips to prototypes, rows that sum to one, which use all prototypes about alike (SwAV, Eq. 3)."""
    count, prototypes = logits_AK.shape
    x = logits_AK.double()
    for _ in range(ITERATIONS):
        x = x - x.logsumexp(0, keepdim=True) - math.log(prototypes)
        x = x - x.logsumexp(1, keepdim=True) - math.log(count)
    return (x + math.log(count)).exp().to(logits_AK.dtype)


def koleo(features_BD: Tensor) -> Tensor:
    """Minus the mean logarithm of the distance to the nearest other clip of the group (Sablayrolles et al. 2019)."""
    unit = F.normalize(features_BD, dim=1)
    with torch.no_grad():
        nearest = (unit @ unit.T).fill_diagonal_(-2).argmax(1)
    return -(F.pairwise_distance(unit, unit[nearest], eps=1e-8) + 1e-8).log().mean()
