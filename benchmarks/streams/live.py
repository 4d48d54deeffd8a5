#!/usr/bin/env python3
"""A live stream on one CPU thread: the recogniser, and a naive window that is predicted anew with every frame.

Frames arrive at their real rate, 30 a second; "% of a core" is the CPU time of the whole process over the time that
passed, and "ms a frame" the CPU time of a frame. "at full speed" the same frames come one right after the other, the
variants by turns, and the round that was disturbed least counts. Weights are random: they do not change the time.

Examples:
  python -m benchmarks.streams.live
  python -m benchmarks.streams.live --width 0.25 --frames 32 --persons 1 2 4 --seconds 30
  python -m benchmarks.streams.live --model runs/stream/model
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

import bonestrap
from benchmarks.rates import Table, by_turns
from bonestrap.augment import ClipConfig
from bonestrap.encoders import STGCNConfig
from bonestrap.layouts import NTU25
from bonestrap.model import Description, Model
from bonestrap.stream.config import StreamConfig
from bonestrap.stream.recogniser import Recogniser

RATE = 30.0
CLASSES = 60
FRAMES = 90  # of a round at full speed
HEADER = ("", "persons", "live: % of a core", "ms a frame", "at full speed: ms", "% of a core")
Push = Callable[[dict[int, np.ndarray]], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a classifier; none takes a random ST-GCN")
    parser.add_argument("--width", type=float, default=0.25, help="of the random encoder")
    parser.add_argument("--frames", type=int, default=32, help="of its clips")
    parser.add_argument("--persons", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--stride", type=int, default=3, help="frames from one answer to the next")
    parser.add_argument("--window", type=float, default=1.6, help="seconds")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each live stream")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = bonestrap.load(options.model) if options.model else random_student(options.width, options.frames)
    config = StreamConfig(rate=RATE, window=options.window, stride=options.stride)
    print(
        f"{model.description.encoder.label}, clips of {model.description.clip.frames} frames, {model.layout.name}, ",
        end="",
    )
    print(
        f"window {config.window:g} s, an answer every {config.stride} frames, torch {torch.__version__}\n", flush=True
    )
    table = Table(HEADER)
    for persons in options.persons:
        bodies = walks(model, persons)
        pushes = {
            "recogniser": lambda: recogniser(model, config),
            "recogniser, every frame": lambda: recogniser(model, dataclasses.replace(config, stride=1)),
            "naive window": lambda: naive(model, config.frames),
        }
        rates = by_turns({name: full_speed(push(), bodies) for name, push in pushes.items()}, options.seconds)
        for name, push in pushes.items():
            cpu, wall, count = live(push(), bodies, options.seconds)
            each = 1000 / rates[name]
            cells = f"{100 * cpu / wall:.1f}", f"{1000 * cpu / count:.2f}", f"{each:.2f}", f"{each * RATE / 10:.1f}"
            table.row(name, str(persons), *cells)


def random_student(width: float, frames: int) -> Model:
    """A random student of NTU's joints."""
    about = Description(
        stage="random",
        encoder=STGCNConfig(width=width),
        layout=NTU25,
        clip=ClipConfig(frames=frames, fit=True),
        classes=tuple(str(number) for number in range(CLASSES)),
        lineage={},
    )
    encoder = about.build_encoder()
    return Model(about, encoder, nn.Linear(encoder.features, CLASSES)).eval()


def walks(model: Model, persons: int) -> list[dict[int, np.ndarray]]:
    """Four seconds of people who move at random, over and over."""
    random = np.random.default_rng(0)
    shape = persons, len(model.layout.joints), model.layout.axes
    steps = 0.01 * random.normal(size=(int(4 * RATE), *shape))
    joints = (random.normal(0, 0.4, shape) + steps.cumsum(0)).astype(np.float32)
    return [dict(enumerate(frame)) for frame in joints]


def recogniser(model: Model, config: StreamConfig) -> Push:
    ours, numbers = Recogniser(model, config), itertools.count()
    return lambda frame: ours.push(frame, next(numbers) / RATE)


def naive(model: Model, length: int) -> Push:
    """Every person's last `length` frames as a recording, with every frame."""
    kept: deque[dict[int, np.ndarray]] = deque(maxlen=length)

    def push(frame: dict[int, np.ndarray]) -> object:
        kept.append(frame)
        if len(kept) < 2:
            return None
        return [model.predict(np.stack([each[person] for each in kept])[:, None]).argmax() for person in frame]

    return push


def full_speed(push: Push, bodies: list[dict[int, np.ndarray]]) -> Callable[[], int]:
    frames = itertools.cycle(bodies)

    def work() -> int:
        for _ in range(FRAMES):
            push(next(frames))
        return FRAMES

    return work


def live(push: Push, bodies: list[dict[int, np.ndarray]], seconds: float) -> tuple[float, float, int]:
    """CPU seconds, seconds that passed, and frames, of a stream at its real rate once its window is full."""
    frames = itertools.cycle(bodies)
    for _ in range(FRAMES):
        push(next(frames))
    count = int(seconds * RATE)
    cpu, began = time.process_time(), time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, began + number / RATE - time.perf_counter()))
        push(next(frames))
    time.sleep(max(0.0, began + count / RATE - time.perf_counter()))
    return time.process_time() - cpu, time.perf_counter() - began, count


if __name__ == "__main__":
    main()
