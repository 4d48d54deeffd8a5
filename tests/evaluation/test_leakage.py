"""No training or selection step reads a test recording, and a test reads each of them once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.scoring import Scorer, TrainingSet
from launch import distill, evaluate, finetune, pretrain
from launch.cli.parser import start, start_choice
from launch.pretrain import Options
from launch.recipes import RECIPES
from shards import reader, splits
from shards.index import Views
from shards.reader import Resident
from shards.splits import Split

SHORT = ["--method.cycles", "1", "--method.cycle-steps", "2", "--method.samples", "4"]
# Every protocol, with as little work as it can do.
PROTOCOLS = {
    "linear": [],
    "knn": ["--k", "3", "--temperature", "0.1"],
    "test": [],
    "semi-supervised": ["--fractions", "0.2", "--seeds", "0", "1"],
    "few-shot": ["--episodes", "3"],
    "retrieval": [],
    "clusters": [],
    "transfer": ["--fit", "ridge"],
    "long-tailed": ["--imbalance", "4", "--seeds", "0"],
    "zero-shot": ["--texts", "texts.npy", "--splits", "1", *SHORT],
    "generalised-zero-shot": ["--texts", "texts.npy", "--unseen", "1,4", *SHORT],
}
SMALL = ["--encoder.width", "0.05", "--clip.frames", "8", "--schedule.batch", "8", "--schedule.group", "8"]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Views]:
    """The views whose frames are read from shards, one item a reading, in order."""
    views: list[Views] = []
    load = Resident.load.__func__  # type: ignore[attr-defined]

    def watched(cls: type[Resident], *words: object, **options: object) -> Resident:
        data = load(cls, *words, **options)
        views.append(data.views)
        return data

    monkeypatch.setattr(reader.Resident, "load", classmethod(watched))
    return views


@pytest.mark.parametrize("name", ["cross-subject", "cross-view"])
def test_training_and_selection_never_touch_a_test_view(
    shards: Path, seen: list[Views], tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = splits.find("synthetic", name)
    common = ["--data", str(shards), "--no-track", "--device", "cpu", "--precision", "fp32"]
    pretrained, teacher, student = (str(tmp_path / name) for name in ("pretrained", "teacher", "student"))

    schedule = ["--schedule.epochs", "0.5", "--schedule.warmup", "0", "--split", name]
    start_choice(
        pretrain.main, "recipe", RECIPES, Options, ["byol-small", *common, "--run", pretrained, *SMALL, *schedule]
    )
    words = ["--model", pretrained, *common, "--run", teacher, "--labels", "0.5", "--steps", "3", "--batch", "8"]
    words += ["--group", "8"]
    start(finetune.main, finetune.Options, words)
    words = ["--teacher", teacher, *common, "--run", student, "--epochs", "0.1", "--batch", "8", "--group", "8"]
    start(distill.main, distill.Options, words)

    assert seen and not any(split.test(views).any() for views in seen)

    watch_learning(monkeypatch, seen, split)
    monkeypatch.chdir(tmp_path)
    np.save("texts.npy", np.random.default_rng(0).normal(size=(16, 6)))
    for protocol, words in PROTOCOLS.items():
        model = student if protocol == "test" else pretrained
        seen.clear()
        evaluated = [protocol, "--model", model, "--data", str(shards), *words]
        start_choice(evaluate.main, "protocol", evaluate.PROTOCOLS, evaluate.Options, [*evaluated, "--on", "held-out"])
        assert not any(split.test(views).any() for views in seen), f"{protocol} --on held-out reads test recordings"

        seen.clear()
        start_choice(evaluate.main, "protocol", evaluate.PROTOCOLS, evaluate.Options, evaluated)
        tested = [bool(test) for views in seen for test in split.test(views)]
        reads = Counter(
            (views.key[view], views.camera[view]) for views in seen for view in np.flatnonzero(split.test(views))
        )
        assert reads and set(reads.values()) == {1}, protocol
        assert tested == sorted(tested), f"{protocol} reads a test recording before it has chosen everything"


def watch_learning(monkeypatch: pytest.MonkeyPatch, seen: list[Views], split: Split) -> None:
    """Fail where a protocol learns, and so chooses, after a test recording has been read."""

    def watched(learn: Callable[[Any, TrainingSet], Scorer], name: str) -> Callable[[Any, TrainingSet], Scorer]:
        def before_the_test(self: Any, train: TrainingSet) -> Scorer:
            assert seen and not any(split.test(views).any() for views in seen), f"{name} learns with the test read"
            return learn(self, train)

        return before_the_test

    protocols: dict[str, Any] = dict(evaluate.PROTOCOLS)
    for name, protocol in protocols.items():
        monkeypatch.setattr(protocol, "learn", watched(protocol.learn, name))


def test_every_protocol_is_watched() -> None:
    assert set(PROTOCOLS) == set(evaluate.PROTOCOLS)
