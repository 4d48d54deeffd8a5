"""Files of features: what is read is what was written, by others' readers too, and neighbours are those of numpy."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bonestrap.options import UserError
from bonestrap.recordings.features import FeaturesFile


def some(count: int = 30) -> FeaturesFile:
    rng = np.random.default_rng(0)
    return FeaturesFile(
        key=tuple(f"p{row // 2:02}" for row in range(count)),
        view=tuple(f"c{1 + row % 2}" for row in range(count)),
        label=rng.integers(-1, 3, count),
        subject=rng.integers(-1, 5, count),
        camera=1 + np.arange(count) % 2,
        features=rng.normal(size=(count, 8)).astype(np.float32),
        classes=("bow", "wave", "kick"),
        about={"data": "people", "stage": "pretrained"},
    )


@pytest.mark.parametrize("name", ["f.parquet", "f.npz"])
def test_a_round_trip(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    written = some()
    written.write(tmp_path / name)
    found = FeaturesFile.read(tmp_path / name)
    for field in dataclasses.fields(FeaturesFile):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(written, field.name))
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_other_readers_see_plain_columns(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    written = some()
    written.write(tmp_path / "f.parquet")
    table = pq.read_table(tmp_path / "f.parquet")
    assert table.column_names == ["key", "view", "label", "class", "subject", "camera", "features"]
    for row, found in enumerate(table.to_pylist()):
        label = int(written.label[row])
        assert found["label"] == (label if label >= 0 else None)
        assert found["class"] == (written.classes[label] if label >= 0 else None)
        assert found["features"] == written.features[row].tolist() and found["key"] == written.key[row]
    assert json.loads(table.schema.metadata[b"bonestrap"])["data"] == "people"
    written.write(tmp_path / "f.npz")
    plain = np.load(tmp_path / "f.npz")
    np.testing.assert_array_equal(plain["features"], written.features)
    assert plain["class"].tolist() == written.titles


def test_neighbours_are_those_of_a_loop() -> None:
    known = some()
    queries = np.random.default_rng(1).normal(size=(4, 8))
    rows, similarity = known.nearest(queries, 5)
    for query, found, near in zip(queries, rows, similarity, strict=True):
        cosine = [float(query @ row / np.sqrt((query @ query) * (row @ row))) for row in known.features.astype(float)]
        wanted = sorted(range(len(known)), key=lambda row: -cosine[row])[:5]
        assert found.tolist() == wanted
        np.testing.assert_allclose(near, [cosine[row] for row in wanted], atol=1e-6)
    assert known.nearest(known.features[7], 1)[0].tolist() == [[7]]
    assert known.nearest(known.features[7], 99)[0].shape == (1, 30)


def test_what_cannot_be_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"features.csv must end with .parquet or .npz"):
        some().write(tmp_path / "features.csv")
    with pytest.raises(UserError, match="does not exist: bonestrap embed writes features"):
        FeaturesFile.read(tmp_path / "f.npz")
    for name in ("f.npz", "f.parquet"):
        (tmp_path / name).write_bytes(b"PAR1 or PK")
        with pytest.raises(UserError, match="holds no features"):
            FeaturesFile.read(tmp_path / name)
    np.savez(tmp_path / "f.npz", a=1)
    with pytest.raises(UserError, match=r"holds no features \(it holds no array key\)"):
        FeaturesFile.read(tmp_path / "f.npz")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UserError, match=r"\.parquet needs pyarrow, which is not installed"):
        some().write(tmp_path / "f.parquet")
