"""Zero-shot protocols: nothing of unseen classes reaches training or selection, splits, figures, commands, models."""

from __future__ import annotations

import dataclasses
import json
import shutil
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

import bonestrap
from bonestrap.options import UserError
from bonestrap.protocols.bootstrap import Groups
from bonestrap.text.bert import BERT, published
from bonestrap.zero_shot import SADVAEConfig
from bonestrap.zero_shot.splits import PUBLISHED_SPLITS
from bonestrap.zero_shot.texts import ClassTexts
from distributed.tracking import latest, run_id
from evaluation import evaluation_file
from evaluation.scoring import Scored, TrainingSet
from evaluation.zero_shot import split_means
from evaluation.zero_shot.class_splits import drawn, named
from evaluation.zero_shot.protocol import ClassSplit, GeneralisedZeroShotProtocol, ZeroShotProtocol, both_sides
from launch import align, describe, evaluate
from launch.cli.parser import start, start_choice
from shards.columns import Strings

CLASSES, D, Y = 8, 6, 10
SMALL = SADVAEConfig(semantic=4, style=2, cycles=2, cycle_steps=6, batch=8, samples=20, learning_rate=0.02)
SMALL_WORDS = "--method.semantic 4 --method.style 2 --method.cycles 2 --method.cycle-steps 4 --method.samples 10"
NAMES = tuple(f"action {number}" for number in range(CLASSES))


def texts() -> ClassTexts:
    """Of three dimensions, so that six classes tell what the other two are like."""
    generator = torch.Generator().manual_seed(1)
    inner = torch.randn(CLASSES, 3, generator=generator) @ torch.randn(3, Y, generator=generator)
    features = F.normalize(inner, dim=1)
    return ClassTexts(features, torch.arange(CLASSES))


