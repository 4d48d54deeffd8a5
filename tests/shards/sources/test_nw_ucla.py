"""The NW-UCLA adapter against the recordings and the index that describes them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from shards.errors import DataError
from shards.manifest import Manifest
from shards.reader import Resident
from shards.sources.datasets.nw_ucla import NWUCLA


def write(path: Path, skeletons: object) -> Path:
    path.write_text(json.dumps({"file_name": path.stem, "skeletons": skeletons, "label": 1}))
    return path


def person(frames: int, seed: int = 0) -> list:
    return np.random.default_rng(seed).normal(0, 0.4, (frames, 20, 3)).tolist()


def test_files_become_performances(tmp_path: Path) -> None:
    write(tmp_path / "a08_s03_e01_v02.json", person(4))
    write(tmp_path / "a08_s03_e01_v01.json", person(6, seed=1))
    write(tmp_path / "a12_s10_e00_v03.json", person(5))
    first, second = NWUCLA(tmp_path)
    assert (first.key, first.label, first.subject, first.replication) == ("a08_s03_e01", 6, 3, 1)
    assert [(view.camera, view.joints.shape) for view in first.views] == [(1, (6, 1, 20, 3)), (2, (4, 1, 20, 3))]
    np.testing.assert_array_equal(first.views[1].joints[:, 0], np.array(person(4), dtype=np.float32))
    assert (second.label, second.subject, second.views[0].origin) == (9, 10, "a12_s10_e00_v03.json")


def test_joints_as_the_camera_sees_them(tmp_path: Path) -> None:
    """x and y over the depth, y down; a joint that the tracker puts into the camera lies where one 0.4 m away would."""
    body = np.random.default_rng(0).uniform(-1, 1, (4, 20, 3)) + np.array([0, 0, 3])
    body[2, 7] = 0.2, -0.1, -0.05
    write(tmp_path / "a08_s03_e01_v02.json", body.tolist())
    source = NWUCLA(tmp_path, planar=True)
    assert (source.layout.coordinates, source.layout.name, NWUCLA.layout.coordinates) == (2, "kinect20-planar", 3)
    found = source[0].views[0].joints[:, 0]
    for frame, joint in np.ndindex(4, 20):
        x, y, z = body[frame, joint]
        expected = (0.5, 0.25) if (frame, joint) == (2, 7) else (x / z, -y / z)
        np.testing.assert_allclose(found[frame, joint], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [("a07_s01_e00_v01", "has no action 07"), ("a01_s01_e00_vx", "names are aAA_sSS_eEE_vVV.json")],
)
def test_a_foreign_name_is_named(tmp_path: Path, name: str, message: str) -> None:
    write(tmp_path / f"{name}.json", person(3))
    with pytest.raises(DataError, match=rf"{name}\.json: .*{message}"):
        NWUCLA(tmp_path)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path}: no aAA_sSS_eEE_vVV.json files; give the folder .*--input"):
        NWUCLA(tmp_path)


@pytest.mark.parametrize("text", ["", '{"skeletons": [[1, 2], [3]]}', '{"label": 1}', "[]"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a01_s01_e00_v01.json").write_text(text)
    with pytest.raises(DataError, match=r"a01_s01_e00_v01\.json: not a readable NW-UCLA recording"):
        list(NWUCLA(tmp_path))


def test_the_recordings_are_those_of_the_index(recordings_root: Path, ucla: Path) -> None:
    manifest = Manifest.read(ucla)
    assert (manifest.performances, manifest.views, manifest.dropped) == (548, 1484, ())
    data = Resident.load(ucla)
    with (recordings_root / "nw_ucla" / "index.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    found = {}
    for view, p in enumerate(data.view_performance):
        name = f"{data.performance_key[p]}_v{data.view_camera[view]:02}"
        found[name] = (
            str(data.performance_label[p]),
            manifest.classes[data.performance_label[p]],
            str(data.performance_subject[p]),
            str(data.view_length[view]),
            bool(data.view_copy[view]),
        )
    expected = {
        name: (row["label"], row["label_name"], row["subject"], row["n_frames"], row["dup_of"] != "")
        for name, row in rows.items()
    }
    assert found == expected
