"""Text encoders through `transformers`, on weights that the user has; nothing is downloaded."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bonestrap.text import TextError
from bonestrap.text.bert import mean_over_tokens


@torch.no_grad()
def sentence_bert(name: str, texts: Sequence[str]) -> Tensor:
    """Mean of the last layer over tokens, length 1."""
    tokenizer, model = _load(name, "AutoTokenizer", "AutoModel")
    words = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
    return mean_over_tokens(model(**words).last_hidden_state.float(), words["attention_mask"].bool())


@torch.no_grad()
def clip(name: str, texts: Sequence[str]) -> Tensor:
    """The projected text feature, length 1."""
    tokenizer, model = _load(name, "AutoTokenizer", "CLIPTextModelWithProjection")
    words = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
    return F.normalize(model(**words).text_embeds.float(), dim=1)


def _load(name: str, tokenizer: str, model: str) -> tuple[Any, Any]:
    try:
        library = importlib.import_module("transformers")
    except ImportError:
        raise TextError(f"{name} needs transformers, which is not installed: pip install transformers") from None
    try:
        parts = [getattr(library, part).from_pretrained(name, local_files_only=True) for part in (tokenizer, model)]
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise TextError(
            f"{name} is neither a folder of weights nor in the cache ({reason:.200}): copy it there"
        ) from None
    return parts[0], parts[1].eval()
