"""What every encoder is to the rest of the tree.

Legend: B clips, N bodies of all clips, T frames, V joints, C numbers a joint.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bonestrap.capture import padding
from bonestrap.clips import Clips


class Encoder(nn.Module):
    """Clips in, one row of `features` numbers a clip out, (B, `features`) float32: the mean over its bodies."""

    features: int
    # Whether a body's features depend on the other bodies through `bonestrap.momentum.BatchNorm` alone, which knows
    # what is padding. Else clips never have padding, and a CUDA graph serves one number of bodies.
    takes_padding: bool = False

    def encode_bodies(self, joints_NTVC: Tensor) -> Tensor:
        """The features of each body on its own, (N, `features`) float32."""
        raise NotImplementedError

    def forward(self, clips: Clips) -> Tensor:
        if clips.there is None:
            return clips.mean_over_bodies(self.encode_bodies(clips.joints))
        with padding.among(clips.there):
            return clips.mean_over_bodies(self.encode_bodies(clips.joints))

    def layers(self) -> Sequence[nn.Module]:
        """The layers from the input to the output, for learning rates that decay by layer. By default one."""
        return [self]

    def for_inference(self) -> nn.Module:
        """The same function in evaluation as plain operations that ONNX has: (N, C, T, V) to (N, `features`)."""
        return _Bodies(self)


class TokenEncoder(Encoder):
    """An encoder of tokens, patches of some frames of one joint, of which it can encode a part: for masked prediction.

    Legend: S segments in time, L = S V tokens of a body, K of them that are visible, D channels.
    """

    grid: tuple[int, int]  # (S, V); token number s * V + v is joint v in segment s
    patch: int  # frames of a segment
    width: int  # D
    heads: int  # of attention, for decoders like it
    positions: nn.Module  # called without arguments: the embedding of every token's place, (L, D)

    def embed(self, joints_NTVC: Tensor) -> Tensor:
        """All tokens, (N, L, D), without their places."""
        raise NotImplementedError

    def transform(self, tokens_NKD: Tensor) -> Tensor:
        """Embedded tokens with their places to representations, (N, K, D)."""
        raise NotImplementedError

    def forward_encoder(self, joints_NTVC: Tensor, visible_NK: Tensor | None = None) -> Tensor:
        """Representations (N, K, D) of the visible tokens, or of all: the others cost nothing."""
        raise NotImplementedError


class _Bodies(nn.Module):
    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, joints_NCTV: Tensor) -> Tensor:
        return self.encoder.encode_bodies(joints_NCTV.permute(0, 2, 3, 1))
