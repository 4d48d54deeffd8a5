"""What needs no learning of representations: raw joints, and an encoder with random weights.

A result that does not clear these floors is no result; `evaluate` prints them beside every figure.

Legend: B clips, N bodies of all clips, R recordings, T frames, V joints, C coordinates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap.augment import ClipConfig
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Clips, Recordings
from bonestrap.layout import Layout
from bonestrap.momentum import batch_norms, commit, take_moments

FRAMES = 32  # of a raw-joint vector; more change little
KERNEL_STRENGTHS = tuple(10.0**e for e in range(-4, 2))


class RawJoints(nn.Module):
    """Not an encoder but its floor: the clip's joint coordinates as they are, in one long row a clip.

    Two bodies are put side by side; a missing second body is zero.
    """

    def __init__(self, coordinates: int = 3):
        super().__init__()
        self.coordinates = coordinates

    def forward(self, clips: Clips) -> Tensor:
        flat = clips.joints[..., : self.coordinates].flatten(1)
        first = torch.searchsorted(clips.owner, torch.arange(clips.size, device=flat.device))
        rank = torch.arange(len(flat), device=flat.device) - first[clips.owner]
        out = flat.new_zeros(clips.size, 3, flat.shape[1])
        out[clips.owner, rank.clamp(max=2)] = flat  # third bodies share a place that is dropped: a mask would wait
        return out[:, :2].flatten(1)


def raw_pipeline(layout: Layout) -> Pipeline:
    """Every recording stretched to the same number of frames."""
    return Pipeline(layout, ClipConfig(frames=FRAMES, fit=True))


@torch.no_grad()
def calibrate(encoder: nn.Module, pipeline: Pipeline, chunks: Iterable[Recordings]) -> None:
    """Give an untrained encoder the batch statistics of these recordings: without them it is a worse floor than due."""
    layers = batch_norms(encoder)
    if not layers:
        return
    encoder.train()
    moments = sum(_moments(encoder, pipeline, chunk) for chunk in chunks)
    assert isinstance(moments, Tensor)
    commit(moments, [layers], alpha=0.0)
    encoder.eval()


def _moments(encoder: nn.Module, pipeline: Pipeline, chunk: Recordings) -> Tensor:
    encoder(pipeline(chunk))
    return take_moments(batch_norms(encoder))


@dataclasses.dataclass(frozen=True)
class KernelRidge:
    """Kernel ridge regression to +-1 targets with a Gaussian kernel."""

    x: Tensor
    dual: Tensor  # (R, classes)
    gamma: float

    def votes(self, x: Tensor) -> Tensor:
        """The regression's value for every class, (R, classes)."""
        return _gaussian(x.double(), self.x, self.gamma) @ self.dual

    def predict(self, x: Tensor) -> Tensor:
        """The most likely class of each row, (R,)."""
        return self.votes(x).argmax(1)

    def accuracy(self, x: Tensor, y: Tensor) -> float:
        return (self.predict(x) == y).float().mean().item()


def kernel_ridge(x: Tensor, y: Tensor, classes: int, strength: float) -> KernelRidge:
    """Fit in closed form; the kernel's width is the median distance between training rows."""
    z = x.double()
    distance = torch.cdist(z, z).square()
    gamma = 1.0 / distance[distance > 0].median().item()
    gram = torch.exp(-gamma * distance) + strength * torch.eye(len(z), dtype=z.dtype)
    target = F.one_hot(y, classes).double() * 2 - 1
    return KernelRidge(z, torch.linalg.solve(gram, target), gamma)


def kernel_ridge_votes(
    x: Tensor, y: Tensor, other: Tensor, classes: int, strengths: Sequence[float]
) -> Iterator[Tensor]:
    """The votes of `kernel_ridge` of each strength for the rows of `other`, (S, classes).

    Distances are computed once and in float32, an eighth of the time of as many calls on rows of 4,800.
    """
    distance, across = torch.cdist(x, x).double().square(), torch.cdist(other, x).double().square()
    gamma = 1.0 / distance[distance > 0].median()
    gram, across = torch.exp(-gamma * distance), torch.exp(-gamma * across)
    target = F.one_hot(y, classes).double() * 2 - 1
    for strength in strengths:
        yield across @ torch.linalg.solve(gram + strength * torch.eye(len(x), dtype=gram.dtype), target)


def _gaussian(a: Tensor, b: Tensor, gamma: float) -> Tensor:
    return torch.exp(-gamma * torch.cdist(a, b).square())
