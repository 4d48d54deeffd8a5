"""VICReg on skeletons (Bardes, Ponce and LeCun, ICLR 2022): one network, no target, no predictor."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Batch, Clips
from bonestrap.encoders.encoder import Encoder
from bonestrap.methods import VICRegConfig
from bonestrap.methods.heads import Projected
from bonestrap.methods.method import Method
from bonestrap.methods.spread import covariance_term, variance_term
from bonestrap.momentum import batch_norms, commit, moments_size, take_moments, warm_alpha


class VICReg(Method):
    """Embeddings of two views are drawn together while every dimension keeps its spread and its own information."""

    def __init__(self, encoder: Encoder, config: VICRegConfig, *, view1: Pipeline, view2: Pipeline):
        super().__init__()
        self.config = config
        self.view1, self.view2 = view1, view2
        self.online = Projected(encoder, hidden=config.hidden, projection=config.projection, norm=False)
        self.register_buffer("moments", torch.zeros(moments_size(batch_norms(self)), dtype=torch.float64))
        self.train()

    @property
    def encoder(self) -> Encoder:  # type: ignore[override]
        return self.online.encoder

    def prepare(self, batch: Batch) -> tuple[Clips, Clips]:
        generator = torch.Generator().manual_seed(batch.seed)
        return self.view1(batch.views[0], generator), self.view2(batch.views[1], generator)

    def losses(self, inputs: tuple[Clips, Clips], branch: Hashable) -> dict[str, Tensor]:
        z1, z2 = (self.online(view).float() for view in inputs)
        self.moments += take_moments(batch_norms(self))
        invariance = F.mse_loss(z1, z2)
        variance = variance_term(z1) + variance_term(z2)
        covariance = covariance_term(z1) + covariance_term(z2)
        weights = self.config
        loss = weights.invariance * invariance + weights.variance * variance + weights.covariance * covariance
        parts = {"invariance": invariance, "variance": variance, "covariance": covariance}
        return {"loss": loss} | {name: part.detach() for name, part in parts.items()}

    def rates(self, step: int) -> dict[str, float]:
        return {"alpha": warm_alpha(self.config.alpha, step)}

    def follow(self, rates: Mapping[str, float | Tensor], branch: Hashable) -> None:
        commit(self.moments, [batch_norms(self)], rates["alpha"])
        self.moments.zero_()
