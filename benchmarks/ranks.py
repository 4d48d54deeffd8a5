"""What the benchmarks of many ranks share: gloo processes of one thread each, invented recordings, and BYOL on them."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from typing import Any

import torch

from bonestrap.augment import AGGRESSIVE, CONSERVATIVE, ClipConfig
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Batch, Recordings
from bonestrap.encoders import STGCNConfig
from bonestrap.encoders.stgcn.network import STGCN
from bonestrap.layouts import LAYOUTS
from bonestrap.methods import BYOLConfig
from bonestrap.methods.byol.method import BYOL

FRAMES = 32


class Walks:
    """Random walks of one person, NTU's layout, in `groups` groups of `size` clips; made once."""

    def __init__(self, groups: int, size: int) -> None:
        self.groups, self.size = groups, size
        self.layout = LAYOUTS["ntu25"]
        self.made = {group: self.make(group) for group in range(groups)}

    def make(self, group: int) -> Batch:
        generator = torch.Generator().manual_seed(group)
        frames = torch.randn(self.size * FRAMES, 25, 3, generator=generator).cumsum(0) * 0.01
        rows = torch.arange(self.size)
        recordings = Recordings(frames, rows * FRAMES, torch.full_like(rows, FRAMES), rows, self.size)
        return Batch((recordings, recordings), None, group)

    def group(self, step: int, group: int) -> Batch:
        return self.made[group]._replace(seed=1000 * step + group)

    def keys(self, step: int, group: int) -> list[str]:
        return [f"walk{group}-{clip}" for clip in range(self.size)]


def byol(width: float) -> BYOL:
    torch.manual_seed(0)
    layout = LAYOUTS["ntu25"]
    clip = ClipConfig(frames=FRAMES)
    return BYOL(
        STGCN(STGCNConfig(width=width), layout, 6),
        BYOLConfig(hidden=256, projection=64),
        view1=Pipeline(layout, clip, AGGRESSIVE),
        view2=Pipeline(layout, clip, CONSERVATIVE),
        steps=1000,
    )


def on_ranks(world: int, work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work(*arguments)` returns on the first of `world` gloo ranks."""
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    with tempfile.TemporaryDirectory() as meeting:
        ranks = [
            context.Process(target=_rank, args=(rank, world, meeting, results, work, arguments), daemon=True)
            for rank in range(world)
        ]
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join()
            if rank.exitcode:
                raise SystemExit(f"a rank ended with exit code {rank.exitcode}")
    return results.get()


def _rank(
    rank: int, world: int, meeting: str, results: Any, work: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}/ranks", rank=rank, world_size=world)
    result = work(*arguments)
    if rank == 0:
        results.put(result)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
