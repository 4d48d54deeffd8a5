"""Packing files that anybody may have written ends in shards that verify, or in one sentence, with nothing left."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bonestrap import files
from bonestrap.layouts import KINECT20
from launch import pack
from launch.cli.parser import start_choice
from shards.packing.verification import verify_folder
from tests.launch.pose_files import POSES
from tests.mutations import changed, changed_json, damaged

TRIES = 30  # of each format
Damage = Callable[[bytes, random.Random], bytes]


def joints(frames: int, count: int, seed: int = 0) -> np.ndarray:
    """(T, V, 3): somebody taller than wide."""
    return np.random.default_rng(seed).normal(0, (0.2, 0.5, 0.2), (frames, count, 3)).round(3)


def skeleton(frames: int = 14) -> bytes:
    lines = [str(frames)]
    for frame in joints(frames, 25):
        lines += ["1", "72057594037931101 0 1 1 0 0 0 0.02 0.05 2", "25"]
        lines += [" ".join(f"{x:g}" for x in joint) + " 277 191 1036 519 0 0 0 1 2" for joint in frame]
    return ("\n".join(lines) + "\n").encode()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def table(*rows: tuple[Any, ...]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()


def results() -> list[dict[str, Any]]:
    keypoints = np.concatenate([100 * joints(6, 17)[..., :2] + 300, np.full((6, 17, 1), 0.9)], axis=-1)
    return [
        {"image_id": f"{t:04}.jpg", "track_id": 1, "keypoints": keypoints[t].ravel().round(1).tolist(), "score": 0.9}
        for t in range(6)
    ]


def clips() -> dict[str, Any]:
    points = (100 * joints(6, 17)[None, ..., :2] + 300).astype(np.float16)
    entry = {"label": 1, "keypoint": points, "keypoint_score": np.ones((1, 6, 17), np.float16), "total_frames": 6}
    made: list[Any] = [{"frame_dir": "a", **entry}, {"frame_dir": "b", **entry}]
    return {"split": {"train": ["a"], "test": ["b"]}, "annotations": made}


LAYOUT = json.dumps(KINECT20.to_json()).encode()
UCLA = json.dumps({"file_name": "x", "skeletons": joints(8, 20).tolist(), "label": 1}).encode()
LABELLED = table(
    ("file", "label", "subject", "camera", "setup", "replication", "performance", "split"),
    ("a.npy", 3, 1, 1, 1, 1, "p", "train"), ("b.npy", 4, 2, 2, 1, 2, "q", "test"),
)  # fmt: skip
LAB = {"in/a.npy": npy(joints(8, 20)), "in/b.npy": npy(joints(9, 20)), "layout.json": LAYOUT, "table.csv": LABELLED}
OWN = "arrays --input {}/in --layout {}/layout.json --table {}/table.csv"
PKU = {
    "in/Skeleton/0002-L.txt": "\n".join(
        " ".join(f"{x:g}" for x in np.concatenate([frame, 0 * frame]).ravel()) for frame in joints(20, 25)
    ).encode(),
    "in/Label/0002-L.txt": b"8,1,10,2\n34,11,20,1\n",
    "in/cross-subject.txt": b"Training videos:\n0002-L, \nValidataion videos:\n0003-L, \n",
}
SBU = "\n".join(",".join(f"{x:g}" for x in (t, *np.random.default_rng(t).uniform(0, 1, 90))) for t in range(1, 9))
WRITTEN = "pyskl --input {}/in.pkl"
KEYPOINTS = {"in/a.json": json.dumps(results()).encode()}
NTU = {"in/S001C001P001R001A001.skeleton": skeleton(), "in/S001C002P001R001A001.skeleton": skeleton(12)}

# What is packed, by which command, which file is damaged, and how.
FORMATS: dict[str, tuple[dict[str, bytes], str, str, Damage]] = {
    "ntu": (NTU, "ntu --input {}/in", "in/S001C001P001R001A001.skeleton", damaged),
    "ntu missing": (
        {**NTU, "missing.txt": b"Missing:\nS001C002P001R001A001\n"},
        "ntu --input {}/in --missing {}/missing.txt", "missing.txt", damaged,
    ),
    "nw-ucla": ({"in/a01_s01_e00_v01.json": UCLA}, "nw-ucla --input {}/in", "in/a01_s01_e00_v01.json", damaged),
    "nw-ucla json": (
        {"in/a01_s01_e00_v01.json": UCLA}, "nw-ucla --input {}/in", "in/a01_s01_e00_v01.json", changed_json,
    ),
    "sbu": ({"in/s01s02/01/001/skeleton_pos.txt": SBU.encode()}, "sbu --input {}/in",
            "in/s01s02/01/001/skeleton_pos.txt", damaged),
    "pku-mmd": (PKU, "pku-mmd --input {}/in", "in/Skeleton/0002-L.txt", damaged),
    "pku-mmd labels": (PKU, "pku-mmd --input {}/in", "in/Label/0002-L.txt", damaged),
    "pku-mmd split": (PKU, "pku-mmd --input {}/in", "in/cross-subject.txt", damaged),
    "coco": (KEYPOINTS, "coco --input {}/in", "in/a.json", damaged),
    "coco json": (KEYPOINTS, "coco --input {}/in", "in/a.json", changed_json),
    "coco file": (KEYPOINTS, "coco --input {}/in/a.json", "in/a.json", changed_json),
    "arrays npy": (LAB, OWN, "in/a.npy", damaged),
    "arrays npz": (
        {"in/a.npz": npz(one=joints(8, 20), two=joints(8, 20)), "layout.json": LAYOUT},
        "arrays --input {}/in --layout {}/layout.json", "in/a.npz", damaged,
    ),
    "arrays table": (LAB, OWN, "table.csv", damaged),
    "arrays layout": (LAB, OWN, "layout.json", damaged),
    "arrays layout json": (LAB, OWN, "layout.json", changed_json),
    "arrays classes": (
        {**LAB, "classes.txt": b"0\n1\n2\n3\n4\n"}, f"{OWN} --classes {{}}/classes.txt", "classes.txt", damaged,
    ),
    "pyskl": ({"in.pkl": pickle.dumps(clips())}, WRITTEN, "in.pkl", damaged),
    "pyskl old": ({"in.pkl": pickle.dumps(clips(), 0)}, WRITTEN, "in.pkl", damaged),
    "pyskl values": (
        {"in.pkl": pickle.dumps(clips())}, WRITTEN, "in.pkl",
        lambda content, dice: pickle.dumps(changed(pickle.loads(content), dice)),
    ),
    **POSES,
}  # fmt: skip


def lay(root: Path, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def packed(root: Path, command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence that packing ends in; "" where it makes shards, which are verified. Nothing else may be left."""
    before = sorted(root.rglob("*"))
    capsys.readouterr()
    words = [*command.replace("{}", str(root)).split(), "--output", str(root / "out"), "--workers", "1"]
    try:
        start_choice(pack.main, "format", pack.FORMATS, pack.Options, words)
    except SystemExit as stopped:
        assert stopped.code == 2
        said = [
            line
            for line in capsys.readouterr().err.splitlines()
            if line and not line.startswith(("packing", "warning: "))
        ]
        assert len(said) == 1 and len(said[0]) < 2000, said
        assert sorted(root.rglob("*")) == before
        return said[0]
    assert verify_folder(root / "out").faults == ()
    return ""


