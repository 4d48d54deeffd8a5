"""The head of an aligned model: it ranks texts, those that it was aligned with and any others.

Legend: B recordings, D features, K classes, S texts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from bonestrap.text import MiniLM, TextEncoder
from bonestrap.zero_shot import SADVAEConfig
from bonestrap.zero_shot.alignment import Alignment
from bonestrap.zero_shot.classifier import LatentClassifier
from bonestrap.zero_shot.texts import grouped, same_size

REMEMBERED = 16  # lists of texts whose classifiers are kept


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlignmentConfig:
    """What an aligned model is beside its weights."""

    kind: ClassVar[str] = "sa-dvae"
    method: SADVAEConfig = SADVAEConfig()
    text: TextEncoder = MiniLM()  # what makes texts into features
    text_features: int = 384
    seed: int = 0  # of the samples of a text's latent

    @staticmethod
    def kinds() -> Mapping[str, type[AlignmentConfig]]:
        return {"sa-dvae": AlignmentConfig}


class TextHead(nn.Module):
    """Logits of classes that are known by their texts."""

    weight: Tensor
    bias: Tensor

    def __init__(self, config: AlignmentConfig, alignment: Alignment, own: LatentClassifier) -> None:
        """`own` is the classifier of the model's own classes."""
        super().__init__()
        self.config, self.alignment = config, alignment
        self.register_buffer("weight", own.weight)
        self.register_buffer("bias", own.bias)
        self.known: dict[tuple[str, ...], LatentClassifier] = {}

    @classmethod
    def empty(cls, config: AlignmentConfig, features: int, classes: int) -> TextHead:
        """For weights that are about to be loaded."""
        alignment = Alignment.empty(config.method, features, config.text_features)
        units = config.method.semantic
        return cls(config, alignment, LatentClassifier(torch.zeros(classes, units), torch.zeros(classes)))

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, K) of its own classes from features (B, D)."""
        return LatentClassifier(self.weight, self.bias).logits(self.alignment.latents(features))

    def votes(self, features: Tensor, texts: Sequence[str]) -> Tensor:
        """Logits (B, S) of any texts from features (B, D). Raises TextError where they cannot be encoded."""
        key = tuple(texts)
        if key not in self.known:
            if len(self.known) >= REMEMBERED:
                del self.known[next(iter(self.known))]
            self.known[key] = self.classifier(key)
        found = LatentClassifier(*(part.to(features.device) for part in self.known[key]))
        return found.logits(self.alignment.latents(features))

    def classifier(self, texts: Sequence[str]) -> LatentClassifier:
        """Of texts that are encoded now, on the CPU."""
        encoded = self.config.text.encode(texts)
        same_size(encoded, self.config.text_features, "these texts")
        return self.alignment.classifier(grouped(encoded, [1] * len(texts), average=False), self.config.seed)
