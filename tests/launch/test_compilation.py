"""Compiled encoders: the same losses and statistics, any number of bodies, the same names, runs that change their mind.

Dynamo and autograd's tracing are all that is tested: no machine code is made, so no compiler is needed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from bonestrap.encoders.stgcn import network
from distributed.loop import train
from distributed.strategy import Single, Strategy
from distributed.tracking import read
from launch import finetune, pretrain
from launch.cli.parser import start, start_choice
from launch.recipes import RECIPES
from launch.training import compilation
from launch.training.compilation import compile_encoders
from tests.bonestrap.tiny import Pairs, byol, byol_job
from tests.distributed.toy import Ranks

CPU = torch.device("cpu")
BLOCKS = ((64, 1), (128, 2))  # instead of ten: with and without a shortcut, in a fraction of the time
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[CompileCounterWithBackend]:
    """Counts what is compiled, all in this test."""
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    monkeypatch.setattr(compilation, "BACKEND", counter)
    monkeypatch.setattr(network, "BLOCKS", BLOCKS)
    yield counter
    torch._dynamo.reset()


def test_losses_and_statistics_are_the_same_for_any_number_of_bodies(graphs: CompileCounterWithBackend) -> None:
    graphs.backend = "aot_eager"
    methods = byol(), byol()
    compile_encoders(methods[0], CPU)
    optimizers = [torch.optim.SGD(method.online.parameters(), lr=0.05, momentum=0.9) for method in methods]
    compiled, bodies = [], []
    for step in range(8):
        batch = Pairs(size=16).group(step, 0)
        bodies += [len(view.owner) for view in batch.views]
        losses = []
        for method, optimizer in zip(methods, optimizers, strict=True):
            optimizer.zero_grad()
            loss = method(batch, step)["loss"]
            loss.backward()
            optimizer.step()
            method.after_step(step)
            losses.append(loss)
        assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-5)
        compiled.append(graphs.frame_count)
    torch.testing.assert_close(methods[0].state_dict(), methods[1].state_dict(), rtol=1e-4, atol=1e-5)
    assert len(set(bodies)) > 3  # so there was something to be compiled anew for
    # Beside the prediction: the target, and the online network for a first view and a second; each at most once for the
    # number of bodies that comes first, and once for any.
    assert compiled[1] <= 1 + 6 and set(compiled[1:]) == {compiled[1]}


def test_evaluation_takes_any_number_of_bodies_too(graphs: CompileCounterWithBackend) -> None:
    method = byol()
    compile_encoders(method, CPU)
    method.eval()
    counts = []
    for size in (20, 16, 31, 24):
        with torch.no_grad():
            clips = method.view1(Pairs(size=size).group(0, 0).views[0], torch.Generator())
            features = method.encoder(clips)
        torch.testing.assert_close(features, method.encoder.forward(clips), rtol=1e-4, atol=1e-5)
        counts.append(graphs.frame_count)
    assert set(counts[1:]) == {counts[1]}


def test_a_run_goes_on_compiled_or_not(tmp_path: Path) -> None:
    whole = byol_job(tmp_path / "whole", steps=6)
    train(whole, Single())
    for run, order in {"on": (False, True), "off": (True, False)}.items():
        for steps, compiled in zip((3, 6), order, strict=True):
            job = byol_job(tmp_path / run, steps=steps, method=byol(steps=6))
            if compiled:
                compile_encoders(job.method, CPU)
            train(job, Single())
        assert job.method.state_dict().keys() == whole.method.state_dict().keys()
        torch.testing.assert_close(job.method.state_dict(), whole.method.state_dict(), rtol=1e-3, atol=1e-4)


def on_ranks(strategy: Strategy, folder: Path) -> dict[str, Tensor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "BLOCKS", BLOCKS)
        patch.setattr(compilation, "BACKEND", "eager")
        patch.setattr(
            torch.distributed, "_DEFAULT_FIRST_BUCKET_BYTES", 1024
        )  # so that Dynamo may cut it at DDP's buckets
        job = byol_job(folder / "run", steps=1, loader=Pairs(groups=2))
        compile_encoders(job.method, CPU)
        train(job, strategy)
    return job.method.state_dict()


def test_two_ranks_compile(tmp_path: Path) -> None:
    whole = byol_job(tmp_path / "whole", steps=1, loader=Pairs(groups=2))
    train(whole, Single())
    ranks = Ranks(2)
    try:
        first, second = ranks(on_ranks, tmp_path)
    finally:
        ranks.close()
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, whole.method.state_dict(), rtol=1e-3, atol=1e-4)


def test_the_option_compiles_and_changes_nothing_else(
    shards: Path, tmp_path: Path, graphs: CompileCounterWithBackend
) -> None:
    common = ["--data", str(shards), "--no-track", "--precision", "fp32", "--log-every", "1"]
    small = ["own", "--split", "cross-subject", "--encoder.width", "0.0625"]
    short = ["--schedule.epochs", "2", "--schedule.warmup", "1", "--schedule.batch", "16", "--schedule.group", "16"]
    for name, more in {"plain": [], "compiled": ["--compile"]}.items():
        run = ["--run", str(tmp_path / name)]
        start_choice(pretrain.main, "recipe", RECIPES, pretrain.Options, [*small, *short, *common, *run, *more])
        assert (graphs.frame_count > 1) == bool(more)
    losses = [[line["loss"] for line in read(tmp_path / name) if "loss" in line] for name in ("plain", "compiled")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4) and len(losses[0]) > 2
    finetuning = ["--model", str(tmp_path / "compiled"), "--batch", "16", "--steps", "2", "--run", str(tmp_path / "t")]
    torch._dynamo.reset()  # pretraining has compiled the same code
    for more in (["--compile"], []):  # the same run, so the second time there is nothing left to do
        before = graphs.frame_count
        start(finetune.main, finetune.Options, [*finetuning, *common, *more])
        assert (graphs.frame_count > before) == bool(more)


def test_without_a_compiler_one_sentence_says_so(shards: Path, tmp_path: Path) -> None:
    words = ["--compile", "--device", "cpu", "--data", str(shards), "--run", str(tmp_path / "run"), "--no-track"]
    done = subprocess.run(
        [sys.executable, ROOT / "launch/pretrain.py", "own", "--split", "cross-subject", *words],
        env=os.environ | {"CXX": "/nowhere", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pretrain.py: --compile needs a C++ compiler, and torch.compile fails here (" in done.stderr
    assert "Traceback" not in done.stderr
