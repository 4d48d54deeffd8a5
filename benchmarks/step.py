#!/usr/bin/env python3
"""One BYOL step: ours beside a plain eager float32 one as published, and beside what the machine can do.

All variants see the same clips with the body mix of NTU-60 (11 of 60 classes have two persons) and run by turns, so
that a noisy machine is noisy for all. "Of the limit" is the share of the measured matrix rate at which the counted
operations of the bodies that are there would take the measured time.

Examples:
  python -m benchmarks.step
  python -m benchmarks.step --width 1 --frames 150 --batch 8
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.published import PublishedBYOL, PublishedSTGCN
from bonestrap.augment import ClipConfig, Pipeline
from bonestrap.clips import Batch, Clips
from bonestrap.encoders.stgcn import BLOCKS, STGCN, STGCNConfig
from bonestrap.layouts import NTU25
from bonestrap.methods.byol import BYOL, BYOLConfig

CHANNELS = 6  # joints and bones
TWO_PERSONS = 11 / 60  # of NTU-60's classes
FORWARDS = 8  # of a step: two views through two networks, and twice the online ones on the way back


class Given(Pipeline):
    """In place of the augmentations: clips that are there already."""

    def __init__(self, clips: Clips):
        super().__init__(NTU25, ClipConfig())
        self.clips = clips

    def __call__(self, *_: object) -> Clips:
        return self.clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, nargs="+", default=[0.25, 1.0], help="encoder widths")
    parser.add_argument("--frames", type=int, default=48, help="frames of a clip")
    parser.add_argument("--batch", type=int, default=16, help="clips")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each width")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {options.threads} threads"
    rates = {dtype: matrix_rate(dtype, device) for dtype in (torch.float32, torch.bfloat16)}
    print(
        f"{name}, torch {torch.__version__}; matrix products at "
        + ", ".join(
            f"{rate / 1e9:,.0f} G multiply-adds/s in {str(dtype).removeprefix('torch.')}"
            for dtype, rate in rates.items()
        )
    )
    print(
        f"\n{'width':>5}  {'variant':16}{'ms a step':>11}{'clips/s':>9}{'ratio':>7}{'of the limit':>14}{'GPU MiB':>9}"
    )
    for width in options.width:
        torch.manual_seed(0)
        views = [clips(options.batch, options.frames, device) for _ in range(2)]
        variants = steps(width, views, device)
        times = by_turns(variants, options.seconds, device)
        work = sum(len(view.joints) for view in views) / 2 * FORWARDS * multiply_adds(width, options.frames)
        for variant, seconds in times.items():
            limit = work / rates[torch.bfloat16 if "bf16" in variant else torch.float32]
            ratio = times["published fp32"] / seconds
            print(
                f"{width:5}  {variant:16}{seconds * 1e3:11.1f}{options.batch / seconds:9.1f}{ratio:7.2f}"
                f"{limit / seconds:14.1%}{memory(variants[variant], device):>9}"
            )


def clips(batch: int, frames: int, device: torch.device) -> Clips:
    """Random clips; every sixth or so has two bodies."""
    bodies = torch.where(torch.arange(batch) < round(batch * TWO_PERSONS), 2, 1)
    owner = torch.arange(batch).repeat_interleave(bodies)
    return Clips(torch.randn(len(owner), frames, 25, CHANNELS).to(device), owner.to(device), batch)


def padded(view: Clips) -> Tensor:
    """The same as (B, 2, T, V, C), zeros for absent bodies."""
    joints = view.joints.new_zeros(view.size, 2, *view.joints.shape[1:])
    second = torch.zeros_like(view.owner)
    second[1:] = (view.owner[1:] == view.owner[:-1]).long()
    joints[view.owner, second] = view.joints
    return joints


def steps(width: float, views: list[Clips], device: torch.device) -> dict[str, Callable[[], None]]:
    """Every variant as a function that takes one whole step: forward, backward, optimizer, target."""
    config = BYOLConfig()
    published = PublishedBYOL(PublishedSTGCN(width, NTU25, CHANNELS), config.hidden, config.projection).to(device)
    optimizer = torch.optim.SGD([p for p in published.parameters() if p.requires_grad], lr=1e-3, momentum=0.9)
    dense = [padded(view) for view in views]

    def published_step() -> None:
        optimizer.zero_grad()
        published.loss(*dense).backward()
        optimizer.step()
        published.move_target(0.99)

    return {
        "published fp32": published_step,
        "ours fp32": ours(width, views, device, half=False),
        "ours bf16": ours(width, views, device, half=True),
    }


def ours(width: float, views: list[Clips], device: torch.device, *, half: bool) -> Callable[[], None]:
    encoder = STGCN(STGCNConfig(width=width), NTU25, CHANNELS)
    method = BYOL(encoder, BYOLConfig(), view1=Given(views[0]), view2=Given(views[1]), steps=1000).to(device)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=1e-3, momentum=0.9)
    batch = Batch(views=(None, None), labels=None, seed=0)  # type: ignore[arg-type]  # the clips are given

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = method(batch, 0)["loss"]
        loss.backward()
        optimizer.step()
        method.after_step(0)

    return step


def by_turns(variants: dict[str, Callable[[], None]], seconds: float, device: torch.device) -> dict[str, float]:
    """The median time of each, measured by turns for about `seconds` in all, after two warm-up rounds."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    began, rounds = time.perf_counter(), 0
    while rounds < 5 or time.perf_counter() - began < seconds:
        for name, step in variants.items():
            before = synchronised(device)
            step()
            if rounds > 1:
                times[name].append(synchronised(device) - before)
        rounds += 1
    return {name: sorted(taken)[len(taken) // 2] for name, taken in times.items()}


def synchronised(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def memory(step: Callable[[], None], device: torch.device) -> str:
    """Peak of one step in MiB, all variants' parameters included; on a CPU nobody counts it."""
    if device.type != "cuda":
        return "–"
    torch.cuda.reset_peak_memory_stats()
    step()
    return f"{torch.cuda.max_memory_allocated() / 2**20:.0f}"


def multiply_adds(width: float, frames: int) -> float:
    """Of one body's forward pass: graph products, 1x1 and temporal convolutions, shortcuts. 4.1e9 at 1, 150 frames."""
    joints, partitions, total, inputs = 25, 3, 0.0, CHANNELS
    for index, (base, stride) in enumerate(BLOCKS):
        outputs = max(1, round(base * width))
        total += frames * joints * partitions * inputs * (joints + outputs)
        if index and (inputs != outputs or stride != 1):
            total += frames // stride * joints * inputs * outputs
        frames //= stride
        total += frames * joints * 9 * outputs**2
        inputs = outputs
    return total


def matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Multiply-adds a second of the best of several square products."""
    size = 8192 if device.type == "cuda" else 1536
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(8):
        before = synchronised(device)
        a @ b
        best = min(best, synchronised(device) - before)
    return size**3 / best


if __name__ == "__main__":
    main()
