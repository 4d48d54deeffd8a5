#!/usr/bin/env python3
"""The fraction of a training step that is spent waiting for its recordings, which are resident.

Shards of random recordings are made, loaded whole, and trained on by the training loop's own parts: the loader gives a
batch, then one BYOL step of augmentation, forward, backward, optimizer and target. Waiting is what the loader takes
until the batch lies on the device. "Of the limit" is the fraction of the measured matrix rate at which the counted
operations would take the step's time (see benchmarks.step). On a GPU a last step of loader, augmentation and all else
runs under torch's sync debug mode, in which anything that makes the host wait for the device is an error.

Examples:
  python -m benchmarks.input
  python -m benchmarks.input --width 1 --frames 150 --batch 128 --steps 20
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.made_shards import make
from benchmarks.rates import Table
from benchmarks.step import FORWARDS, matrix_rate, multiply_adds, never_waits
from bonestrap.augment import AGGRESSIVE, CONSERVATIVE, ClipConfig
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Batch
from bonestrap.encoders import STGCNConfig
from bonestrap.encoders.stgcn.network import STGCN
from bonestrap.layouts import NTU25
from bonestrap.methods import BYOLConfig
from bonestrap.methods.byol.method import BYOL
from shards.loader import Loader, Plan
from shards.reader import Resident


class Spent(NamedTuple):
    """Seconds of all steps together."""

    waiting: float
    step: float  # the waiting included


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, nargs="+", default=[0.25, 1.0], help="encoder widths")
    parser.add_argument("--frames", type=int, default=48, help="frames of a clip")
    parser.add_argument("--length", type=int, default=83, help="frames of a recording; NTU-60's mean is 83")
    parser.add_argument("--batch", type=int, default=16, help="clips, one normalisation group")
    parser.add_argument("--recordings", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=10, help="for each width")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        shards = Path(folder) / "shards"
        make(shards, options.recordings, frames=options.length)
        data = Resident.load(shards, device=device)
    loader = Loader(
        data,
        Plan(batch=options.batch, group=options.batch, seed=0),
        unit="performance",
        pairs=True,
        labels=False,
    )
    half = device.type == "cuda" or torch.cpu._is_amx_tile_supported()
    rate = matrix_rate(torch.bfloat16 if half else torch.float32, device)
    print(
        f"{options.recordings} resident recordings, batches of {options.batch}, torch {torch.__version__}, {device}\n",
        flush=True,
    )
    rows = Table(("width", "ms waiting", "ms a step", "share", "of the limit"))
    for width in options.width:
        spent = measure(loader, width, options.frames, options.steps, device, half=half)
        each = [f"{seconds / options.steps * 1e3:.2f}" for seconds in spent]
        limit = options.steps * options.batch * FORWARDS * multiply_adds(width, options.frames) / rate
        rows.row(str(width), *each, f"{spent.waiting / spent.step:.2%}", f"{limit / spent.step:.1%}")
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
        print(f"\nthe host waited for the device in no step; at most {peak:.0f} MiB of its memory were in use")


def measure(loader: Loader, width: float, frames: int, steps: int, device: torch.device, *, half: bool) -> Spent:
    """Train for some steps, after two that are not counted. RuntimeError where one makes the host wait for a GPU."""
    torch.manual_seed(0)
    clip = ClipConfig(frames=frames)
    views = [Pipeline(NTU25, clip, augment) for augment in (AGGRESSIVE, CONSERVATIVE)]
    encoder = STGCN(STGCNConfig(width=width), NTU25, NTU25.channels)
    method = BYOL(encoder, BYOLConfig(), view1=views[0], view2=views[1], steps=1000).to(device)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=1e-3, momentum=0.9)

    def learn(batch: Batch, step: int) -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = method(batch, step)["loss"]
        loss.backward()
        optimizer.step()
        method.after_step(step)

    waiting = total = 0.0
    for step in range(steps + 2):
        began = now(device)
        batch = loader.group(step, 0)
        arrived = now(device)
        learn(batch, step)
        if step >= 2:
            waiting += arrived - began
            total += now(device) - began
    if device.type == "cuda":
        never_waits({"": lambda: learn(loader.group(steps + 2, 0), steps + 2)})
    return Spent(waiting, total)


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
