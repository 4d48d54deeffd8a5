"""Labelled features, for the tests of this folder."""

from __future__ import annotations

import torch
from torch import Tensor


def features(count: int, seed: int, width: int = 12, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Rows whose length says nothing and whose direction says a little about the class."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, classes, (count,), generator=generator)
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(99))
    x = centres[y] + 1.5 * torch.randn(count, width, generator=generator)
    return x * (0.1 + 10 * torch.rand(count, 1, generator=generator)), y
