"""What every encoder is to the rest of the tree."""

from __future__ import annotations

from torch import Tensor, nn

from bonestrap.clips import Clips


class Encoder(nn.Module):
    """Clips in, one row of `features` numbers a clip out, (B, `features`) float32."""

    features: int

    def forward(self, clips: Clips) -> Tensor:
        raise NotImplementedError