@pytest.mark.filterwarnings("ignore")  # numpy's, of numbers beyond float32
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_recordings(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contents, command, file, damage = FORMATS[name]
    dice = random.Random(name)
    lay(tmp_path / "whole", contents)
    assert packed(tmp_path / "whole", command, capsys) == ""
    for number in range(TRIES):
        root = tmp_path / str(number)
        lay(root, {**contents, file: damage(contents[file], dice)})
        try:
            packed(root, f"{command} --broken {dice.choice(['stop', 'drop'])}", capsys)
        except BaseException as error:
            error.add_note(f"{name}, try {number}: {(root / file).read_bytes()[:300]!r}")
            raise


def test_parquet_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    command = OWN.replace("table.csv", "table.parquet")
    lay(tmp_path / "whole", LAB)
    parquet.write_table(pyarrow.table({"file": ["a.npy", "b.npy"], "label": [3, 4]}), tmp_path / "whole/table.parquet")
    content = (tmp_path / "whole/table.parquet").read_bytes()
    dice = random.Random(1)
    for number in range(TRIES):
        lay(tmp_path / str(number), {**LAB, "table.parquet": damaged(content, dice)})
        packed(tmp_path / str(number), command, capsys)
    lay(tmp_path / "large", LAB)
    many = pyarrow.DictionaryArray.from_arrays(np.zeros(10_000_001, np.int8), ["a.npy"])
    parquet.write_table(pyarrow.table({"file": many}), tmp_path / "large/table.parquet")
    assert "10000001 rows" in packed(tmp_path / "large", command, capsys)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("kind", [fifo, folder, loop, nowhere])
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ntu", "in/S001C003P001R001A001.skeleton"), ("nw-ucla", "in/a01_s01_e00_v02.json"), ("coco", "in/b.json"),
        ("sbu", "in/s01s02/01/002/skeleton_pos.txt"), ("pku-mmd", "in/Skeleton/0003-L.txt"),
        ("arrays npy", "in/c.npy"), ("arrays npz", "in/c.npz"), ("ntu missing", "missing.txt"),
        ("arrays table", "table.csv"), ("arrays layout", "layout.json"), ("arrays classes", "classes.txt"),
        ("pyskl", "in.pkl"), ("coco file", "in/a.json"),
    ],
)  # fmt: skip
def test_what_is_no_file(
    name: str, file: str, kind: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contents, command, *_ = FORMATS[name]
    lay(tmp_path, contents)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).unlink(missing_ok=True)
    kind(tmp_path / file)
    assert packed(tmp_path, command, capsys)


