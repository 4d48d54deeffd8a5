"""A training command whose disk or object store fails it, and one that is interrupted: what it says and what stays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import bonestrap
from distributed.tracking import read
from tests.stores import Store

pytestmark = pytest.mark.timeout(600)  # commands that start, and a store that is asked again and again

ROOT = Path(__file__).resolve().parents[2]
LITTLE = ["--encoder.width", "0.125", "--clip.frames", "16", "--method.hidden", "16", "--method.projection", "8",
          "--schedule.batch", "8", "--schedule.group", "4", "--schedule.warmup", "0", "--probe-every", "1000",
          "--device", "cpu", "--threads", "1", "--no-track", "--log-every", "1"]  # fmt: skip


def command(shards: Path, run: Path, *more: str) -> list[str]:
    where = ["--data", str(shards), "--run", str(run)]
    return [sys.executable, "launch/pretrain.py", "byol-small", *where, *LITTLE, *more]


def begun(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words, cwd=ROOT, env=os.environ | {"RAY_AUTH_MODE": "disabled"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], code: int) -> str:
    """What it has said on standard error; never a traceback."""
    _, said = process.communicate(timeout=500)
    assert process.returncode == code, said
    assert "Traceback" not in said
    return said


def waits_for(what: Callable[[], Any], seconds: float = 500) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def steps(run: Path) -> int:
    return max((line["step"] for line in read(run) if "loss" in line), default=0)


@pytest.mark.parametrize("what", ["away", "without a bucket"])
def test_a_store_that_cannot_be_had_at_the_start_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, shards: Path, store: Store, what: str
) -> None:
    address = store.address("bucket" if what == "away" else "nowhere")
    if what == "away":
        store.stop()
    run = tmp_path / "run"
    said = ended(begun(command(shards, run, "--checkpoints", address)), 2)
    if what == "away":
        store.start()
    assert said.splitlines()[-1].startswith("pretrain.py: ")
    assert "nowhere" in said if what != "away" else "onnect" in said
    assert not run.exists()


def test_a_store_that_is_away_at_the_end_keeps_no_model_from_being_written(
    tmp_path: Path, shards: Path, store: Store
) -> None:
    run = tmp_path / "run"
    words = command(
        shards, run, "--checkpoints", store.address("bucket"), "--schedule.epochs", "1", "--checkpoint-every", "100000"
    )
    process = begun(words)
    waits_for(lambda: steps(run) >= 1)
    store.stop()
    said = ended(process, 2)
    assert "the model is written, but s3://bucket/run/step-" in said.splitlines()[-1]
    assert "the same command does the steps since the newest checkpoint again" in said
    without = bonestrap.load(run).state_dict()
    store.start()
    ended(begun(words), 0)
    again = bonestrap.load(run).state_dict()
    torch.testing.assert_close(again, without, rtol=0, atol=0)


def test_a_disk_without_room_for_the_model_is_a_sentence_and_the_command_goes_on_once_there_is(
    tmp_path: Path, shards: Path, small_disk: Path
) -> None:
    run = small_disk / "run"
    words = command(shards, run, "--schedule.epochs", "4", "--checkpoint-every", "4")
    process = begun(words)
    waits_for((run / "checkpoints/step-00000004/committed").exists)
    with (small_disk / "ballast").open("ab", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(1000))
    said = ended(process, 2)
    assert "No space left on device); earlier ones stay, and the next is another try." in said
    last = said.splitlines()[-1]
    assert "no space left on device; free space there, or choose another place; the same command then resumes" in last
    assert not (run / "model/model.json").exists()
    (small_disk / "ballast").unlink()
    assert "Resuming" in ended(begun(words), 0)
    bonestrap.load(run)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_interrupted_command_says_so(tmp_path: Path, shards: Path, workers: str) -> None:
    if workers != "0":
        pytest.importorskip("ray")
    run = tmp_path / "run"
    process = begun(command(shards, run, "--workers", workers, "--schedule.epochs", "4000"))
    waits_for(lambda: steps(run) >= 1)
    process.send_signal(signal.SIGINT)
    said = ended(process, 130)
    assert said.splitlines()[-1] == f"{run} was interrupted: the same command resumes from the newest checkpoint."


def test_a_run_directory_that_is_removed_is_a_sentence(tmp_path: Path, shards: Path) -> None:
    run = tmp_path / "run"
    process = begun(command(shards, run, "--schedule.epochs", "4000"))
    waits_for(lambda: steps(run) >= 1)
    shutil.rmtree(run, ignore_errors=True)
    said = ended(process, 2)
    assert f"{run}/journal.jsonl has been removed while its run was training: this job stops." in said
    assert not run.exists()
