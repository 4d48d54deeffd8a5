"""The per-clip feeder makes the clips that the batched pipeline makes of the same draws: the race is a fair one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.feeder import Feeder, draws
from bonestrap.augment import AGGRESSIVE, CONSERVATIVE, PLAIN, ClipConfig, View
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Recordings
from bonestrap.layouts import NTU25


def recordings(count: int = 40) -> tuple[list[np.ndarray], Recordings]:
    """The same recordings one by one, (M, S, V, C), and packed."""
    rng = np.random.default_rng(0)
    single = [
        rng.normal(0, 0.4, (1 + i % 5 // 4, int(rng.integers(1, 90)), 25, 3)).astype(np.float16) for i in range(count)
    ]
    lengths = [recording.shape[1] for recording in single for _ in recording]
    owner = [i for i, recording in enumerate(single) for _ in recording]
    frames = torch.from_numpy(np.concatenate([recording.reshape(-1, 25, 3) for recording in single]))
    length = torch.tensor(lengths)
    return single, Recordings(frames, length.cumsum(0) - length, length, torch.tensor(owner), count)


@pytest.mark.parametrize("augment", [PLAIN, CONSERVATIVE, AGGRESSIVE])
def test_both_make_the_same_clips(augment: View) -> None:
    single, packed = recordings()
    clip = ClipConfig(frames=32)
    for seed in range(3):
        draw = draws(NTU25, clip, augment, packed.size, seed)
        batched = Pipeline(NTU25, clip, augment)(packed, torch.Generator().manual_seed(seed)).joints
        fed = Feeder(single, NTU25, clip).batch(list(range(packed.size)), draw)
        np.testing.assert_allclose(np.concatenate(fed), batched.numpy(), atol=3e-6)
