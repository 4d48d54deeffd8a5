"""A queue of past projections, as a buffer: exact on resume and the same on every rank.

Legend: Q entries, B clips of a step, D dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Queue(nn.Module):
    """The newest Q unit vectors, and which recording or performance each comes from; at first random (MoCo)."""

    vectors: Tensor  # (Q, D)
    items: Tensor  # (Q,) int64; -1: of none
    position: Tensor  # () int64, the oldest entry, which is replaced next

    def __init__(self, size: int, width: int):
        super().__init__()
        self.register_buffer("vectors", F.normalize(torch.randn(size, width), dim=1))
        self.register_buffer("items", torch.full((size,), -1))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    def similarity(self, z_BD: Tensor, items_B: Tensor) -> Tensor:
        """Cosines of unit vectors and all entries, (B, Q); -inf for entries of the same item, known by items >= 0."""
        own = (items_B[:, None] == self.items) & (items_B[:, None] >= 0)
        with torch.autocast(z_BD.device.type, enabled=False):  # bf16 would make neighbours equal
            return (z_BD.float() @ self.vectors.T).masked_fill(own, -torch.inf)

    def nearest(self, z_BD: Tensor, items_B: Tensor) -> Tensor:
        """The entry nearest to each unit vector, its own item's left out (Eq. 5), (B, D)."""
        return self.vectors[self.similarity(z_BD, items_B).argmax(1)]

    @torch.no_grad()
    def put(self, z_BD: Tensor, items_B: Tensor) -> None:
        """Replace the oldest entries, in the order of the clips."""
        size = len(self.items)
        places = (self.position + torch.arange(len(z_BD), device=z_BD.device)) % size
        self.vectors.index_copy_(0, places, z_BD.to(self.vectors.dtype))
        self.items.index_copy_(0, places, items_B)
        self.position.add_(len(z_BD)).remainder_(size)
