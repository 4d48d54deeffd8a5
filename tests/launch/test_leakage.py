"""No training or selection step reads a test recording, and a test reads each of them once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from launch import distill, evaluate, finetune, pack, pretrain
from launch.cli import start, start_choice
from launch.pretrain import Options
from launch.recipes import RECIPES
from shards import reader, splits
from shards.index import Views
from shards.reader import Resident

SMALL = ["--encoder.width", "0.05", "--clip.frames", "8", "--schedule.batch", "8", "--schedule.group", "8"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("leakage") / "shards"
    words = ["synthetic", "--output", str(folder), "--subjects", "8", "--setups", "1", "--repetitions", "1"]
    start_choice(pack.main, "format", pack.FORMATS, pack.Options, words)
    return folder


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


@pytest.mark.parametrize("protocol", ["cross-subject", "cross-view"])
def test_training_and_selection_never_touch_a_test_view(
    shards: Path, seen: list[Views], tmp_path: Path, protocol: str
) -> None:
    split = splits.protocol("synthetic", protocol)
    common = ["--data", str(shards), "--no-track", "--device", "cpu", "--precision", "fp32"]
    pretrained, teacher, student = (str(tmp_path / name) for name in ("pretrained", "teacher", "student"))

    schedule = ["--schedule.epochs", "0.5", "--schedule.warmup", "0", "--protocol", protocol]
    start_choice(pretrain.main, "recipe", RECIPES, Options, ["demo", *common, "--run", pretrained, *SMALL, *schedule])
    words = [
        "--model",
        pretrained,
        *common,
        "--run",
        teacher,
        "--labels",
        "0.5",
        "--steps",
        "3",
        "--batch",
        "8",
        "--group",
        "8",
    ]
    start(finetune.main, finetune.Options, words)
    words = ["--teacher", teacher, *common, "--run", student, "--epochs", "0.1", "--batch", "8", "--group", "8"]
    start(distill.main, distill.Options, words)

    assert seen and not any(split.test(views).any() for views in seen)

    for name, model in (("linear", pretrained), ("knn", pretrained), ("test", student)):
        seen.clear()
        words = [name, "--model", model, "--data", str(shards), "--on", "held-out"]
        start_choice(evaluate.main, "protocol", evaluate.PROTOCOLS, evaluate.Options, words)
        assert not any(split.test(views).any() for views in seen), f"{name} --on held-out has read the test recordings"

        seen.clear()
        start_choice(
            evaluate.main,
            "protocol",
            evaluate.PROTOCOLS,
            evaluate.Options,
            [name, "--model", model, "--data", str(shards)],
        )
        tested = [bool(test) for views in seen for test in split.test(views)]
        reads = Counter(
            (views.key[view], views.camera[view]) for views in seen for view in np.flatnonzero(split.test(views))
        )
        assert reads and set(reads.values()) == {1}
        assert tested == sorted(tested), f"{name} reads a test recording before it has chosen everything"