def test_names_that_no_text_can_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, suffix in (("arrays npz", b"npy"), ("coco", b"json"), ("arrays npz", b"npz")):
        root = tmp_path / f"{name}{suffix.decode()}".replace(" ", "-")
        contents, command, *_ = FORMATS[name]
        lay(root, contents)
        (Path(os.fsdecode(os.fsencode(root / "in") + b"/caf\xe9." + suffix))).write_bytes(next(iter(contents.values())))
        assert "its name is not UTF-8" in packed(root, command, capsys)


def test_an_output_whose_name_is_no_text(tmp_path: Path) -> None:
    """It is packed, and its name is printed as far as it can be."""
    lay(tmp_path, LAB)
    output = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    words = f"arrays --input {tmp_path}/in --layout kinect20 --output {output}".split()
    start_choice(pack.main, "format", pack.FORMATS, pack.Options, words)
    assert verify_folder(Path(output)).faults == ()


def test_arrays_that_are_larger_than_their_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An `.npy` header of 56 GiB, a zip that claims 8 GiB, and one that really unpacks beyond the limit."""
    command = "arrays --input {}/in --layout kinect20"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 250, 20, 3)})
    lay(tmp_path / "claims", {"in/a.npy": header.getvalue() + bytes(64)})
    assert "60000000000 bytes" in packed(tmp_path / "claims", command, capsys)

    whole = npz(a=joints(8, 20))
    at = whole.index(b"PK\x01\x02") + 24  # the size that the central directory claims
    lay(tmp_path / "forged", {"in/a.npz": whole[:at] + struct.pack("<I", 2**32 - 2) + whole[at + 4 :]})
    packed(tmp_path / "forged", command, capsys)

    monkeypatch.setattr(files, "LARGEST", 2**20)
    lay(tmp_path / "bomb", {"in/a.npz": npz(a=np.zeros((10_000, 20, 3)))})
    assert (tmp_path / "bomb/in/a.npz").stat().st_size < 2**14
    assert "4800000 bytes; 1048576 is the most" in packed(tmp_path / "bomb", command, capsys)
    ids = skeleton(300).split(b"72057594037931101")  # a body of its own in every frame: a file's square in memory
    hydra = b"".join(part + str(number).encode() for number, part in enumerate(ids[:-1])) + ids[-1]
    lay(tmp_path / "hydra", {"in/S001C001P001R001A001.skeleton": hydra})
    assert "hydra/in/S001C001P001R001A001.skeleton" in packed(tmp_path / "hydra", "ntu --input {}/in", capsys)


def test_labels_and_numbers_that_are_too_large(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers are classes up to a stated count; above it, or where an index has no room, the table is refused."""
    for number, (column, value, said) in enumerate([
        ("label", "20240131", "more than 10000 classes"), ("label", "3000000000", "more than 10000 classes"),
        ("label", "9" * 5000, "more than 10000 classes"), ("label", "10000", "more than 10000 classes"),
        ("camera", "40000", "camera 40000 is too large"), ("camera", "9" * 5000, "is too large"),
        ("subject", "2147483648", "is too large"), ("label", "9999", ""), ("label", "0000000000007", ""),
        ("camera", "32767", ""), ("label", "x" * 5000, ""),
    ]):  # fmt: skip
        root = tmp_path / str(number)
        lay(root, {**LAB, "table.csv": table(("file", column), ("a.npy", value), ("b.npy", 1))})
        sentence = packed(root, OWN, capsys)
        assert said in sentence and bool(said) == bool(sentence), sentence
    lay(tmp_path / "named", {**LAB, "classes.txt": b"20240131\n7\n"})
    lay(tmp_path / "named", {"table.csv": table(("file", "label"), ("a.npy", 20240131), ("b.npy", 7))})
    assert packed(tmp_path / "named", f"{OWN} --classes {{}}/classes.txt", capsys) == ""
    for number, label in enumerate((20240131, 3 * 10**9, 10**30)):
        content = clips()
        content["annotations"][0]["label"] = label
        lay(tmp_path / f"pickled{number}", {"in.pkl": pickle.dumps(content)})
        assert "more than 10000 classes" in packed(tmp_path / f"pickled{number}", WRITTEN, capsys)


