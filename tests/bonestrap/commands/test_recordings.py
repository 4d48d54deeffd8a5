"""`bonestrap embed`, `neighbours` and `predict`, from words to what they write and print."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from bonestrap.commands.main import main
from bonestrap.model import Model
from bonestrap.recordings.features import FeaturesFile
from bonestrap.serialization import save
from tests.bonestrap.recordings.shards_by_hand import packed
from tests.bonestrap.test_model import CLASSES, model, recording


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, shards, and features that were written by the command."""
    folder = tmp_path_factory.mktemp("commands")
    save(folder / "model", model())
    packed(folder / "shards")
    main(["embed", str(folder / "shards"), "--model", str(folder / "model"), "--output", str(folder / "f.npz")])
    return folder


@pytest.fixture(scope="module")
def one() -> Model:
    return model()


def test_embed_writes_features_of_every_recording(place: Path, one: Model) -> None:
    found = FeaturesFile.read(place / "f.npz")
    assert len(found) == 24 and found.key[:3] == ("p00", "p01", "p01") and found.classes == ("bow", "wave", "kick")
    np.testing.assert_allclose(found.features, one.embed(place / "shards").numpy(), atol=1e-5)
    assert found.about["data"] == "nw-ucla" and found.about["stage"] == "teacher"
    assert sorted(path.name for path in place.iterdir()) == ["f.npz", "model", "shards"]


def test_neighbours_of_a_recording(place: Path, one: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features = one.embed(place / "shards")
    features = features / features.norm(dim=1, keepdim=True)
    wanted = (features @ features[2]).argsort(descending=True)
    known = FeaturesFile.read(place / "f.npz")
    names = [f"{known.key[row]}.{known.view[row]}" for row in wanted.tolist()]
    main(["neighbours", str(place / "f.npz"), "--key", "p01.c2", "--count", "3"])
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "nearest to p01.c2, wave" and names[0] == "p01.c2"
    assert [line.split()[1] for line in lines] == names[1:4]
    joints = recording(12, seed=5)
    np.save(tmp_path / "mine.npy", joints)
    words = ["--joints", str(tmp_path / "mine.npy"), "--model", str(place / "model"), "--count", "2"]
    main(["neighbours", str(place / "f.npz"), *words])
    best = (features @ torch.nn.functional.normalize(one.embed(joints), dim=0)).argmax()
    assert capsys.readouterr().out.split()[1] == f"{known.key[best]}.{known.view[best]}"


def test_predict_names_the_likeliest_classes(
    place: Path, one: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", recording(9 + number, seed=number))
        files.append(str(tmp_path / f"{number}.npy"))
    main(["predict", *files, "--model", str(place / "model"), "--top", "2"])
    lines = capsys.readouterr().out.splitlines()
    for number, (file, line) in enumerate(zip(files, lines, strict=True)):
        probabilities = one.predict(recording(9 + number, seed=number))
        likeliest = probabilities.argsort(descending=True)[:2].tolist()
        said = "  ".join(f"{CLASSES[label]} {probabilities[label]:.3f}" for label in likeliest)
        assert line == f"{file}  {said}"


def test_predict_writes_a_table_of_a_folder(place: Path, one: Model, tmp_path: Path) -> None:
    table = tmp_path / "p.csv"
    main(["predict", str(place / "shards"), "--model", str(place / "model"), "--output", str(table)])
    with table.open() as file:
        rows = list(csv.DictReader(file))
    wanted = one.predict(place / "shards")
    assert [row["recording"] for row in rows][:3] == ["p00.c1", "p01.c1", "p01.c2"] and len(rows) == 24
    found = np.array([[float(row[name]) for name in CLASSES] for row in rows])
    np.testing.assert_allclose(found, wanted.numpy(), atol=2e-6)
    assert [row["predicted"] for row in rows] == [CLASSES[label] for label in wanted.argmax(1)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("embed {0}/shards --model {0}/model --output f.csv", "f.csv must end with .parquet or .npz"),
        ("embed {0}/nothing --model {0}/model --output f.npz", "manifest.json does not exist: name a finished folder"),
        ("embed {0}/shards --model {0}/model --output f.npz --batch-size 0", "batch_size must be 1 or more, got 0"),
        ("embed {0}/shards --model {0}/model --output {0}/no/f.npz", "no such file or directory"),
        ("neighbours {0}/f.npz", "give --key, or --joints and --model"),
        ("neighbours {0}/f.npz --key p99", "--key: no recording is called p99; did you mean p0"),
        ("neighbours {0}/f.npz --key p01 --count 0", "--count must be 1 or more, got 0"),
        ("predict {0}/shards {0}/shards --model {0}/model", "give one folder of shards, or files"),
        ("predict {0}/f.npz --model {0}/model", "f.npz is no array of joints"),
        ("predict {0}/none.npy --model {0}/model", "none.npy: no such file or directory"),
        ("predict {0}/shards --model {0}/shards", "model.json does not exist"),
    ],
)
def test_a_mistake_is_one_sentence(place: Path, capsys: pytest.CaptureFixture[str], words: str, said: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words.format(place).split())
    error = capsys.readouterr().err.splitlines()
    assert said in error[-1] and error[-1].startswith(f"bonestrap {words.split(maxsplit=1)[0]}: ")
