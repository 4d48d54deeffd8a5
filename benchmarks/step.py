#!/usr/bin/env python3
"""One BYOL step: ours beside a plain eager float32 one as published, and beside what the machine can do.

All variants see the same clips with the body mix of NTU-60 (11 of 60 classes have two persons) and run by turns, so
that a noisy machine is noisy for all. "Of the limit" is the fraction of the measured matrix rate at which the counted
operations of the bodies that are there would take the measured time. Peak memory is that of the step with its
parameters: of the allocator on a GPU, of a process of its own on a CPU. The second table changes one thing at a time.

On a GPU, times are those of CUDA events, a compiled variant is added, and one step of each of ours runs under torch's
sync debug mode, in which anything that makes the host wait for the device is an error.

Examples:
  python -m benchmarks.step
  python -m benchmarks.step --width 1 --frames 150 --batch 8 --no-growth
  python -m benchmarks.step --width 1 2 --frames 150 --batch 128
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.published import PublishedBYOL, PublishedSTGCN
from benchmarks.rates import Table, resident_bytes, table
from bonestrap.augment import ClipConfig
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Batch, Clips
from bonestrap.encoders import STGCNConfig
from bonestrap.encoders.stgcn.network import BLOCKS, STGCN
from bonestrap.layouts import NTU25
from bonestrap.methods import BYOLConfig
from bonestrap.methods.byol.method import BYOL
from bonestrap.methods.method import Method

CHANNELS = 6  # joints and bones
TWO_PERSONS = 11 / 60  # of NTU-60's classes
FORWARDS = 8  # of a step: two views through two networks, and twice the online ones on the way back
PUBLISHED = "published fp32"
COMPILED = "ours bf16 compiled"

Step = Callable[[], None]


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
    parser.add_argument("--seconds", type=float, default=20.0, help="for each width, and for the second table")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="add a compiled variant; on GPUs, yes")
    parser.add_argument("--growth", action=argparse.BooleanOptionalAction, default=True, help="the second table")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    compiled = device.type == "cuda" if options.compile is None else options.compile
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {options.threads} threads"
    rates = {dtype: matrix_rate(dtype, device) for dtype in (torch.float32, torch.bfloat16)}
    shown = [f"{rate / 1e9:,.0f} G multiply-adds/s in {str(dtype)[6:]}" for dtype, rate in rates.items()]
    print(f"{name}, torch {torch.__version__}; matrix products at {', '.join(shown)}\n", flush=True)
    rows = Table(("width", "variant".ljust(len(COMPILED)), "ms a step", "clips/s", "ratio", "of the limit", "peak MiB"))
    for width in options.width:
        torch.manual_seed(0)
        views = [clips(options.batch, options.frames, device) for _ in range(2)]
        variants = steps(width, views, device, compiled=compiled)
        times = by_turns(variants, options.seconds, device)
        if device.type == "cuda":
            never_waits({who: step for who, step in variants.items() if who != PUBLISHED})
        for who, seconds in times.items():
            limit = operations(width, views) / rates[torch.bfloat16 if "bf16" in who else torch.float32]
            figures = (seconds * 1e3, options.batch / seconds, times[PUBLISHED] / seconds)
            peak = memory(who, width, options.batch, options.frames, options.threads)
            cells = (*(f"{figure:.2f}" for figure in figures), f"{limit / seconds:.1%}", f"{peak:.0f}")
            rows.row(str(width), who, *cells)
    if options.growth:
        print()
        print(growth(options.width[0], options.frames, options.batch, options.seconds, device))


def growth(width: float, frames: int, batch: int, seconds: float, device: torch.device) -> str:
    """How the time of our step and its counted operations grow as one thing doubles."""
    half = torch.bfloat16 if device.type == "cuda" or torch.cpu._is_amx_tile_supported() else torch.float32
    sizes = {
        "as above": (width, frames, batch, TWO_PERSONS),
        "twice the width": (2 * width, frames, batch, TWO_PERSONS),
        "twice the frames": (width, 2 * frames, batch, TWO_PERSONS),
        "twice the clips": (width, frames, 2 * batch, TWO_PERSONS),
        "one person each": (width, frames, batch, 0.0),
        "two persons each": (width, frames, batch, 1.0),
    }
    variants, work = {}, {}
    for what, (w, t, b, two) in sizes.items():
        views = [clips(b, t, device, two) for _ in range(2)]
        variants[what] = ours(w, views, device, half=half == torch.bfloat16)
        work[what] = operations(w, views)
    times = by_turns(variants, seconds, device)
    first = "as above"
    rows: list[tuple[str, ...]] = [
        (what, f"{spent * 1e3:.1f}", f"{spent / times[first]:.2f}", f"{work[what] / work[first]:.2f}")
        for what, spent in times.items()
    ]
    return table((f"ours {str(half)[6:]}, width {width}", "ms a step", "time", "operations"), rows)


def clips(batch: int, frames: int, device: torch.device, two_persons: float = TWO_PERSONS) -> Clips:
    """Random clips; the first have two bodies."""
    bodies = torch.where(torch.arange(batch) < round(batch * two_persons), 2, 1)
    owner = torch.arange(batch).repeat_interleave(bodies)
    return Clips(torch.randn(len(owner), frames, 25, CHANNELS).to(device), owner.to(device), batch)


def padded(view: Clips) -> Tensor:
    """The same as (B, 2, T, V, C), zeros for absent bodies."""
    joints = view.joints.new_zeros(view.size, 2, *view.joints.shape[1:])
    second = torch.zeros_like(view.owner)
    second[1:] = (view.owner[1:] == view.owner[:-1]).long()
    joints[view.owner, second] = view.joints
    return joints


def steps(width: float, views: list[Clips], device: torch.device, *, compiled: bool) -> dict[str, Step]:
    """Every variant as a function that takes one whole step: forward, backward, optimizer, target."""
    variants = {
        PUBLISHED: published(width, views, device),
        "ours fp32": ours(width, views, device, half=False),
        "ours bf16": ours(width, views, device, half=True),
    }
    if compiled:
        variants[COMPILED] = ours(width, views, device, half=True, compiled=True)
    return variants


def published(width: float, views: list[Clips], device: torch.device) -> Step:
    config = BYOLConfig()
    method = PublishedBYOL(PublishedSTGCN(width, NTU25, CHANNELS), config.hidden, config.projection).to(device)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=1e-3, momentum=0.9)
    dense = [padded(view) for view in views]

    def step() -> None:
        optimizer.zero_grad()
        method.loss(*dense).backward()
        optimizer.step()
        method.move_target(0.99)

    return step


def ours(width: float, views: list[Clips], device: torch.device, *, half: bool, compiled: bool = False) -> Step:
    encoder = STGCN(STGCNConfig(width=width), NTU25, CHANNELS)
    method = BYOL(encoder, BYOLConfig(), view1=Given(views[0]), view2=Given(views[1]), steps=1000).to(device)
    if compiled:
        for network in (method.online, method.target):
            network.encoder.compile()
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=1e-3, momentum=0.9)
    return whole(method, optimizer, views=2, device=device, half=half)


def whole(method: Method, optimizer: torch.optim.Optimizer, *, views: int, device: torch.device, half: bool) -> Step:
    """A step of a method whose pipelines are `Given`: forward, backward, optimizer, and what follows it."""
    batch = Batch(views=(None,) * views, labels=None, seed=0)  # type: ignore[arg-type]  # the clips are given

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = method(batch, 0)["loss"]
        loss.backward()
        optimizer.step()
        method.after_step(0)

    return step


def by_turns(variants: dict[str, Step], seconds: float, device: torch.device) -> dict[str, float]:
    """The median seconds of each, measured by turns for about `seconds` in all, after two warm-up rounds."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    began, rounds = time.perf_counter(), 0
    while rounds < 5 or time.perf_counter() - began < seconds:
        for name, step in variants.items():
            taken = timed(step, device)
            if rounds > 1:
                times[name].append(taken)
        rounds += 1
    return {name: sorted(taken)[len(taken) // 2] for name, taken in times.items()}


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that the device takes: of CUDA events on a GPU, of the clock on a CPU."""
    if device.type != "cuda":
        before = time.perf_counter()
        work()
        return time.perf_counter() - before
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


def never_waits(variants: dict[str, Step]) -> None:
    """RuntimeError where a step makes the host wait for the GPU."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in variants.values():
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def memory(variant: str, width: float, batch: int, frames: int, threads: int) -> float:
    """The most MiB that a few steps of a variant take, measured in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak, (variant, width, batch, frames, threads)) / 2**20


def peak(variant: str, width: float, batch: int, frames: int, threads: int) -> int:
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = resident_bytes() if device.type == "cpu" else 0
    views = [clips(batch, frames, device) for _ in range(2)]
    if variant == PUBLISHED:
        step = published(width, views, device)
    else:
        step = ours(width, views, device, half="bf16" in variant, compiled="compiled" in variant)
    for _ in range(3):
        step()
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else resident_bytes("VmHWM") - before


def operations(width: float, views: list[Clips]) -> float:
    """Multiply-adds of one step on the bodies that are there."""
    bodies = sum(len(view.joints) for view in views) / len(views)
    return bodies * FORWARDS * multiply_adds(width, views[0].joints.shape[1])


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
    return size**3 / min(timed(lambda: a @ b, device) for _ in range(8))


if __name__ == "__main__":
    main()