def test_pickles_that_grow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lists that hold one list ten times, nine deep, are some hundred bytes, and an array of a thousand million."""
    inner: list[Any] = [0.0] * 10
    for _ in range(8):
        inner = [inner] * 10
    itself: list[Any] = []
    itself.append(itself)
    deep: Any = 0.0
    for _ in range(100):
        deep = [deep]
    for number, value in enumerate((inner, itself, deep)):
        content = clips()
        content["annotations"][0]["keypoint"] = value
        lay(tmp_path / str(number), {"in.pkl": pickle.dumps(content)})
        assert "not a pickle of plain data" in packed(tmp_path / str(number), WRITTEN, capsys)


def test_long_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lay(tmp_path, LAB)
    long = "x" * 300
    for command in (
        OWN.replace("layout.json", long), OWN.replace("table.csv", long), OWN.replace("{}/in", f"{{}}/{long}"),
        f"{OWN} --classes {{}}/{long}", f"pyskl --input {{}}/{long}", f"coco --input {{}}/{long}",
        f"ntu --input {{}}/in --missing {{}}/{long}",
    ):  # fmt: skip
        packed(tmp_path, command, capsys)
    with zipfile.ZipFile(tmp_path / "in/c.npz", "w") as archive:
        archive.writestr(f"{long}.npy", LAB["in/a.npy"])
        archive.writestr("../../up.npy", LAB["in/a.npy"])
    assert packed(tmp_path, "arrays --input {}/in --layout kinect20", capsys) == ""


def sources() -> Iterator[str]:
    """The formats whose files `launch/pack.py` reads; damaged videos have tests of their own."""
    return (name for name in pack.FORMATS if name not in ("synthetic", "video"))


def test_every_format_is_damaged_here() -> None:
    assert {command.split()[0] for _, command, *_ in FORMATS.values()} == set(sources())
