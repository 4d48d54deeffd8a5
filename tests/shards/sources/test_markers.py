"""C3D, TRC, Pose2Sim and FreeMoCap: files written here from the published descriptions, and files that are none."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bonestrap.layouts import MEDIAPIPE33, PLUG_IN_GAIT39, POSE2SIM22
from shards.errors import DataError
from shards.packing.pack import pack
from shards.packing.preprocess import prepare
from shards.sources.pose_formats import C3d, FreeMoCap, Pose2Sim, Trc

# The labels of the full body of Plug-in Gait, and those of Pose2Sim's skeleton HALPE_26.
VICON_NAMES = """
LFHD RFHD LBHD RBHD C7 T10 CLAV STRN RBAK LSHO LUPA LELB LFRM LWRA LWRB LFIN RSHO RUPA RELB RFRM RWRA RWRB RFIN
LASI RASI LPSI RPSI LTHI LKNE LTIB LANK LHEE LTOE RTHI RKNE RTIB RANK RHEE RTOE
"""
POSE2SIM_NAMES = """
Hip RHip RKnee RAnkle RBigToe RSmallToe RHeel LHip LKnee LAnkle LBigToe LSmallToe LHeel Neck Head Nose RShoulder RElbow
RWrist LShoulder LElbow LWrist
"""
VICON, POSE2SIM = VICON_NAMES.split(), POSE2SIM_NAMES.split()


def walk(joints: int, frames: int, seed: int = 0) -> np.ndarray:
    """(T, V, 3) millimetres."""
    random = np.random.default_rng(seed)
    return random.uniform(-800, 800, (1, joints, 3)) + random.normal(0, 5, (frames, joints, 3)).cumsum(0)


# ---------------------------------------------------------------------- C3D


def parameter(order: str, group: int, name: str, kind: int, shape: Sequence[int], data: bytes) -> bytes:
    body = struct.pack(f"{order}bB", kind, len(shape)) + bytes(shape) + data + b"\0"
    return bytes([len(name), group]) + name.encode() + struct.pack(f"{order}h", len(body) + 2) + body


def dec(numbers: np.ndarray) -> bytes:
    """VAX F: the exponent two more, the halves exchanged."""
    return (np.asarray(numbers, "<f4") * 4).astype("<f4").view("<u2").reshape(-1, 2)[:, ::-1].tobytes()


def c3d(
    path: Path, points: np.ndarray, labels: Sequence[str], *, processor: int = 84, scale: float = -1.0,
    rate: float = 100.0, unit: str = "mm", analog: int = 3, long: bool = False,
) -> None:  # fmt: skip
    """A file as the format's description has it; NaN points are marked as not seen."""
    frames, count = points.shape[:2]
    order = ">" if processor == 86 else "<"

    def floats(numbers: np.ndarray | Sequence[float]) -> bytes:
        return dec(np.asarray(numbers)) if processor == 85 else np.asarray(numbers, f"{order}f4").tobytes()

    def words(*numbers: int) -> bytes:
        return np.array(numbers).astype(np.uint16).astype(f"{order}u2").tobytes()

    text = "".join(label.ljust(8) for label in labels).encode()
    records = b"".join(
        [
            bytes([5, 256 - 1]) + b"POINT" + struct.pack(f"{order}h", 4) + b"\1p",
            parameter(order, 1, "USED", 2, (), words(count)),
            parameter(order, 1, "LABELS", -1, (8, count), text),
            parameter(order, 1, "UNITS", -1, (4,), unit.ljust(4).encode()),
            parameter(order, 1, "RATE", 4, (), floats([rate])),
            parameter(order, 1, "SCALE", 4, (), floats([scale])),
            bytes([5, 256 - 2]) + b"TRIAL" + struct.pack(f"{order}h", 3) + b"\0",
        ]
    )
    if long:
        for name, frame in (("ACTUAL_START_FIELD", 1), ("ACTUAL_END_FIELD", frames)):
            records += parameter(order, 2, name, 2, (2,), words(frame % 2**16, frame // 2**16))
    records += b"\0\0"
    blocks = -(-(4 + len(records)) // 512)
    section = (bytes([1, 0x50, blocks, processor]) + records).ljust(512 * blocks, b"\0")
    header = bytes([2, 0x50]) + words(count, analog, 1, min(frames, 65535), 10) + floats([scale])
    header += words(2 + blocks, 1) + floats([rate])
    seen = np.isfinite(points).all(-1)
    whole = np.zeros((frames, 4 * count + analog))
    stored = np.nan_to_num(points) / (1 if scale < 0 else scale)
    whole[:, : 4 * count] = np.concatenate([stored, np.where(seen, 2, -1)[..., None]], -1).reshape(frames, -1)
    data = floats(whole) if scale < 0 else np.round(whole).astype(f"{order}i2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.ljust(512, b"\0") + section + data)


@pytest.mark.parametrize("processor", [84, 85, 86], ids=["Intel", "DEC", "MIPS"])
@pytest.mark.parametrize("scale", [-1.0, 0.1], ids=["floats", "integers"])
def test_c3d_holds_markers_of_any_processor(tmp_path: Path, processor: int, scale: float) -> None:
    points = walk(39, 7)
    points[3, 5] = np.nan
    c3d(tmp_path / "walk" / "a.c3d", points, VICON, processor=processor, scale=scale)
    source = C3d().open(tmp_path)
    assert (source.layout, source.classes, source.notices) == (PLUG_IN_GAIT39, ("walk",), ())
    joints = source[0].views[0].joints
    assert joints.shape == (7, 1, 39, 3) and np.isnan(joints[3, 0, 5]).all()
    np.testing.assert_allclose(joints[:, 0], points / 1000, atol=1e-4 if scale > 0 else 1e-6)
    ready = prepare(joints, source.cleaning, source.layout, "a")
    assert ready.shape == joints.shape and np.isfinite(ready).all()


def test_c3d_units_names_of_subjects_and_long_recordings(tmp_path: Path) -> None:
    points = walk(39, 4) / 1000
    c3d(tmp_path / "a.c3d", points, [f"E:{label}" for label in VICON], unit="m", analog=0)
    np.testing.assert_allclose(C3d().open(tmp_path)[0].views[0].joints[:, 0], points, atol=1e-6)
    long = np.tile(walk(2, 1), (66_000, 1, 1))
    c3d(tmp_path / "long" / "b.c3d", long, ["LSHO", "RSHO"], long=True)
    layout = tmp_path / "layout.json"
    layout.write_text(
        '{"name": "two", "joints": ["LSHO", "RSHO"], "bones": [["LSHO", "RSHO"]], "root": "LSHO",'
        '"spine": ["LSHO", "RSHO"], "shoulders": ["RSHO", "LSHO"]}'
    )
    assert C3d(layout=str(layout)).open(tmp_path / "long")[0].views[0].joints.shape == (66_000, 1, 2, 3)


def test_c3d_may_hold_several_subjects_and_a_ball(tmp_path: Path) -> None:
    points = walk(39 * 2 + 3, 5)
    points[:2, 39:78] = np.nan  # the second comes later
    labels = [f"A:{label}" for label in VICON] + [f"B:{label}" for label in VICON] + ["Ball:1", "Ball:2", "*7"]
    c3d(tmp_path / "a.c3d", points, labels)
    source = C3d().open(tmp_path)
    joints = source[0].views[0].joints
    assert joints.shape == (5, 2, 39, 3) and source.rate == 100
    np.testing.assert_allclose(joints.reshape(5, 78, 3), points[:, :78] / 1000, atol=1e-6)
    assert prepare(joints, source.cleaning, source.layout, "a").shape == (5, 2, 39, 3)


def test_c3d_damage_is_named(tmp_path: Path) -> None:
    c3d(tmp_path / "a.c3d", walk(39, 4), VICON)
    c3d(tmp_path / "b.c3d", walk(39, 4), VICON)
    whole = (tmp_path / "a.c3d").read_bytes()
    faults = {
        b"": "no header of a C3D file",
        b"text" * 500: "no header of a C3D file",
        whole[:-100]: "4 frames of 636 bytes, and 2444 bytes hold them",
        whole[:600]: "no header|damaged|names of|bytes hold them",
        whole[:515] + b"\7" + whole[516:]: "no parameters where its header says",
        whole[:2] + b"\0\0" + whole[4:]: "it has no markers",
        whole[:2] + b"\x30\0" + whole[4:]: "39 names of 48 markers",
        whole[:8] + b"\0\0" + whole[10:]: "its frames end at 0",
    }
    for data, message in faults.items():
        (tmp_path / "a.c3d").write_bytes(data)
        with pytest.raises(DataError, match=rf"a\.c3d: not a readable \.c3d file \(.*({message})"):
            C3d().open(tmp_path)[0]
    (tmp_path / "a.c3d").unlink()
    c3d(tmp_path / "b.c3d", walk(39, 4), ["M" + label for label in VICON])
    with pytest.raises(DataError, match=r"b\.c3d: its 39 markers \(MLFHD, .* give --layout"):
        C3d().open(tmp_path)


# ---------------------------------------------------------------------- TRC


def trc(
    path: Path, points: np.ndarray, names: Sequence[str], *, rate: float = 60.0, unit: str = "mm", first: int = 1
) -> None:
    """A file as OpenSim's documentation describes it; NaN is written as nothing."""
    frames, count = points.shape[:2]
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{rate:g}\t{rate:g}\t{frames}\t{count}\t{unit}\t{rate:g}\t{first}\t{frames}",
        "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
        "\t\t" + "\t".join(f"{axis}{n + 1}" for n in range(count) for axis in "XYZ"),
        "",
    ]
    for t in range(frames):
        numbers = ["" if np.isnan(number) else f"{number:.6f}" for number in points[t].ravel()]
        lines.append("\t".join([str(first + t), f"{t / rate:.5f}", *numbers]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def test_trc_holds_markers(tmp_path: Path) -> None:
    points = walk(39, 6)
    points[2, 4] = points[5, 38] = np.nan
    trc(tmp_path / "sit" / "a.trc", points, VICON)
    source = Trc().open(tmp_path)
    assert (source.layout, source.classes) == (PLUG_IN_GAIT39, ("sit",))
    np.testing.assert_allclose(source[0].views[0].joints[:, 0], points / 1000, atol=1e-6)
    trc(tmp_path / "sit" / "b.trc", points, VICON, rate=120)
    assert "60 to 120 frames a second" in " ".join(Trc().open(tmp_path).notices)
    assert len(Trc(rate=60.0).open(tmp_path)[1].views[0].joints) == 3


def test_trc_damage_is_named(tmp_path: Path) -> None:
    trc(tmp_path / "a.trc", walk(39, 4), VICON)
    trc(tmp_path / "b.trc", walk(39, 4), VICON)
    whole = (tmp_path / "a.trc").read_text()
    faults = {
        "": "no heading of a TRC file",
        whole[:1900]: "frames where its heading states 4|last line is cut",
        whole[:-200]: "last line is cut",
        whole.replace("\tmm\t", "\tmiles\t"): "the unit 'miles'",
        whole.replace("\t39\t", "\t38\t"): "39 markers where its heading states 38",
        whole.replace("DataRate", "Rate", 1): "does not state DataRate",
        whole.rstrip("\n") + "\t1.0\n": "line 10 has 120 fields and 39 markers have 119",
        whole[:-5] + "x\n": "could not convert",
    }
    for text, message in faults.items():
        (tmp_path / "a.trc").write_text(text)
        with pytest.raises(DataError, match=rf"a\.trc: not a readable \.trc file \(.*({message})"):
            Trc().open(tmp_path)[0]
    with pytest.raises(DataError, match=r"no \.trc files below it"):
        Trc().open(tmp_path / "none")


# ---------------------------------------------------------------------- Pose2Sim and FreeMoCap


def test_pose2sim_brings_persons_of_a_take_together(tmp_path: Path) -> None:
    one, two = walk(22, 8) / 1000, walk(22, 5, 1) / 1000 + 2
    folder = tmp_path / "in" / "walk" / "Trial_1" / "pose-3d"
    for suffix, shift in (("", 9.0), ("_filt_butterworth", 0.0)):
        trc(folder / f"Trial_1_P0_0-8{suffix}.trc", one + shift, POSE2SIM, unit="m", first=0)
        trc(folder / f"Trial_1_P1_0-8{suffix}.trc", two + shift, POSE2SIM, unit="m", first=3)
    trc(folder / "Trial_1_P0_0-8_filt_butterworth_LSTM.trc", walk(39, 8), VICON, first=0)
    trc(tmp_path / "in" / "walk" / "Trial_2" / "pose-3d" / "Trial_2_0-8.trc", one, POSE2SIM, unit="m")
    source = Pose2Sim().open(tmp_path / "in")
    assert ([source.key(n) for n in range(2)], source.classes) == (["walk-Trial_1", "walk-Trial_2"], ("walk",))
    assert source.layout == POSE2SIM22
    joints = source[0].views[0].joints
    assert joints.shape == (8, 2, 22, 3) and np.isnan(joints[:3, 1]).all()
    np.testing.assert_allclose(joints[:, 0], one, atol=1e-6)
    np.testing.assert_allclose(joints[3:, 1], two, atol=1e-6)
    assert source[1].views[0].joints.shape == (8, 1, 22, 3)
    assert pack(source, tmp_path / "out").frames == 16
    with pytest.raises(DataError, match=r"no pose-3d/\*\.trc below it"):
        Pose2Sim().open(tmp_path / "out")


def test_freemocap_folders_hold_a_body(tmp_path: Path) -> None:
    body = walk(33, 6)
    body[2, 15] = np.nan
    output = tmp_path / "jump" / "recording_1" / "output_data"
    (output / "raw_data").mkdir(parents=True)
    np.save(output / "mediapipe_body_3d_xyz.npy", body)
    np.save(output / "raw_data" / "mediapipe_skeleton_3d.npy", walk(553, 6, 1))
    older = tmp_path / "jump" / "recording_2" / "output_data"
    older.mkdir(parents=True)
    np.save(older / "mediaPipeSkel_3d_body_hands_face.npy", np.concatenate([body, walk(520, 6, 2)], axis=1))
    table = tmp_path / "sit" / "recording_3" / "output_data"
    table.mkdir(parents=True)
    heading = ",".join(f"{joint}_{axis}" for joint in MEDIAPIPE33.joints for axis in "xyz")
    rows = [",".join("" if np.isnan(number) else f"{number:.6f}" for number in frame.ravel()) for frame in body]
    (table / "mediapipe_body_3d_xyz.csv").write_text("\n".join([heading, *rows]) + "\n")
    source = FreeMoCap().open(tmp_path)
    assert source.classes == ("jump", "sit") and source.layout == MEDIAPIPE33
    assert [source.key(n) for n in range(3)] == ["jump-recording_1", "jump-recording_2", "sit-recording_3"]
    expected = np.where(np.isnan(body), 0, body) / 1000
    for n in range(3):
        joints = source[n].views[0].joints
        assert joints.shape == (6, 1, 33, 3)
        np.testing.assert_allclose(np.nan_to_num(joints[:, 0]), expected, atol=1e-6)
        ready = prepare(joints, source.cleaning, source.layout, "a")
        assert np.isfinite(ready).all()
    np.save(output / "mediapipe_body_3d_xyz.npy", body[:, :20])
    with pytest.raises(DataError, match=r"xyz\.npy: not a readable \.npy file \(.*33 landmarks"):
        source[0]
