"""Classifiers on an encoder's features that are shipped with it, by the name that a model file knows them under."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap.momentum import BatchNorm

HIDDEN, DROPOUT = 2048, 0.3  # of the public code of MAMP


class Perceptron(nn.Module):
    """Dropout, 2,048 units with batch normalisation and ReLU, and a linear layer: MAMP's head for fine-tuning."""

    def __init__(self, features: int, classes: int):
        super().__init__()
        self.linear1 = nn.Linear(features, HIDDEN)
        self.norm = BatchNorm(HIDDEN)
        self.linear2 = nn.Linear(HIDDEN, classes)

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.linear1(F.dropout(features, DROPOUT, self.training))
        normal = self.norm(hidden.reshape(-1, HIDDEN)).reshape(hidden.shape)  # an exported model asks for one row
        logits: Tensor = self.linear2(F.relu(normal))
        return logits


HEADS: dict[str, Callable[[int, int], nn.Module]] = {"linear": nn.Linear, "perceptron": Perceptron}  # features, classes


def head_name(head: nn.Module | None) -> str:
    """The key of HEADS that made this classifier; that of a linear layer where there is none."""
    return "perceptron" if isinstance(head, Perceptron) else "linear"
