"""The comparison of gradients: its shares against plain numpy, and a bias that was put in is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.rounding import Pairs
from launch import pack
from launch.cli.parser import start_choice

ROOT = Path(__file__).resolve().parents[2]


def shares(bias: float, count: int = 400, size: int = 50) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """Of gradients around one mean with noise, and of rounded ones with less noise and a bias of this share."""
    rng = np.random.default_rng(0)
    mean = rng.normal(size=size)
    exact = mean + 0.8 * rng.normal(size=(count, size))
    rounded = exact + 0.3 * rng.normal(size=(count, size)) + bias * np.roll(mean, 1)
    pairs = Pairs()
    for each, other in zip(exact, rounded, strict=True):
        pairs.add(torch.from_numpy(each), torch.from_numpy(other))
    return pairs.shares(), exact, rounded


def test_shares_are_those_of_all_gradients_at_once() -> None:
    found, exact, rounded = shares(bias=0.1)
    mean, off = exact.mean(0), rounded - exact
    length = np.linalg.norm(mean)
    scatter = off.var(0, ddof=1).sum() / len(off)
    expected = {
        "another batch": exact.var(0, ddof=1).sum() ** 0.5 / length,
        "rounding": (off**2).sum(1).mean() ** 0.5 / length,
        "bias": ((off.mean(0) ** 2).sum() - scatter) ** 0.5 / length,
        "least": scatter**0.5 / length,
        "cosine": mean @ rounded.mean(0) / (length * np.linalg.norm(rounded.mean(0))),
    }
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("bias", [0.0, 0.1, 0.5])
def test_a_bias_is_told_from_noise(bias: float) -> None:
    found, *_ = shares(bias)
    assert found["bias"] == pytest.approx(bias, abs=0.8 * found["least"])
    assert found["rounding"] > 3 * found["least"], "which alone says nothing of a bias"


def test_the_benchmark_runs(tmp_path: Path) -> None:
    people = ["synthetic", "--output", str(tmp_path), "--subjects", "8", "--setups", "1", "--repetitions", "1"]
    start_choice(pack.main, "format", pack.FORMATS, pack.Options, people)
    words = ("--data", str(tmp_path), "--steps", "8", "--at", "0", "--batches", "2", "--threads", "1")
    command = [sys.executable, "-m", "benchmarks.rounding", *words]
    out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    step, another, rounding, *_, cosine = out.splitlines()[-1].split()
    assert step == "0" and 0 < float(rounding.rstrip("%")) < float(another.rstrip("%")) and float(cosine) > 0.9
