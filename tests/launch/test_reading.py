"""How commands read: at once where it fits, as a stream where it does not or when asked, and as the run was begun."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from launch import evaluate, pretrain
from launch.cli.parser import start_choice
from launch.recipes import RECIPES
from shards import reading
from shards.reader import Resident
from shards.reading import Reading
from shards.stream import Stream

SMALL = ["--encoder.width", "0.05", "--clip.frames", "8", "--schedule.batch", "8", "--schedule.group", "4"]
SHORT = ["--schedule.epochs", "0.5", "--schedule.warmup", "0", "--no-track", "--device", "cpu", "--precision", "fp32"]


def train(shards: Path | str, run: Path, *words: str) -> None:
    given = ["byol-small", "--data", str(shards), "--run", str(run), *SMALL, *SHORT, *words]
    start_choice(pretrain.main, "recipe", RECIPES, pretrain.Options, given)


def free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(reading, "_free", lambda cuda: [count])


@pytest.mark.parametrize(
    ("share", "workers", "stream"), [(2.1, 1, "no"), (1.9, 1, "yes"), (2.1, 2, "yes"), (4.1, 2, "no")]
)
def test_auto_streams_what_does_not_fit(
    shards: Path, monkeypatch: pytest.MonkeyPatch, share: float, workers: int, stream: str
) -> None:
    options = Reading(data=str(shards))
    free(monkeypatch, int(options.manifest.total_bytes * share))
    found, said = options.resolve_streaming(workers=workers, cuda=False)
    assert found.stream == stream and found.mixing == (4 if stream == "yes" else None)
    assert str(shards) in said and ("streamed, because" in said) == (stream == "yes")
    data = found.open(lambda views: views.camera == 1, "cpu")
    assert isinstance(data, Stream if stream == "yes" else Resident)
    for asked in ("yes", "no"):
        assert Reading(data=str(shards), stream=asked).resolve_streaming(workers=workers, cuda=False)[0].stream == asked


def test_free_memory_is_that_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, used, meminfo = tmp_path / "max", tmp_path / "current", tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       100 kB\nMemAvailable:        50 kB\n")
    limit.write_text("30000\n")
    used.write_text("10000\n")
    monkeypatch.setattr(reading, "MEMINFO", meminfo)
    monkeypatch.setattr(reading, "LIMITS", ((limit, used),))
    assert min(reading._free(False)) == 20000
    limit.write_text("max\n")
    assert min(reading._free(False)) == 50 * 1024


def test_a_run_streams_and_is_gone_on_with_as_it_was_begun(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    free(monkeypatch, 1000)
    train(shards, tmp_path / "run", "--window", "2")
    assert "streamed, because" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "run.json").read_text())["result"]["window"] == 2
    free(monkeypatch, 2**40)
    train(shards, tmp_path / "run")
    assert "streamed, as this run was begun" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        train(shards, tmp_path / "run", "--stream", "no")
    assert "other settings (window)" in capsys.readouterr().err


def test_a_stream_trains_as_resident_recordings_in_its_order_would(shards: Path, tmp_path: Path) -> None:
    """The window shapes the result, where the shards lie and how much is open does not."""
    train(shards, tmp_path / "a", "--stream", "yes")
    train(shards.as_uri(), tmp_path / "b", "--stream", "yes", "--stream-gib", "0.001", "--cache", str(tmp_path / "c"))
    train(shards, tmp_path / "d", "--stream", "no")
    losses = [
        [
            json.loads(line)["loss"]
            for line in (tmp_path / run / "journal.jsonl").read_text().splitlines()
            if "loss" in line
        ]
        for run in "abd"
    ]
    assert losses[0] == losses[1] != losses[2]
    assert any((tmp_path / "c").iterdir())


def test_evaluation_streams(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(shards, tmp_path / "run")
    results = []
    for stream in ("yes", "no"):
        words = ["knn", "--model", str(tmp_path / "run"), "--data", str(shards), "--json", "--stream", stream]
        capsys.readouterr()
        start_choice(evaluate.main, "protocol", evaluate.PROTOCOLS, evaluate.Options, words)
        results.append(json.loads(capsys.readouterr().out))
    assert results[0] == results[1]


def test_a_probe_reads_an_even_sample(shards: Path) -> None:
    options = Reading(data=str(shards))
    everything = Resident.load(shards).views
    sample = options.sample(lambda views: views.camera == 2, 5, "cpu")
    rows = np.flatnonzero(everything.camera == 2)
    expected = rows[np.linspace(0, len(rows) - 1, 5).round().astype(int)]
    assert sorted(sample.views.key) == sorted(everything.key[row] for row in expected)
    assert len(options.sample(lambda views: views.camera == 2, 10**6, "cpu")) == len(rows)
    assert options.counts(lambda views: views.camera == 2, lambda views: views.camera == 9) == [len(rows), 0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--window", "0"], "--window must lie in [1, 65536], got 0"),
        (["--stream-gib", "0"], "--stream-gib must lie in (0, 1000000], got 0.0"),
        (["--stream", "maybe"], "expected one of auto, yes, no"),
        (["--data", "s3://"], "no folder can be reached by this address"),
    ],
)
def test_mistakes_are_named(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        train(shards, tmp_path / "run", *words)
    assert stopped.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
