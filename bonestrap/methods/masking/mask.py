"""Motion-aware masking (Mehraban et al., section 3.2, Eq. 1 to 3).

Legend: N bodies, T frames, V joints, C coordinates, l frames of a patch, S = T / l segments, L = S V tokens of a body.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bonestrap.clips import Batch, Clips
from bonestrap.encoders.encoder import TokenEncoder


class Mask(NamedTuple):
    """Which tokens of each body are hidden and which are seen, as numbers."""

    masked: Tensor  # (N, masked) int64
    visible: Tensor  # (N, L - masked) int64


def patched(joints_NTVC: Tensor, patch: int) -> Tensor:
    """The segments S', (N, S, V, l, C)."""
    n, t, v, c = joints_NTVC.shape
    return joints_NTVC.reshape(n, t // patch, patch, v, c).transpose(2, 3)


def stride_motion(joints_NTVC: Tensor, patch: int) -> Tensor:
    """M' of Eq. 1 with m = l, (N, S, V, l, C): each frame less that a segment before; the first copies the second."""
    segments = patched(joints_NTVC, patch)
    moved = segments[:, 1:] - segments[:, :-1]
    return torch.cat((moved[:, :1], moved), 1)


def log_probability(motion_NSVlC: Tensor, tau: float, intensity: Literal["sum", "relative"]) -> Tensor:
    """The logarithm of pi, Eq. 2, (N, L): of each token's probability of being masked first.

    "relative" is the public code's: the mean instead of the sum, over tau times the body's greatest.
    """
    size = motion_NSVlC.abs().sum((3, 4)).flatten(1)
    if intensity == "relative":
        size = size / motion_NSVlC[0, 0, 0].numel()
        size = size / (size.amax(1, keepdim=True) * tau + 1e-10)
    else:
        size = size / tau
    return F.log_softmax(size, 1)


def mask(log_pi_NL: Tensor, uniform_NL: Tensor, count: int) -> Mask:
    """Eq. 3: the `count` tokens of the largest log pi + g are masked, g = -log(-log u) of uniform numbers u."""
    order = (log_pi_NL - torch.log(-torch.log(uniform_NL))).argsort(dim=1, descending=True, stable=True)
    return Mask(order[:, :count], order[:, count:])


def view_generator(batch: Batch) -> torch.Generator:
    """What a batch's views are drawn from: not the stream of the seed itself, from which masks are drawn."""
    return torch.Generator().manual_seed(batch.seed ^ 1)


def uniform(encoder: TokenEncoder, joints_NTVC: Tensor) -> Tensor:
    """A number of (0, 1) for every token, (N, L), from the default generator, which the loop seeds for every group."""
    segments, joints = encoder.grid
    return torch.rand(len(joints_NTVC), segments * joints, device=joints_NTVC.device)


def squared_error(prediction: Tensor, target: Tensor, clips: Clips) -> Tensor:
    """The mean squared error of the tokens (N, K, P) of bodies that are there, not of padding."""
    errors = (prediction.to(target.dtype) - target).square().mean((1, 2))
    if clips.there is None:
        return errors.mean()
    return (errors * clips.there).sum() / clips.there.sum()
