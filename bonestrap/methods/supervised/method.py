"""Learning from labels: from scratch, or fine-tuning a pretrained encoder (Moliner et al., sections 4.2 and 4.4)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap.augment.pipeline import Pipeline
from bonestrap.classifiers import HEADS
from bonestrap.clips import Batch, Clips
from bonestrap.encoders.encoder import Encoder
from bonestrap.methods import SupervisedConfig
from bonestrap.methods.method import Group, Method
from bonestrap.momentum import batch_norms, commit, moments_size, take_moments, warm_alpha
from bonestrap.options import did_you_mean


class Classifier(nn.Module):
    """An encoder with a classifier on top: clips to logits (B, classes)."""

    def __init__(self, encoder: Encoder, head: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.head = head

    @classmethod
    def new(cls, encoder: Encoder, classes: int, head: str = "linear") -> Classifier:
        """With a classifier of random weights, of a kind that `bonestrap.classifiers` has."""
        return cls(encoder, HEADS[head](encoder.features, classes))

    def forward(self, clips: Clips) -> Tensor:
        logits: Tensor = self.head(self.encoder(clips).float())
        return logits


class Supervised(Method):
    """Cross-entropy on labelled clips.

    The encoder's parameters do not move before step `frozen` (section 4.4 keeps them so for the first third of the
    iterations). Layers that never move keep their moving statistics as well; with `statistics` "kept" all of the
    encoder's do, for batches of so few clips that their own would be noise [ours].
    """

    def __init__(self, classifier: Classifier, config: SupervisedConfig, *, view: Pipeline, frozen: int = 0):
        super().__init__()
        self.config = config
        self.view = view
        self.classifier = classifier
        self.frozen = frozen
        kept = batch_norms(classifier.encoder)
        self.kept = kept if config.statistics == "kept" else [norm for norm in kept if not norm.weight.requires_grad]
        self.noting = [norm for norm in batch_norms(self) if norm not in self.kept]
        # Where nothing is noted the buffer has the size of all layers nevertheless, as in checkpoints that there are.
        size = moments_size(self.noting or batch_norms(self))
        self.register_buffer("moments", torch.zeros(size, dtype=torch.float64))
        self.train()

    @property
    def encoder(self) -> Encoder:  # type: ignore[override]
        return self.classifier.encoder

    def shipped_head(self) -> nn.Module:
        return self.classifier.head

    def parameter_groups(self) -> list[Group]:
        moving = [(name, p) for name, p in self.encoder.named_parameters(prefix="encoder") if p.requires_grad]
        return [
            Group(list(self.classifier.head.named_parameters(prefix="head"))),
            Group(moving, scale=self.config.encoder_rate),
        ]

    def train(self, mode: bool = True) -> Supervised:
        super().train(mode)
        for layer in self.kept:  # dropout goes on
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
        self.moments += take_moments(self.noting)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.config.smoothing)
        correct = (logits.argmax(1) == labels).float().mean()
        return {"loss": loss, "train_accuracy": correct}

    def branch(self, step: int) -> Hashable:
        return "frozen" if step < self.frozen else "whole"

    def rates(self, step: int) -> dict[str, float]:
        return {"alpha": warm_alpha(self.config.alpha, step)}

    def follow(self, rates: Mapping[str, float | Tensor], branch: Hashable) -> None:
        commit(self.moments, [self.noting], rates["alpha"])
        self.moments.zero_()


def freeze(encoder: Encoder, names: Sequence[str]) -> None:
    """Let the parameters of these layers never move; a name stands for all that lies under it.

    Raises ValueError for a name that is no layer with parameters.
    """
    parameters = dict(encoder.named_parameters())
    for name in names:
        within = [p for path, p in parameters.items() if path == name or path.startswith(f"{name}.")]
        if not within:
            known = dict.fromkeys(path.partition(".")[0] for path in parameters)
            inside = [layer for layer, module in encoder.named_modules() if next(module.parameters(), None) is not None]
            raise ValueError(
                f"freeze: the encoder has no layer {name}{did_you_mean(name, inside)}; it has {', '.join(known)}, "
                "and a layer within one is named behind a point, such as blocks.0"
            )
        for parameter in within:
            parameter.requires_grad_(False)
