"""Whole BYOL steps on resident recordings, plain and fast, for `benchmarks.gpu`, with torch and numpy alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.step import FORWARDS, TWO_PERSONS, multiply_adds
from bonestrap import kernels
from bonestrap.augment import AGGRESSIVE, CONSERVATIVE, ClipConfig
from bonestrap.augment.pipeline import Pipeline
from bonestrap.capture.graphs import CUDARecorder
from bonestrap.clips import Batch, Recordings
from bonestrap.encoders import STGCNConfig
from bonestrap.layouts import NTU25
from bonestrap.methods import BYOLConfig
from bonestrap.optim import SGD
from distributed.steps.graph import StepGraph
from distributed.steps.plain import PlainStep, Step
from distributed.strategy import Single, Strategy

LENGTH = 83  # frames of a recording: NTU-60's mean
KINDS = ("plain", "kernels", "fast")  # torch alone; with the kernels of `bonestrap.kernels`; and as CUDA graphs


class Size(NamedTuple):
    width: float
    frames: int
    clips: int

    def __str__(self) -> str:
        return f"{self.width:g}x, {self.frames} frames, {self.clips} clips"


class Resident:
    """Batches of random recordings whose frames lie on the device, one or two bodies each as in NTU-60."""

    def __init__(self, size: Size, device: torch.device, two_persons: float = TWO_PERSONS) -> None:
        self.size, self.two_persons = size.clips, two_persons
        generator = torch.Generator().manual_seed(0)
        frames = torch.randn(4096, len(NTU25.joints), NTU25.axes, generator=generator).cumsum(0) * 0.01
        self.frames = frames.half().to(device)

    def group(self, step: int) -> Batch:
        generator = torch.Generator().manual_seed(step)
        bodies = 1 + (torch.rand(self.size, generator=generator) < self.two_persons).long()
        owner = torch.arange(self.size).repeat_interleave(bodies)

        def view() -> Recordings:
            start = torch.randint(len(self.frames) - LENGTH, (len(owner),), generator=generator)
            return Recordings(self.frames, start, torch.full_like(start, LENGTH), owner, self.size)

        return Batch((view(), view()), None, step)


class Trained:
    """A BYOL run of this size without all that surrounds its steps."""

    def __init__(
        self, size: Size, device: torch.device, kind: str, *, half: bool = True, strategy: Strategy | None = None
    ) -> None:
        torch.manual_seed(0)
        self.kind, self.size, self.device = kind, size, device
        self.strategy = strategy or Single(device)
        clip = ClipConfig(frames=size.frames)
        encoder = STGCNConfig(width=size.width).build(NTU25, clip)
        view1, view2 = (Pipeline(NTU25, clip, view) for view in (AGGRESSIVE, CONSERVATIVE))
        from bonestrap.methods.byol.method import BYOL

        self.method = BYOL(encoder, BYOLConfig(), view1=view1, view2=view2, steps=10_000).to(device)
        optimizer = SGD(learning_rate=1e-3).build(self.method)
        self.step: Step
        if kind == "fast":
            recorder = CUDARecorder(print) if device.type == "cuda" else None
            self.step = StepGraph(
                self.method, optimizer, self.strategy, groups=1, all_groups=1, half=half, recorder=recorder
            )
        else:
            self.step = PlainStep(self.method, optimizer, self.strategy, groups=1, all_groups=1, half=half)
        self.loader = Resident(size, device)
        self.done = 0

    def __call__(self) -> Tensor:
        """One step, from the loader to the target network; its loss."""
        return self.train(self.loader.group(self.done))

    def train(self, batch: Batch) -> Tensor:
        with kernels_off() if self.kind == "plain" else contextlib.nullcontext():
            self.strategy.seed(batch.seed)
            loss = self.step.group(batch, self.done, last=True)["loss"].detach()
            self.step.finish(self.done)
        self.done += 1
        return loss

    def multiply_adds(self) -> float:
        """Of a step, on the bodies that are there."""
        bodies = self.size.clips * (1 + TWO_PERSONS)
        return bodies * FORWARDS * multiply_adds(self.size.width, self.size.frames)


@contextlib.contextmanager
def kernels_off() -> Iterator[None]:
    """Inside, plain torch does everything: triton counts as not installed."""
    before = kernels.installed
    vars(kernels)["installed"] = lambda: False
    try:
        yield
    finally:
        vars(kernels)["installed"] = before


def count_kernels(work: Callable[[], object], device: torch.device) -> int:
    """Kernels and copies on a GPU; on a CPU, operations."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as seen:
        work()
        if on_gpu:
            torch.cuda.synchronize()
    wanted = DeviceType.CUDA if on_gpu else DeviceType.CPU
    return sum(event.count for event in seen.key_averages() if event.device_type == wanted)
