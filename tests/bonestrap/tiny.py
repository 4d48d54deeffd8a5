"""Small recordings, a small encoder and a small BYOL run, for the tests of this folder.

Legend: B clips, N bodies, F frames of all bodies, T frames of a clip, V joints, C coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from bonestrap.augment import AGGRESSIVE, CONSERVATIVE, ClipConfig
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Batch, Recordings
from bonestrap.encoders import STGCNConfig
from bonestrap.encoders.stgcn.network import STGCN
from bonestrap.layout import Layout
from bonestrap.layouts import SBU15
from bonestrap.methods import BYOLConfig
from bonestrap.methods.byol.method import BYOL
from distributed.loop import Job

LAYOUT = SBU15
CLIP = ClipConfig(frames=12)
BODIES = [1, 2, 1, 1, 2, 1]  # of recordings with one frame, a few, and more than a clip's
LENGTHS = [1, 9, 20, 47, 31, 2]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def recordings(bodies: Sequence[int], lengths: Sequence[int], seed: int = 0, layout: Layout = LAYOUT) -> Recordings:
    """Random walks; recording b has `bodies[b]` bodies of `lengths[b]` frames each."""
    generator = torch.Generator().manual_seed(seed)
    owner = torch.repeat_interleave(torch.arange(len(bodies)), torch.tensor(bodies))
    length = torch.tensor(lengths)[owner]
    start = length.cumsum(0) - length
    steps = torch.randn(int(length.sum()), len(layout.joints), layout.axes, generator=generator) * 0.1
    pose = torch.randn(len(owner), len(layout.joints), layout.axes, generator=generator)
    frames = torch.cat([pose[n] + steps[start[n] :][: length[n]].cumsum(0) for n in range(len(owner))])
    return Recordings(frames, start, length, owner, len(bodies))


def encoder(seed: int = 0, width: float = 1 / 16, layout: Layout = LAYOUT, channels: int = 6) -> STGCN:
    torch.manual_seed(seed)
    return STGCN(STGCNConfig(width=width), layout, channels)


class Pairs:
    """A loader of random recordings in pairs of views: a function of (step, group); one or two bodies, any length."""

    def __init__(self, groups: int = 4, size: int = 4, seed: int = 0) -> None:
        self.groups, self.size, self.seed = groups, size, seed

    def keys(self, step: int, group: int) -> list[str]:
        return [f"clip{step}-{group}-{clip}" for clip in range(self.size)]

    def group(self, step: int, group: int) -> Batch:
        seed = 10_000 * self.seed + 100 * step + group
        generator = torch.Generator().manual_seed(seed)
        bodies = (1 + (torch.rand(self.size, generator=generator) < 0.3).long()).tolist()
        lengths = torch.randint(1, 40, (self.size,), generator=generator).tolist()
        views = tuple(recordings(bodies, lengths, 2 * seed + view) for view in range(2))
        items = torch.randint(0, 24, (self.size,), generator=generator)
        return Batch(views, None, seed, items, group)


def byol(seed: int = 0, steps: int = 20, momentum: float = 0.99) -> BYOL:
    return BYOL(
        encoder(seed),
        BYOLConfig(hidden=32, projection=16, momentum=momentum),
        view1=Pipeline(LAYOUT, CLIP, AGGRESSIVE),
        view2=Pipeline(LAYOUT, CLIP, CONSERVATIVE),
        steps=steps,
    )


def byol_job(
    run: Path, *, steps: int = 20, method: BYOL | None = None, loader: Pairs | None = None, rate: float = 0.05
) -> Job:
    """The same recipe wherever it runs: 4 normalisation groups a step, SGD at a constant rate."""
    method = method or byol(steps=steps)
    parameters = [p for p in method.parameters() if p.requires_grad]
    return Job(
        method=method,
        loader=loader or Pairs(),
        optimizer=torch.optim.SGD(parameters, lr=1.0, momentum=0.9, weight_decay=1e-4),
        learning_rate=lambda step: rate,
        steps=steps,
        run=run,
        log_every=1,
        checkpoint_every=1000,
    )
