"""BVH: forward kinematics against scipy's rotations and against published joints, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from shards.errors import DataError
from shards.packing.pack import pack
from shards.reader import Resident
from shards.sources.mocap import bvh
from shards.sources.pose_formats import Bvh

# name, parent, offset in centimetres, order of rotations
TREE = [
    ("Reference", -1, (0, 0, 0), "ZYX"),
    ("Hips", 0, (0, 90, 0), "ZXY"),
    ("Spine", 1, (0, 20, 1), "XYZ"),
    ("Neck", 2, (0, 30, 0), "YXZ"),
    ("LeftArm", 2, (15, 25, 0), "ZXY"),
    ("LeftForeArm", 4, (28, 0, 0), "YZX"),
    ("RightArm", 2, (-15, 25, 0), "ZXY"),
    ("RightForeArm", 6, (-28, 0, 0), "XZY"),
    ("LeftUpLeg", 1, (10, -5, 0), "ZXY"),
    ("RightUpLeg", 1, (-10, -5, 0), "ZXY"),
]
POSITIONS = ("Reference", "Hips", "Neck")  # joints with six channels


def block(index: int) -> str:
    name, parent, offset, order = TREE[index]
    names = [f"{axis}position" for axis in "XYZ"] if name in POSITIONS else []
    names += [f"{axis}rotation" for axis in order]
    children = "".join(block(child) for child, joint in enumerate(TREE) if joint[1] == index)
    inside = children or "End Site\n{\nOFFSET 1 2 3\n}\n"
    kind = "ROOT" if parent < 0 else "JOINT"
    place = " ".join(map(str, offset))
    return f"{kind} {name}\n{{\nOFFSET {place}\nCHANNELS {len(names)} {' '.join(names)}\n{inside}}}\n"


def write(path: Path, frames: int = 6, seed: int = 0, seconds: float = 1 / 30, tree: str = "") -> np.ndarray:
    """A file of random movements, and the places of its joints: (T, V, 3), found by another way."""
    random = np.random.default_rng(seed)
    turns = random.uniform(-170, 170, (frames, len(TREE), 3))
    moves = random.uniform(-50, 50, (frames, len(TREE), 3))
    places = np.zeros((frames, len(TREE), 3))
    lines = []
    for t in range(frames):
        whole: list[np.ndarray] = []
        line: dict[int, list[float]] = {}
        for v, (name, parent, offset, order) in enumerate(TREE):
            local = np.eye(4)
            local[:3, :3] = Rotation.from_euler(order, turns[t, v], degrees=True).as_matrix()  # capitals: intrinsic
            local[:3, 3] = moves[t, v] if name in POSITIONS else offset
            whole.append(local if parent < 0 else whole[parent] @ local)
            places[t, v] = whole[v][:3, 3]
            line[v] = ([*moves[t, v]] if name in POSITIONS else []) + [*turns[t, v]]
        order_of_file = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]  # the tree is written depth first
        lines.append(" ".join(f"{number:.9g}" for v in order_of_file for number in line[v]))
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f"HIERARCHY\n{tree or block(0)}MOTION\nFrames: {frames}\nFrame Time: {seconds:.7f}\n"
    path.write_text(head + "\n".join(lines) + "\n")
    return places


def test_joints_follow_from_offsets_and_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = write(tmp_path / "a.bvh")
    head = bvh.head(tmp_path / "a.bvh")
    assert head.names == tuple(joint[0] for joint in TREE[1:]) and abs(head.rate - 30) < 0.01
    for frames in (bvh.FRAMES, 4):  # at once, and in parts
        monkeypatch.setattr(bvh, "FRAMES", frames)
        joints = bvh.joints(tmp_path / "a.bvh")
        np.testing.assert_allclose(joints, expected[:, 1:][..., [2, 0, 1]], atol=1e-5)


def test_all_published_samples_are_their_published_joints(recordings_root: Path) -> None:
    files = sorted((recordings_root / "bvh_samples").glob("*.bvh"))
    assert len(files) == 69
    for file in files:
        known = np.load(recordings_root / "corpus/bandai/recordings" / f"{file.stem}.npy")
        joints = bvh.joints(file) / 100
        joints[..., :2] -= joints[0, 0, :2]  # the published joints begin above the origin
        assert joints.shape == known.shape, file.name
        difference = np.abs(joints - known)
        rounding = np.spacing(np.abs(known)).astype(np.float64) / 2  # they are float16
        assert (difference <= rounding + 1e-4).all(), file.name
        assert difference[np.abs(known) < 4].max() < 0.002, file.name


def test_a_folder_is_packed_with_its_classes(tmp_path: Path) -> None:
    places = {
        name: write(tmp_path / "in" / f"{name}.bvh", 4 + n, n) for n, name in enumerate(["run/1", "run/2", "sit/1"])
    }
    source = Bvh().open(tmp_path / "in")
    assert (source.classes, [source[n].label for n in range(3)]) == (("run", "sit"), [0, 0, 1])
    assert source.layout.joints == tuple(joint[0] for joint in TREE[1:])
    assert [source.layout.joints[joint] for joint in source.layout.shoulders] == ["RightArm", "LeftArm"]
    views = {source.key(n): source[n].views[0] for n in range(3)}
    assert {key: view.joints.shape for key, view in views.items()} == {
        "run-1": (4, 1, 9, 3), "run-2": (5, 1, 9, 3), "sit-1": (6, 1, 9, 3),
    }  # fmt: skip
    np.testing.assert_allclose(views["sit-1"].joints[:, 0], places["sit/1"][:, 1:][..., [2, 0, 1]] / 100, atol=1e-5)
    manifest = pack(source, tmp_path / "out")
    assert (manifest.performances, manifest.frames, manifest.dropped, manifest.rate) == (3, 15, (), 30)
    packed = Resident.load(tmp_path / "out")
    assert packed.manifest.layout == source.layout
    assert Bvh(labels="none").open(tmp_path / "in").classes == ()


def test_rates_are_compared_and_brought_to_one(tmp_path: Path) -> None:
    slow = write(tmp_path / "a.bvh", 7, seconds=1 / 30)
    fast = write(tmp_path / "b.bvh", 13, seconds=1 / 60)
    mixed = Bvh().open(tmp_path)
    assert [notice for notice in mixed.notices if "30 to 60 frames a second" in notice and "--rate 30" in notice]
    source = Bvh(rate=30.0).open(tmp_path)
    assert (source.notices, source.rate, mixed.rate) == ((), 30, None)
    np.testing.assert_allclose(source[0].views[0].joints[:, 0], slow[:, 1:][..., [2, 0, 1]] / 100, atol=1e-5)
    np.testing.assert_allclose(source[1].views[0].joints[:, 0], fast[::2, 1:][..., [2, 0, 1]] / 100, atol=1e-5)
    half = Bvh(rate=120.0).open(tmp_path)[1].views[0].joints[:, 0]
    middle = (fast[:-1, 1:] + fast[1:, 1:])[..., [2, 0, 1]] / 200
    assert half.shape[0] == 25
    np.testing.assert_allclose(half[1::2], middle, atol=1e-4)


def test_units_are_checked_and_a_layout_chooses_joints(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.bvh")
    with pytest.raises(DataError, match=r"a\.bvh: bodies measure .* give --unit centimetre"):
        Bvh(unit="metre").open(tmp_path / "in")[0]
    layout = tmp_path / "layout.json"
    layout.write_text(
        """{"name": "few", "joints": ["neck", "left_arm", "right_arm", "hips"], "root": "hips",
        "bones": [["neck", "hips"], ["left_arm", "neck"], ["right_arm", "neck"]],
        "spine": ["hips", "neck"], "shoulders": ["right_arm", "left_arm"]}"""
    )
    whole = Bvh().open(tmp_path / "in")[0].views[0].joints
    few = Bvh(layout=str(layout)).open(tmp_path / "in")[0].views[0].joints
    np.testing.assert_array_equal(few, whole[:, :, [2, 3, 5, 0]])
    layout.write_text(layout.read_text().replace("hips", "pelvis"))
    with pytest.raises(DataError, match=r"a\.bvh: no joint pelvis among its 9 \(layout few\)"):
        Bvh(layout=str(layout)).open(tmp_path / "in")[0]


def broken(text: str, fault: str) -> str:
    """The text of a file, broken."""
    return {
        "empty": "",
        "cut": text[: len(text) - 200],
        "cut hierarchy": text[:300],
        "no motion": text.replace("MOTION", ""),
        "two roots": text.replace("MOTION", block(0) + "MOTION"),
        "channel": text.replace("Xrotation", "Wrotation", 1),
        "number": text.rsplit(" ", 1)[0] + " x\n",
        "not finite": text.rsplit(" ", 1)[0] + " nan\n",
        "no rate": text.replace("Frame Time: 0.0333333", "Frame Time: 0"),
    }[fault]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("empty", "no HIERARCHY"),
        ("cut", r"numbers, and 6 frames of 39 channels have 234"),
        ("cut hierarchy", "no HIERARCHY"),
        ("no motion", "no HIERARCHY"),
        ("two roots", "ROOT Reference where it cannot be: a file holds one body"),
        ("channel", "the CHANNELS of .* are not"),
        ("number", "could not convert string to float"),
        ("not finite", "a number that is not finite"),
        ("no rate", "no Frames and Frame Time"),
    ],
)
def test_a_broken_file_is_named_or_dropped(tmp_path: Path, fault: str, message: str) -> None:
    write(tmp_path / "in" / "a.bvh")
    write(tmp_path / "in" / "b.bvh")
    (tmp_path / "in" / "a.bvh").write_text(broken((tmp_path / "in" / "b.bvh").read_text(), fault))
    source = Bvh().open(tmp_path / "in")
    with pytest.raises(DataError, match=rf"a\.bvh: not a readable \.bvh file \(.*{message}.*; repair or remove it"):
        source[0]
    if fault == "cut":
        manifest = pack(source, tmp_path / "out", broken="drop")
        assert (manifest.performances, [file for file, _ in manifest.dropped]) == (1, ["a"])


def test_other_bodies_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.bvh files below it"):
        Bvh().open(tmp_path)
    write(tmp_path / "a.bvh")
    write(tmp_path / "b.bvh", tree=block(0).replace("Neck", "Nick"))
    with pytest.raises(DataError, match=r"b\.bvh: no joint Neck among its 9 \(layout bvh\)"):
        Bvh().open(tmp_path)[1]
    (tmp_path / "a.bvh").unlink()
    write(tmp_path / "b.bvh", tree=block(0).replace("Arm", "Wing"))
    with pytest.raises(DataError, match=r"b\.bvh: its joints do not say by their names .* give --layout"):
        Bvh().open(tmp_path)
