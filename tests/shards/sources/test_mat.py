"""MATLAB files: UTD-MHAD's skeletons, JHMDB's and Penn Action's annotations, written by scipy as MATLAB would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from bonestrap.layouts import JHMDB15, KINECT20, PENN13
from shards.errors import DataError
from shards.packing.pack import pack
from shards.packing.preprocess import prepare
from shards.sources.mocap.mat import UTD_CLASSES
from shards.sources.pose_formats import Jhmdb, Mat, PennAction

UTD_HEAD = ("head", "shoulder_center", "spine", "hip_center")  # how its list of joints begins


def body(joints: int, numbers: int, frames: int, seed: int = 0, size: float = 0.8) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (
        random.uniform(-size, size, (1, joints, numbers)) + random.normal(0, size / 80, (frames, joints, numbers)) + 3
    )


def test_utd_mhad_names_say_everything(tmp_path: Path) -> None:
    bodies = {}
    for action, subject, time in ((1, 1, 1), (27, 2, 1), (27, 3, 4), (5, 4, 2)):
        bodies[action, subject, time] = found = body(20, 3, 4 + subject, subject)
        path = tmp_path / "in" / f"a{action}_s{subject}_t{time}_skeleton.mat"
        path.parent.mkdir(exist_ok=True)
        savemat(path, {"d_skel": found.transpose(1, 2, 0)})
    source = Mat().open(tmp_path / "in")
    assert (source.layout, source.classes, len(source.classes)) == (KINECT20, UTD_CLASSES, 27)
    for one in source:
        action, subject, time = (int(part[1:]) for part in one.key.split("_")[:3])
        key = action, subject, time
        found = bodies[key]
        assert (one.label, one.subject, one.replication) == (key[0] - 1, key[1], key[2])
        joints = one.views[0].joints
        assert joints.shape == (4 + key[1], 1, 20, 3)
        for place, name in enumerate(UTD_HEAD):
            np.testing.assert_allclose(joints[:, 0, KINECT20.joints.index(name)], found[:, place], rtol=1e-6)
        np.testing.assert_allclose(joints[:, 0, 4:], found[:, 4:], rtol=1e-6)
    parts = {one.subject: one.views[0].splits for one in source}
    assert parts[2] == parts[4] == ("split/test",)
    assert pack(source, tmp_path / "out").frames == sum(len(found) for found in bodies.values())


def test_other_arrays_need_a_name_and_an_order(tmp_path: Path) -> None:
    found = body(25, 3, 6) * 1000
    (tmp_path / "wave").mkdir()
    savemat(tmp_path / "wave" / "one.mat", {"skeleton": found, "rate": 30})
    source = Mat(layout="ntu25", variable="skeleton", axes="TVC", unit="millimetre").open(tmp_path)
    assert source.classes == ("wave",)
    np.testing.assert_allclose(source[0].views[0].joints[:, 0], found / 1000, rtol=1e-6)
    with pytest.raises(DataError, match=r"one\.mat: it holds no variable d_skel"):
        Mat().open(tmp_path)[0]
    with pytest.raises(DataError, match=r"one\.mat: skeleton has 3 joints where the layout has 25"):
        Mat(layout="ntu25", variable="skeleton", axes="TCV").open(tmp_path)[0]


def test_broken_matlab_files_are_named(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"d_skel": body(20, 3, 6).transpose(1, 2, 0)})
    whole = (tmp_path / "a.mat").read_bytes()
    version = whole[:124] + b"\0\2" + whole[126:]
    for data, message in (
        (b"", "not a readable MATLAB file"),
        (whole[:-500], "not a readable MATLAB file"),
        (b"text" * 99, "not a readable MATLAB file"),
        (version, "format 7.3 is not read; save it again with -v7"),
    ):
        (tmp_path / "a.mat").write_bytes(data)
        with pytest.raises(DataError, match=rf"a\.mat: .*{message}") as caught:
            Mat().open(tmp_path)[0]
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"no \.mat files below it"):
        Mat().open(tmp_path / "none")


def test_jhmdb_folders_and_lists(tmp_path: Path) -> None:
    """`joint_positions/CLASS/CLIP/joint_positions.mat`, `splits/CLASS_test_splitN.txt` with 1 for training."""
    bodies = {}
    for action in ("brush_hair", "kick_ball"):
        lines = {1: "", 2: ""}
        for n in range(4):
            clip = f"Clip_{n}_({action})_u_nm_np1"
            found = bodies[f"{action}/{clip}"] = body(15, 2, 5 + n, n, 60.0)
            folder = tmp_path / "in" / "joint_positions" / action / clip
            folder.mkdir(parents=True)
            savemat(folder / "joint_positions.mat", {"pos_img": found.transpose(2, 1, 0), "viewpoint": "W"})
            lines[1] += f"{clip}.avi {1 + (n == 3)}\n"
            lines[2] += f"{clip}.avi {1 + (n == 0)}\n"
        (tmp_path / "in" / "splits").mkdir(exist_ok=True)
        for number, text in lines.items():
            (tmp_path / "in" / "splits" / f"{action}_test_split{number}.txt").write_text(text)
    source = Jhmdb().open(tmp_path / "in")
    assert (source.layout, source.classes, len(source)) == (JHMDB15, ("brush_hair", "kick_ball"), 8)
    for one in source:
        view = one.views[0]
        found = bodies[view.origin]
        assert source.classes[one.label or 0] == view.origin.partition("/")[0]
        np.testing.assert_allclose(view.joints[:, 0, :, :2], found, rtol=1e-6)
        number = int(view.origin.partition("Clip_")[2][0])
        assert ("split1/test" in view.splits, "split2/test" in view.splits) == (number == 3, number == 0)
    assert pack(source, tmp_path / "out").frames == sum(map(len, bodies.values()))
    with pytest.raises(DataError, match=r"no CLASS/CLIP/joint_positions\.mat below it"):
        Jhmdb().open(tmp_path / "out")


def test_penn_action_files_say_class_and_split(tmp_path: Path) -> None:
    bodies = {}
    for n, (action, train) in enumerate((("squat", 1), ("squat", -1), ("bowl", 1), ("bowl", 1))):
        found = bodies[f"{n + 1:04}"] = body(13, 2, 6, n, 80.0)
        visible = np.ones((6, 13))
        visible[2, 5] = 0
        (tmp_path / "labels").mkdir(exist_ok=True)
        held = {"action": action, "train": train, "x": found[..., 0], "y": found[..., 1], "visibility": visible,
                "dimensions": np.array([270, 480, 6]), "pose": "front", "nframes": 6}  # fmt: skip
        savemat(tmp_path / "labels" / f"{n + 1:04}.mat", held)
    source = PennAction().open(tmp_path)
    assert (source.layout, source.classes, len(source)) == (PENN13, ("bowl", "squat"), 4)
    one = source[1]
    assert (source.classes[one.label or 0], one.views[0].splits) == ("squat", ("split/test",))
    np.testing.assert_allclose(one.views[0].joints[:, 0, :, :2], bodies["0002"], rtol=1e-6)
    ready = prepare(one.views[0].joints, source.cleaning, source.layout, "a")
    np.testing.assert_allclose(ready[2, 0, 5], ready[[1, 3], 0, 5].mean(0), atol=1e-5)
