"""How long a model takes for one clip."""

from __future__ import annotations

import statistics
import time

import torch

from bonestrap.model import Model
from bonestrap.retarget import Retarget
from shards.reading import Recorded

WARM_UP = 5  # calls that are not timed


@torch.no_grad()
def latency(model: Model, data: Recorded, adapt: Retarget, repeats: int = 30) -> float:
    """Milliseconds for one clip of one recording on one CPU thread, float32: the median of `repeats`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        clips = model.pipeline(adapt(data.recordings([0])))
        call = model if model.head is not None else model.encoder
        times = []
        for _ in range(repeats + WARM_UP):
            begin = time.perf_counter()
            call(clips)
            times.append(time.perf_counter() - begin)
        return statistics.median(times[WARM_UP:]) * 1000
    finally:
        torch.set_num_threads(threads)