def rows(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features that their class's text determines, but for noise."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % CLASSES
    mixing = torch.randn(Y, D, generator=torch.Generator().manual_seed(2))
    return texts().features[y] @ mixing + 0.1 * torch.randn(count, D, generator=generator), y


def training(x: Tensor, y: Tensor) -> TrainingSet:
    held_out = torch.arange(len(x)) % 5 == 4
    keys = Strings.of([str(number) for number in range(len(x))])
    return TrainingSet(x, y, held_out, keys, CLASSES, False, 0, (), (), NAMES, "lab")


def scored() -> Scored:
    x, y = rows(48, seed=9)
    keys = Strings.of([str(number) for number in range(len(x))])
    return Scored(x, y, keys, Groups("performances", torch.arange(len(x))))


# ---------------------------------------------------------------------- no peeking


@pytest.mark.parametrize("protocol", [ZeroShotProtocol, GeneralisedZeroShotProtocol])
def test_nothing_of_unseen_classes_reaches_training_or_selection(
    protocol: type[ZeroShotProtocol], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their training recordings and their texts are replaced by NaN while learning: no figure changes."""
    unseen = (2, 5)
    found = []
    for poisoned in (False, True):
        told, (x, y) = texts(), rows(64, seed=3)
        hidden, clean = torch.isin(y, torch.tensor(unseen)), told.features.clone()
        if poisoned:
            x[hidden] = torch.nan
            y[hidden] = torch.tensor(unseen)[torch.arange(int(hidden.sum())) * 7 % 3 % 2]
            told.features[list(unseen)] = torch.nan
        monkeypatch.setattr(protocol, "features", lambda self, dataset, names, told=told: told)
        scorer = protocol(unseen=("2,5",), method=SMALL).learn(training(x, y))
        told.features.copy_(clean)  # scoring may know them
        found.append(scorer(scored()).figures)
    assert found[0] == found[1]


def test_texts_of_unseen_classes_decide_when_recordings_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above would pass as well if texts had no effect at all."""
    told = texts()
    monkeypatch.setattr(ZeroShotProtocol, "features", lambda self, dataset, names: told)
    # Trained until the noise of samples, which is each class's own, decides nothing.
    long = dataclasses.replace(SMALL, cycles=4, cycle_steps=60, samples=500)
    scorer = ZeroShotProtocol(unseen=("2,5",), method=long).learn(training(*rows(64, seed=3)))
    straight = scorer(scored()).figures["zero-shot 6/2"]
    told.features[[2, 5]] = told.features[[5, 2]]
    assert scorer(scored()).figures["zero-shot 6/2"].accuracy == pytest.approx(1 - straight.accuracy)  # type: ignore[union-attr]
    assert straight.accuracy > 0.9  # type: ignore[union-attr]


def test_ridge_recognises_what_texts_determine(monkeypatch: pytest.MonkeyPatch) -> None:
    told = texts()
    monkeypatch.setattr(ZeroShotProtocol, "features", lambda self, dataset, names: told)
    found = ZeroShotProtocol(count=2, splits=4, method=SMALL).learn(training(*rows(64, seed=3)))(scored()).figures
    figures: Any = found["zero-shot 6/2 x4 ridge"]
    assert figures.accuracy > 0.85 and figures.chance == 0.5 and len(figures.runs) == 4
    assert sorted(label for split in figures.unseen for label in split) == list(range(CLASSES))


# ---------------------------------------------------------------------- class splits


def test_drawn_splits_leave_every_class_out_once_before_one_twice() -> None:
    splits = drawn(range(24), 5, 8, seed=0)
    first, second = (sorted(label for split in part for label in split) for part in (splits[:4], splits[4:]))
    assert len(set(first)) == len(first) == len(set(second)) == 20
    assert drawn(range(5), 2, 45, seed=0) == drawn(range(5), 2, 10, seed=7)
    assert len(drawn(range(10), 2, 45, seed=0)) == 45


def test_published_splits_are_those_of_the_files(recordings_root: Path) -> None:
    folder = recordings_root / "zero_shot" / "label_splits"
    for dataset, splits in PUBLISHED_SPLITS.items():
        for name, unseen in splits.items():
            seen, hidden = name.split("/")
            place = folder / dataset
            assert sorted(np.load(place / f"ru{hidden}.npy").tolist()) == list(unseen)
            assert set(np.load(place / f"rs{seen}.npy").tolist()).isdisjoint(unseen)


def test_splits_from_files_and_names(tmp_path: Path) -> None:
    np.save(tmp_path / "two.npy", np.array([4, 1]))
    (tmp_path / "names.txt").write_text("action 3\naction 6\n")
    words = (str(tmp_path / "two.npy"), str(tmp_path / "names.txt"), "action 0, 7")
    assert named(words, "lab", NAMES) == [(1, 4), (3, 6), (0, 7)]


@pytest.mark.parametrize(
    ("word", "said"),
    {
        ",".join(map(str, range(CLASSES))): r"names all 8 classes, and none is left to learn from",
        "1": "names one class, which no other is told apart from",
        "0,1,2,3,4": "leaves 3 seen classes: leave 4 or more",
        "action 0, action 9": "there is no class 'action 9'; did you mean action",
        "55/5": "there is no class '55/5'",
    }.items(),
)
def test_splits_that_cannot_be(word: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        named([word], "lab", NAMES)


def test_harmonic_mean_against_loops() -> None:
    x, y = torch.zeros(6, 1), torch.tensor([0, 0, 1, 2, 3, 3])
    predicted = torch.tensor([0, 1, 1, 2, 2, 3])  # numbers in the order seen 0 1, unseen 2 3
    split = ClassSplit((0, 1), (2, 3))
    keys = Strings.of(list("abcdef"))
    found = both_sides([split], Scored(x, y, keys, Groups("performances", torch.arange(6))), lambda _, rows: predicted)
    assert (found.on_seen, found.on_unseen) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert found.harmonic == pytest.approx(2 / 3)


# ---------------------------------------------------------------------- commands


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text encoder of the published format with random weights: letters are its words."""
    folder = tmp_path_factory.mktemp("tiny")
    config = {
        "hidden_size": 12, "layer_norm_eps": 1e-12, "vocab_size": 60, "max_position_embeddings": 64,
        "type_vocab_size": 2, "num_attention_heads": 2, "intermediate_size": 8, "num_hidden_layers": 1,
    }  # fmt: skip
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *string.ascii_lowercase, *(f"##{x}" for x in string.ascii_lowercase)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    torch.manual_seed(0)
    weights = {published(name): torch.randn(part.shape) for name, part in BERT(config).state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def model(chain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, because evaluations are written beside the model."""
    return Path(shutil.copytree(chain / "pretrained", tmp_path_factory.mktemp("zero") / "pretrained"))


def evaluated(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    start_choice(evaluate.main, "protocol", evaluate.PROTOCOLS, evaluate.Options, list(words))
    return capsys.readouterr().out


def test_describe_then_evaluate(
    shards: Path, model: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "texts.npy"
    words = ["--data", str(shards), "--output", str(file), "--text.folder", str(tiny)]
    start(describe.main, describe.Options, words)
    assert "32 texts of 16 classes, 12 features" in capsys.readouterr().out
    assert np.load(file).shape == (16, 12)
    np.testing.assert_allclose(np.linalg.norm(np.load(file), axis=1), 1, atol=1e-6)
    start(describe.main, describe.Options, [*words, "--no-average", "--describe", "both"])
    assert np.load(file).shape == (16, 3, 12)

    common = ["--model", str(model), "--data", str(shards), "--texts", str(file), *SMALL_WORDS.split()]
    said = evaluated(capsys, "zero-shot", *common, "--count", "3", "--splits", "2")
    assert "zero-shot 13/3 x2 ridge" in said and "pretrained - chance: " in said
    assert "the encoder's training has seen unseen classes, without labels, in 2 of 2 splits" in said
    again = evaluated(capsys, "zero-shot", *common, "--count", "3", "--splits", "2")
    assert again.splitlines()[:-1] == said.splitlines()[:-1]  # the last one is a time
    found = json.loads(evaluated(capsys, "generalised-zero-shot", *common, "--unseen", "1,4,6", "--json"))
    figures = found["generalised zero-shot 13/3"]
    assert list(figures) == ["pretrained", "random encoder", "raw joints"]
    for each in figures.values():
        s, u = each["on_seen"], each["on_unseen"]
        assert each["harmonic"] == pytest.approx(2 * s * u / (s + u) if s + u else 0)


def test_an_aligned_model_is_registered_and_ranks_any_texts(
    shards: Path, model: Path, tiny: Path, tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    run = tmp_path / "aligned"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    words = ["--model", str(model), "--data", str(shards), "--run", str(run), "--text.folder", str(tiny)]
    start(align.main, align.Options, [*words, "--unseen", "kick,bow", *SMALL_WORDS.split()])
    registered = mlflow.MlflowClient(mlflow_uri).get_model_version("align-aligned", "1")
    assert registered.description == (run / "model" / "README.md").read_text()
    assert registered.run_id == run_id(run) and latest(run)["total_device_hours"] >= latest(run)["device_hours"]
    loaded = bonestrap.load(run)
    assert loaded.description.stage == "aligned" and len(loaded.classes) == 16
    joints = np.random.default_rng(0).normal(0, 0.5, (12, 1, 25, 3)).astype(np.float32)
    ranked = loaded.predict([joints, joints], texts=["limp", "wave both hands", "crawl"])
    assert ranked.shape == (2, 3) and torch.allclose(ranked.sum(1), torch.ones(2))
    swapped = loaded.predict(joints, texts=["wave both hands", "limp", "crawl"])
    assert loaded.predict(joints).shape == (16,)
    assert not torch.equal(swapped, ranked[0])
    again = bonestrap.load(run).predict(joints, texts=["limp", "wave both hands", "crawl"])
    assert torch.equal(again, ranked[0])
    card = (run / "model" / "README.md").read_text()
    assert "- **unseen classes**: kick, bow; the pretraining of the encoder had seen kick, bow" in card
    for texts in ("limp", ["limp"], ["limp", "limp"]):
        with pytest.raises(bonestrap.ModelError, match="texts must be a list of two or more different texts"):
            loaded.predict(joints, texts=texts)
    with pytest.raises(bonestrap.ModelError, match="cannot rank texts: align it first"):
        bonestrap.load(model).predict(joints, texts=["limp", "crawl"])
    (run / "model" / "model.json").write_text((run / "model" / "model.json").read_text().replace(str(tiny), "/nowhere"))
    with pytest.raises(bonestrap.ModelError, match="/nowhere does not hold all-MiniLM-L6-v2"):
        bonestrap.load(run).predict(joints, texts=["limp", "crawl"])


def test_mistakes_are_one_line(shards: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "few.txt").write_text("wave: raise a hand\n")
    (tmp_path / "twice.txt").write_text("wave: raise a hand\nwave: raise a hand\n")
    np.save(tmp_path / "other.npy", np.ones((3, 4), np.float32))
    np.save(tmp_path / "zero.npy", np.zeros((16, 4), np.float32))
    common = ["zero-shot", "--model", str(model), "--data", str(shards)]
    mistakes = {
        "--descriptions " + str(tmp_path / "few.txt"): "few.txt have no text for class 'drink': add a line",
        "--descriptions " + str(tmp_path / "twice.txt"): "line 2: class 'wave' stands there twice; remove one",
        "--texts " + str(tmp_path / "other.npy"): "other.npy is 3 x 4, and there are 16 classes: give one row",
        "--texts " + str(tmp_path / "zero.npy"): "holds features that are zero or not finite",
        "--texts " + str(tmp_path / "none.npy"): "holds no features of texts",
        "--among left-out": "--among left-out: pretraining left out 0 classes",
        "--published": "the paper has no settings for synthetic",
        "--classes": "zero-shot has no figures of single classes",
    }
    for words, said in mistakes.items():
        texts = [] if "--descriptions" in words or "--texts" in words else ["--texts", str(good_texts(tmp_path))]
        with pytest.raises(SystemExit, match="2"):
            evaluated(capsys, *common, *texts, *words.split())
        line = capsys.readouterr().err
        assert said in line and line.count("\n") == 1, line


def good_texts(folder: Path) -> Path:
    file = folder / "good.npy"
    np.save(file, np.random.default_rng(0).normal(size=(16, 5)).astype(np.float32))
    return file


def test_means_over_the_splits_of_several_encoders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A split of two encoders of a stage counts once, with their mean; the rest against the formulas."""
    # By run and method: unseen classes, and accuracies of the model, of a random encoder and of the joints.
    figures: dict[str, dict[str, Any]] = {
        "a": {"": [((0, 1), 0.5, 0.3, 0.4), ((0, 2), 0.9, 0.5, 0.8)],
              " ridge": [((0, 1), 0.5, 0, 0), ((0, 2), 0.7, 0, 0)]},
        "b": {"": [((0, 1), 0.7, 0.3, 0.4), ((1, 2), 0.6, 0.4, 0.9)],
              " ridge": [((0, 1), 0.5, 0, 0), ((1, 2), 0.8, 0, 0)]},
        "c": {"": [((0, 1), 0.2, 0.6, 0.4), ((1, 2), 0.3, 0.6, 0.9), ((0, 2), 0.1, 0.6, 0.8)],
              " ridge": [((0, 1), 0.5, 0, 0), ((1, 2), 0.8, 0, 0), ((0, 2), 0.1, 0, 0)]},
    }  # fmt: skip
    for run, methods in figures.items():
        (tmp_path / run).mkdir()
        for method, rows in methods.items():
            stage = "supervised" if run == "c" else "pretrained"
            told = {
                who: {"unseen": [list(row[0]) for row in rows], "runs": [row[at] for row in rows]}
                for at, who in ((1, stage), (2, "random encoder"), (3, "raw joints"))
            }
            evaluation_file.write(tmp_path / run, {f"zero-shot 3/2{method}": told, "linear": {"pretrained": {}}})
    assert split_means.main([str(tmp_path / run) for run in figures]) == 0
    said = capsys.readouterr().out
    assert "zero-shot 3/2: 3 different class splits, chance 50.0%" in said
    rows = {line.split("  ")[1]: line for line in said.splitlines() if line.startswith("  ")}
    own, joints, ridge = np.array([0.6, 0.9, 0.6]), np.array([0.4, 0.8, 0.9]), np.array([0.5, 0.7, 0.8])
    assert "70.0%" in rows["pretrained"] and "40.0%" in rows["random encoder, as pretrained"]
    assert "60.0%" in rows["random encoder, as supervised"] and "20.0%" in rows["supervised"]
    for row, gaps in (
        ("pretrained - raw joints", own - joints),
        ("pretrained - supervised", own - np.array([0.2, 0.1, 0.3])),
        ("pretrained - chance", own - 0.5),
        ("pretrained", own - ridge),
    ):
        gap, half = gaps.mean(), 4.3027 * gaps.std(ddof=1) / 3**0.5
        assert f"{gap:+.1%} ({gap - half:+.1%} to {gap + half:+.1%})" in rows[row]


def test_means_of_both_sides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = {"unseen": [[0, 1], [0, 2]], "runs": [0.4, 0.6], "harmonic": 0.5, "sides": [[0.8, 0.3], [0.6, 0.7]]}
    evaluation_file.write(tmp_path, {"generalised zero-shot 3/2": {"pretrained": told}})
    assert split_means.main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    row = next(line for line in said.splitlines() if line.startswith("  pretrained"))
    assert row.split()[1] == "50.0%" and row.split()[-2:] == ["70.0%", "50.0%"] and "chance" not in said
    del told["sides"]
    evaluation_file.write(tmp_path, {"generalised zero-shot 3/2": {"pretrained": told}})
    assert split_means.main([str(tmp_path)]) == 2
    assert "kept no figures of seen classes: evaluate it again" in capsys.readouterr().err


def test_means_need_evaluations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert split_means.main([str(tmp_path)]) == 2
    assert "has no zero-shot evaluation: run launch/evaluate.py zero-shot on it" in capsys.readouterr().err
