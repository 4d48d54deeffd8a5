"""BERT's encoder in evaluation mode, in plain torch (Devlin et al. 2019), under the names of its published weights.

Legend: B texts, T tokens, H hidden units, A attention heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """One post-norm transformer layer."""

    def __init__(self, hidden: int, heads: int, inner: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.mixed = (nn.Linear(hidden, hidden) for _ in range(4))
        self.norm = nn.LayerNorm(hidden, eps=eps)
        self.up, self.down = nn.Linear(hidden, inner), nn.Linear(inner, hidden)
        self.last_norm = nn.LayerNorm(hidden, eps=eps)

    def forward(self, x_BTH: Tensor, mask_B11T: Tensor) -> Tensor:
        q, k, v = (self.split(layer(x_BTH)) for layer in (self.query, self.key, self.value))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask_B11T)
        x_BTH = self.norm(x_BTH + self.mixed(attended.transpose(1, 2).flatten(2)))
        out: Tensor = self.last_norm(x_BTH + self.down(F.gelu(self.up(x_BTH))))
        return out

    def split(self, x_BTH: Tensor) -> Tensor:
        """(B, A, T, H / A)"""
        split: Tensor = x_BTH.unflatten(2, (self.heads, -1)).transpose(1, 2)
        return split


class BERT(nn.Module):
    """Token numbers in, the last layer out."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        hidden, eps = config["hidden_size"], config["layer_norm_eps"]
        self.words = nn.Embedding(config["vocab_size"], hidden)
        self.positions = nn.Embedding(config["max_position_embeddings"], hidden)
        self.types = nn.Embedding(config["type_vocab_size"], hidden)
        self.norm = nn.LayerNorm(hidden, eps=eps)
        heads, inner = config["num_attention_heads"], config["intermediate_size"]
        self.blocks = nn.ModuleList(Block(hidden, heads, inner, eps) for _ in range(config["num_hidden_layers"]))

    def forward(self, tokens_BT: Tensor, there_BT: Tensor) -> Tensor:
        """The last layer (B, T, H); `there_BT` is False for padding, which nothing attends to."""
        x = self.words(tokens_BT) + self.positions.weight[: tokens_BT.shape[1]] + self.types.weight[0]
        x = self.norm(x)
        for block in self.blocks:
            x = block(x, there_BT[:, None, None])
        out: Tensor = x
        return out

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of a published file. Raises KeyError or RuntimeError where they are others."""
        own = {name: weights[published(name)] for name in self.state_dict()}
        self.load_state_dict(own)


def mean_over_tokens(last_BTH: Tensor, there_BT: Tensor) -> Tensor:
    """Sentence features (B, H) of length 1 (Reimers and Gurevych 2019, section 3)."""
    weight = there_BT[..., None].to(last_BTH.dtype)
    return F.normalize((last_BTH * weight).sum(1) / weight.sum(1), dim=1)


TOP = {
    "words": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "types": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
}
INSIDE = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "mixed": "attention.output.dense",
    "norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "last_norm": "output.LayerNorm",
}


def published(name: str) -> str:
    """What published files call one of our weights."""
    parts = name.split(".")
    if parts[0] == "blocks":
        return f"encoder.layer.{parts[1]}.{INSIDE[parts[2]]}.{parts[3]}"
    return f"{TOP[parts[0]]}.{parts[1]}"


def empty(config: Mapping[str, Any]) -> BERT:
    """A BERT whose weights are about to be loaded: drawing 22 million random numbers takes half a second."""
    with torch.device("meta"):
        made = BERT(config)
    return made.to_empty(device="cpu").eval()
