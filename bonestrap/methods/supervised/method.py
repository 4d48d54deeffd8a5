"""Learning from labels: from scratch, or fine-tuning a pretrained encoder (Moliner et al., sections 4.2 and 4.4)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Batch, Clips
from bonestrap.encoders.encoder import Encoder
from bonestrap.methods import SupervisedConfig
from bonestrap.methods.method import Group, Method
from bonestrap.momentum import batch_norms, commit, moments_size, take_moments, warm_alpha


class Classifier(nn.Module):
    """An encoder with a linear layer on top: clips to logits (B, classes)."""

    def __init__(self, encoder: Encoder, head: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.head = head

    @classmethod
    def new(cls, encoder: Encoder, classes: int) -> Classifier:
        """With a linear layer of random weights."""
        return cls(encoder, nn.Linear(encoder.features, classes))

    def forward(self, clips: Clips) -> Tensor:
        logits: Tensor = self.head(self.encoder(clips).float())
        return logits


class Supervised(Method):
    """Cross-entropy on labelled clips.

    The encoder is frozen before step `frozen`: it neither moves nor normalises with the batch (section 4.4 keeps it
    so for the first third of the iterations). A pretrained encoder keeps its moving statistics for good: batches of
    eight clips would replace statistics of thousands by noise [ours].
    """

    def __init__(self, classifier: Classifier, config: SupervisedConfig, *, view: Pipeline, frozen: int = 0):
        super().__init__()
        self.config = config
        self.view = view
        self.classifier = classifier
        self.frozen = frozen
        self.register_buffer("moments", torch.zeros(moments_size(batch_norms(self)), dtype=torch.float64))
        self.train()

    @property
    def encoder(self) -> Encoder:  # type: ignore[override]
        return self.classifier.encoder

    def shipped_head(self) -> nn.Module:
        return self.classifier.head

    def parameter_groups(self) -> list[Group]:
        return [
            Group(list(self.classifier.head.named_parameters(prefix="head"))),
            Group(list(self.encoder.named_parameters(prefix="encoder")), scale=self.config.encoder_rate),
        ]

    def train(self, mode: bool = True) -> Supervised:
        super().train(mode)
        if self.config.pretrained:  # the statistics stay; dropout goes on
            for layer in batch_norms(self.encoder):
                layer.eval()
        return self

    def prepare(self, batch: Batch) -> tuple[Clips, Tensor]:
        if batch.labels is None:
            raise ValueError("supervised training needs labelled recordings: this batch carries no labels")
        return self.view(batch.views[0], torch.Generator().manual_seed(batch.seed)), batch.labels

    def losses(self, inputs: tuple[Clips, Tensor], branch: Hashable) -> dict[str, Tensor]:
        clips, labels = inputs
        with torch.set_grad_enabled(branch != "frozen"):
            features = self.encoder(clips).float()
        logits = self.classifier.head(features)
        if not self.config.pretrained:
            self.moments += take_moments(batch_norms(self))
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.config.smoothing)
        correct = (logits.argmax(1) == labels).float().mean()
        return {"loss": loss, "train_accuracy": correct}

    def branch(self, step: int) -> Hashable:
        return "frozen" if step < self.frozen else "whole"

    def rates(self, step: int) -> dict[str, float]:
        return {"alpha": warm_alpha(self.config.alpha, step)}

    def follow(self, rates: Mapping[str, float | Tensor], branch: Hashable) -> None:
        if not self.config.pretrained:
            commit(self.moments, [batch_norms(self)], rates["alpha"])
            self.moments.zero_()
