"""The SBU adapter against the recordings, the index that describes them, and the floor that raw joints reach."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bonestrap.layouts import SBU15
from bonestrap.protocols.features import extract
from bonestrap.protocols.floor import RawJoints, kernel_ridge, raw_pipeline
from shards.errors import DataError
from shards.packing.pack import pack
from shards.reader import Resident
from shards.sources.datasets.sbu import ACTIONS, SBU
from shards.splits import find

FOLDS = [f"fold-{number}" for number in range(1, 6)]


def write(root: Path, folder: str, rows: np.ndarray) -> Path:
    path = root / folder / "skeleton_pos.txt"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(",".join(f"{number:.6g}" for number in row) for row in rows) + "\n")
    return path


def frames(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([np.arange(55, 55 + count)[:, None], rng.uniform(0, 2, (count, 90))], axis=1)


def test_a_file_is_two_persons_in_metres(tmp_path: Path) -> None:
    rows = frames(7)
    write(tmp_path, "s03s02/04/002", rows)
    write(tmp_path, "s01s07/08/001", rows[:1])
    first, second = SBU(tmp_path)
    assert (first.key, first.label, first.subject, first.replication) == ("s01s07_08_001", 7, 107, 1)
    assert (second.key, second.label, second.subject, second.replication) == ("s03s02_04_002", 3, 302, 2)
    (view,) = second.views
    assert view.joints.shape == (7, 2, 15, 3) and view.joints.dtype == np.float32
    assert first.views[0].joints.shape == (1, 2, 15, 3)
    x, y, z = rows[3, 1 + 3 * (15 + 6) : 4 + 3 * (15 + 6)]  # frame 3, second person, right shoulder
    expected = [(1280 - 2560 * x) / 1000, (960 - 1920 * y) / 1000, 10000 * z / 7.8125 / 1000]
    np.testing.assert_allclose(view.joints[3, 1, 6], expected, rtol=1e-5)
    assert view.origin == "s03s02/04/002/skeleton_pos.txt" and SBU15.joints[6] == "right_shoulder"


@pytest.mark.parametrize(
    ("folder", "message"),
    [("s01s02/09/001", "SBU has no class 09"), ("s01s2/01/001", "SBU's folders are sXXsYY/CC/NNN")],
)
def test_a_foreign_folder_is_named(tmp_path: Path, folder: str, message: str) -> None:
    write(tmp_path, folder, frames(2))
    with pytest.raises(DataError, match=rf"{folder}/skeleton_pos\.txt: {message}"):
        SBU(tmp_path)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no sXXsYY/CC/NNN/skeleton_pos\.txt below it"):
        SBU(tmp_path)


@pytest.mark.parametrize("text", ["", "1,2,3\n", "55" + ",x" * 90, "55" + ",1" * 89, "55" + ",1" * 90 + "\n56,1"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    write(tmp_path, "s01s02/01/001", frames(2)).write_text(text)
    with pytest.raises(DataError, match=r"s01s02/01/001/skeleton_pos\.txt: not lines of 91 numbers"):
        list(SBU(tmp_path))


@pytest.fixture(scope="module")
def shards(recordings_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sbu") / "shards"
    pack(SBU(recordings_root / "sbu"), folder)
    return folder


def test_the_recordings_are_those_of_the_index(recordings_root: Path, shards: Path) -> None:
    data = Resident.load(shards)
    with (recordings_root / "sbu" / "index.csv").open() as file:
        expected = {row["id"]: (row["label_name"], row["n_frames"], row["n_persons"]) for row in csv.DictReader(file)}
    found = {
        key: (ACTIONS[data.performance_label[p]], str(data.view_length[p]), str(data.view_bodies[p]))
        for p, key in enumerate(data.performance_key)
    }
    assert found == expected and len(found) == len(data) == 282


def test_the_five_folds_are_the_published_ones(recordings_root: Path, shards: Path) -> None:
    folds = json.loads((recordings_root / "sbu" / "meta.json").read_text())["splits"]["folds"]
    views = Resident.load(shards).views
    pairs = [key.partition("_")[0] for key in views.key]
    tested = np.zeros(282, dtype=int)
    for name, fold in zip(FOLDS, folds, strict=True):
        rule = find("sbu", name)
        test = rule.test(views)
        assert {pair for pair, chosen in zip(pairs, test, strict=True) if chosen} == set(fold)
        np.testing.assert_array_equal(rule.train(views), ~test)
        tested += test
        assert set(views.label[rule.held_out(views)]) == set(range(8)) == set(views.label[rule.fit(views)])
    assert (tested == 1).all()


def test_raw_joints_reach_the_known_floor(shards: Path) -> None:
    """Kernel ridge regression on the joints themselves: .91 in five folds, as others found with code of their own."""
    data = Resident.load(shards)
    x = extract(RawJoints(), raw_pipeline(data.layout), [data.recordings(range(len(data)))])
    y = data.labels(range(len(data)))
    right = 0.0
    for name in FOLDS:
        train, test = (torch.from_numpy(part(data.views)) for part in (find("sbu", name).train, find("sbu", name).test))
        fitted = kernel_ridge(x[train], y[train], 8, 0.001)
        right += float((fitted.predict(x[test]) == y[test]).sum())
    assert right / len(y) == pytest.approx(0.91, abs=0.02)
