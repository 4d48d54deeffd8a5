"""BYOL on skeletons: asymmetric views, symmetric loss, momentum target (Moliner et al., section 3.1)."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Batch, Clips
from bonestrap.encoders.encoder import Encoder
from bonestrap.methods import BYOLConfig
from bonestrap.methods.heads import Head, Projected
from bonestrap.methods.method import Group, Method
from bonestrap.methods.spread import covariance_term, variance_term
from bonestrap.momentum import (
    BatchNorm,
    batch_norms,
    commit,
    cosine_momentum,
    ema,
    moments_size,
    take_moments,
    warm_alpha,
)


class BYOL(Method):
    """Online network (theta) predicts the target network (xi), which follows it (Eq. 1 to 4)."""

    def __init__(self, encoder: Encoder, config: BYOLConfig, *, view1: Pipeline, view2: Pipeline, steps: int):
        super().__init__()
        self.config = config
        self.steps = steps
        self.view1, self.view2 = view1, view2
        self.online = Projected(encoder, hidden=config.hidden, projection=config.projection, norm=config.norm)
        self.predictor = Head(config.projection, config.hidden, config.projection)
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        for layer in batch_norms(self.target):
            layer.notes_always = config.statistics == "target"
        self.register_buffer("moments", torch.zeros(moments_size(self.noting_norms()), dtype=torch.float64))
        self.train()

    @property
    def encoder(self) -> Encoder:  # type: ignore[override]
        return self.online.encoder

    def parameter_groups(self) -> list[Group]:
        return [
            Group(list(self.online.named_parameters())),
            Group(list(self.predictor.named_parameters()), scale=self.config.predictor_rate),
        ]

    def start_from_encoder(self, state: Mapping[str, Tensor]) -> None:
        for network in (self.online, self.target):
            network.encoder.load_state_dict(state)

    def online_norms(self) -> list[BatchNorm]:
        return batch_norms(self.online) + batch_norms(self.predictor)

    def noting_norms(self) -> list[BatchNorm]:
        own = batch_norms(self.target) if self.config.statistics == "target" else []
        return self.online_norms() + own

    def train(self, mode: bool = True) -> BYOL:
        """The target always uses its moving statistics, whatever the mode."""
        super().train(mode)
        self.target.eval()
        return self

    def prepare(self, batch: Batch) -> tuple[Clips, Clips]:
        generator = torch.Generator().manual_seed(batch.seed)
        return self.view1(batch.views[0], generator), self.view2(batch.views[1], generator)

    def losses(self, inputs: tuple[Clips, Clips], branch: Hashable) -> dict[str, Tensor]:
        v1, v2 = inputs
        with torch.no_grad():
            # Moving statistics do not tell views apart: both in one pass are the same, and half the kernels.
            z1, z2 = self.target(v1.followed_by(v2)).split((v1.size, v2.size))
        p1, p2 = self.online(v1), self.online(v2)
        q1, q2 = self.predictor(p1), self.predictor(p2)
        self.moments += take_moments(self.noting_norms())
        loss = (byol_distance(q1, z2) + byol_distance(q2, z1)).mean()  # Eq. 2: the sum of both directions
        if self.config.variance:
            loss = loss + self.config.variance * (variance_term(p1) + variance_term(p2))
        if self.config.covariance:
            loss = loss + self.config.covariance * (covariance_term(p1) + covariance_term(p2))
        return {"loss": loss}

    def branch(self, step: int) -> Hashable:
        return "first" if step == 0 else "later"

    def rates(self, step: int) -> dict[str, float]:
        momentum = cosine_momentum(self.config.momentum, step, self.steps)
        return {"momentum": momentum, "alpha": warm_alpha(self.config.alpha, step)}

    def follow(self, rates: Mapping[str, float | Tensor], branch: Hashable) -> None:
        """Move the target (Eq. 3) and the statistics of target and online networks (Eq. 4)."""
        ema(self.target, self.online, rates["momentum"])
        followers = [self.noting_norms()]
        if self.config.statistics == "online" or branch == "first":  # before the first step both networks are the same
            followers.append(batch_norms(self.target))
        commit(self.moments, followers, rates["alpha"])
        self.moments.zero_()


def byol_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """The squared distance of the normalised vectors, one value a clip: 2 - 2 cos (Eq. 1)."""
    return 2 - 2 * F.cosine_similarity(prediction.float(), target.float(), dim=1)
