"""A small pretraining run to which something happens at one step, in this process or in one of its own."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from bonestrap.clips import Batch
from launch import pretrain
from launch.cli.parser import start_choice
from launch.recipes import RECIPES
from launch.training import data
from shards.loader import Loader

Fault = Callable[[], object]
TRAINED = 10  # performances that train: five people of ten, two actions
BATCH = 8

SMALL = [
    *("--split", "cross-subject", "--encoder.width", "0.05", "--clip.frames", "8", "--method.hidden", "16"),
    *("--method.projection", "8", "--schedule.batch", str(BATCH), "--schedule.group", "4", "--schedule.warmup", "0"),
    *("--optimizer.learning-rate", "0.001", "--device", "cpu", "--precision", "fp32", "--threads", "1", "--no-track"),
    *("--log-every", "1", "--checkpoint-every", "2", "--probe-every", "1000"),
]


def words(shards: Path | str, run: Path, steps: int, *more: str) -> list[str]:
    """The command line of so many steps."""
    return [
        *("byol-small", "--data", str(shards), "--run", str(run)),
        *("--schedule.epochs", str((steps - 0.5) * BATCH / TRAINED)),
        *SMALL,
        *more,
    ]


class Faulty(Loader):
    """Calls `fault` before it draws the first group of step `at`, once."""

    fault: Fault = staticmethod(lambda: None)
    at = -1

    def group(self, step: int, group: int) -> Batch:
        if step == self.at and not group:
            type(self).at = -1
            type(self).fault()
        return super().group(step, group)


def train(given: list[str], fault: Fault | None = None, at: int = -1) -> None:
    """Run the command here; what happens at step `at` is `fault`."""
    faulty = type("Once", (Faulty,), {"fault": staticmethod(fault), "at": at}) if fault else Loader
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "Loader", faulty)
        start_choice(pretrain.main, "recipe", RECIPES, pretrain.Options, given)


def signalled(number: signal.Signals, at: int, given: list[str], stderr: Path) -> ForkProcess:
    """The command in a process of its own, which sends itself a signal at step `at`."""

    def work() -> None:
        os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sys.stderr = os.fdopen(2, "w", buffering=1)
        train(given, lambda: os.kill(os.getpid(), number), at)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def take_away(lease: Path) -> None:
    """Rewrite a lease as another machine's job would that has taken it over, until nobody renews it any more."""
    told = {**json.loads(lease.read_text()), "job": "another", "machine": "elsewhere", "host": "elsewhere", "pid": 1}
    while json.loads(lease.read_text()) != told:
        aside = lease.with_suffix(".stolen")
        aside.write_text(json.dumps(told))
        aside.replace(lease)
        time.sleep(0.5)  # a renewal that had begun has been written, and the next one has found this


def damage(shards: Path) -> dict[Path, bytes]:
    """Flip a byte of every shard; what they were."""
    before = {file: file.read_bytes() for file in shards.glob("*.tar")}
    for file, content in before.items():
        aside = file.with_suffix(".damaged")
        aside.write_bytes(
            content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]
        )
        aside.replace(file)
    return before
