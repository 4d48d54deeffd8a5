"""A folder of arrays and a table: what is read is what was written, and every user error is one line that names it."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bonestrap.layout import Layout
from bonestrap.layouts import COCO17, KINECT20
from shards.errors import DataError
from shards.packing import preprocess
from shards.packing.pack import pack
from shards.reader import Resident
from shards.sources.arrays import Arrays, arrays, check_axes
from shards.sources.layout_file import read_layout
from shards.sources.table import read_classes, read_table
from shards.splits import find


def person(seed: int, frames: int = 6, bodies: int = 1, layout: Layout = KINECT20) -> np.ndarray:
    shape = (frames, bodies, len(layout.joints), layout.coordinates)
    return np.random.default_rng(seed).normal(0, 0.4, shape).astype(np.float32)


def table(path: Path, rows: Sequence[Sequence[object]], delimiter: str = ",") -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four recordings, two of them views of one performance."""
    root = tmp_path / "lab"
    (root / "day 1").mkdir(parents=True)
    np.save(root / "day 1" / "a.npy", person(0))
    np.save(root / "day 1" / "b.npy", person(1, frames=9))
    np.save(root / "c.npy", person(2)[:, 0])
    np.save(root / "d.npy", person(3, bodies=2).astype(np.float64))
    return root


# ---------------------------------------------------------------------- files


def test_without_a_table_every_file_is_a_performance(folder: Path) -> None:
    found = list(arrays(folder, name="lab", layout=KINECT20))
    assert [performance.key for performance in found] == ["c", "d", "day-1-a", "day-1-b"]
    assert [performance.views[0].joints.shape for performance in found] == [
        (6, 1, 20, 3), (6, 2, 20, 3), (6, 1, 20, 3), (9, 1, 20, 3),
    ]  # fmt: skip
    np.testing.assert_array_equal(found[0].views[0].joints, person(2))
    assert {(p.label, p.subject, p.setup, p.replication, p.views[0].camera) for p in found} == {(None,) * 5}
    assert [view.origin for p in found for view in p.views] == ["c.npy", "d.npy", "day 1/a.npy", "day 1/b.npy"]


def test_an_npz_may_hold_many_recordings(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", joints=person(0))
    np.savez_compressed(tmp_path / "many.npz", jump=person(1), sit=person(2))
    found = {view.origin: view.joints for p in arrays(tmp_path, name="lab", layout=KINECT20) for view in p.views}
    assert list(found) == ["many.npz/jump", "many.npz/sit", "one.npz"]
    for seed, origin in enumerate(("one.npz", "many.npz/jump", "many.npz/sit")):
        np.testing.assert_array_equal(found[origin], person(seed))


@pytest.mark.parametrize("axes", ["CTVM", "TVMC", "MTVC", "CVT"])
def test_axes_come_in_any_order(tmp_path: Path, axes: str) -> None:
    joints = person(0, bodies=2 if "M" in axes else 1)
    written = joints if "M" in axes else joints[:, 0]
    order = "TMVC" if "M" in axes else "TVC"
    np.save(tmp_path / "a.npy", np.transpose(written, [order.index(axis) for axis in axes]))
    np.testing.assert_array_equal(Arrays(tmp_path, KINECT20, axes=axes).read("a.npy"), joints)


def test_units_become_metres(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", (1000 * person(0)).astype(np.int64))
    ((view,),) = (performance.views for performance in arrays(tmp_path, name="lab", layout=KINECT20, unit="millimetre"))
    np.testing.assert_allclose(view.joints, person(0), atol=1e-3)
    with pytest.raises(ValueError, match="axes must be the letters T, V, C"):
        check_axes("TVX")


def test_bodies_of_zeros_are_absent_and_missing_joints_are_found(tmp_path: Path) -> None:
    joints = person(0, frames=8, bodies=2)
    joints[3:, 1] = 0
    joints[2, 0, 5] = np.nan
    np.save(tmp_path / "a.npy", joints)
    source = arrays(tmp_path, name="lab", layout=KINECT20)
    read = source[0].views[0].joints
    assert np.isnan(read[3:, 1]).all() and not np.isnan(read[:3, 1]).any()
    prepared = preprocess.prepare(read, source.cleaning, source.layout, "a.npy")
    assert prepared.shape == (8, 2, 20, 3) and np.isfinite(prepared).all()
    np.testing.assert_allclose(prepared[2, 0, 5], (prepared[1, 0, 5] + prepared[3, 0, 5]) / 2, atol=1e-6)


@pytest.mark.parametrize("keep", [False, True])
def test_the_last_number_may_be_confidence(tmp_path: Path, keep: bool) -> None:
    joints = np.concatenate([200 * person(0, layout=COCO17), np.full((6, 1, 17, 1), 0.9, np.float32)], axis=-1)
    joints[2, 0, 9] = (0, 0, 0.05)
    np.save(tmp_path / "a.npy", joints)
    source = arrays(tmp_path, name="lab", layout=COCO17, confidence="keep" if keep else "hide", min_confidence=0.3)
    pack(source, tmp_path / "shards", dtype="float32")
    data = Resident.load(tmp_path / "shards")
    assert (data.layout.coordinates, data.layout.confidence, data.manifest.unit) == (2, keep, "torso")
    assert data.frames.shape == (6, 17, 2 + keep)
    np.testing.assert_allclose(data.frames[2, 9, :2], data.frames[[1, 3], 9, :2].mean(0), atol=1e-5)
    if keep:
        assert data.frames[2, 9, 2] == np.float32(0.05) and data.frames[2, 8, 2] == np.float32(0.9)


def damage(path: Path, kind: str) -> None:
    if kind == "objects":
        np.save(path, np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    elif kind == "text":
        path.write_text("not an array")
    elif kind == "words":
        np.save(path, np.array(["a", "b"]))
    elif kind == "axes":
        np.save(path, np.zeros((2, 2)))
    else:
        path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((3, 9, 20), {}, r"\(3, 9, 20\) is not TVC of 20 joints x 3 numbers \(layout kinect20\); give --axes CTV"),
        ((3, 9, 20, 2), {}, "give --axes CTVM"),
        ((2, 9, 20, 3), {"axes": "CTVM"}, "give --axes (MTVC|TMVC)"),
        ((9, 20, 4), {}, r"where the last number is a confidence, give --confidence hide \(or keep\)"),
        ((9, 20, 2), {}, "give --coordinates 2"),
        ((9, 60), {}, "but flat; reshape each array to frames x joints x 3 and save it again"),
        ((9, 40), {}, "but flat; reshape each array to frames x joints x 2"),
        ((9, 25, 3), {}, "correct --layout or --axes"),
    ],
)
def test_a_shape_that_does_not_fit_names_the_option(
    tmp_path: Path, shape: tuple[int, ...], options: dict[str, str], message: str
) -> None:
    np.save(tmp_path / "a.npy", np.ones(shape))
    with pytest.raises(DataError, match=rf"a\.npy: .*{message}"):
        list(arrays(tmp_path, name="lab", layout=KINECT20, axes=options.get("axes")))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("objects", r"c\.npy: not a readable array .*; save it as a plain array of numbers"),
        ("text", r"c\.npy: not a readable array"),
        ("cut", r"c\.npy: not a readable array"),
        ("words", r"c\.npy: an array of <U1, not of numbers"),
        ("axes", r"c\.npy: \(2, 2\) is not TMVC of 20 joints x 3 numbers \(layout kinect20\); correct --layout"),
    ],
)
def test_a_broken_array_is_named(folder: Path, kind: str, message: str) -> None:
    damage(folder / "c.npy", kind)
    with pytest.raises(DataError, match=message):
        list(arrays(folder, name="lab", layout=KINECT20))


def test_an_empty_folder_and_a_broken_npz_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.npy or \.npz files below it; give the folder"):
        arrays(tmp_path, name="lab", layout=KINECT20)
    (tmp_path / "a.npz").write_bytes(b"PK no")
    with pytest.raises(DataError, match=r"a\.npz: not a readable \.npz file"):
        arrays(tmp_path, name="lab", layout=KINECT20)


# ---------------------------------------------------------------------- tables

HEAD = ("file", "label", "subject", "camera", "performance", "replication")
ROWS = [
    HEAD,
    ("day 1/a.npy", "wave", "eva", "left", "p.1", 1),
    ("day 1/b", "wave", "eva", "right", "p.1", 1),
    ("c.npy", "bow", "adam", "", "", ""),
]


def test_a_table_says_what_is_known(folder: Path, tmp_path: Path) -> None:
    for delimiter in ",;\t":
        source = arrays(
            folder, name="lab", layout=KINECT20, table=read_table(table(tmp_path / "t.csv", ROWS, delimiter))
        )
        assert source.classes == ("bow", "wave") and source.dropped == [("d.npy", "not in the table")]
        bow, wave = source
        assert (bow.key, bow.label, bow.subject, bow.replication, bow.views[0].camera) == ("c", 0, 1, None, None)
        assert (wave.key, wave.label, wave.subject, wave.replication) == ("p-1", 1, 2, 1)
        assert [(view.camera, len(view.joints)) for view in wave.views] == [(1, 6), (2, 9)]


def test_numbers_stay_numbers(folder: Path, tmp_path: Path) -> None:
    rows = [
        HEAD,
        ("c.npy", 2, 7, 3, "", ""),
        ("d.npy", "", 11, 0, "", ""),
        ("day 1/a.npy", "0.0", "", "3.0", "", "nan"),
    ]
    source = arrays(folder, name="lab", layout=KINECT20, table=read_table(table(tmp_path / "t.csv", rows)))
    assert source.classes == ("0", "1", "2")
    assert [(p.label, p.subject, p.views[0].camera) for p in source] == [(2, 7, 3), (None, 11, 0), (0, None, 3)]


def test_tables_of_windows_name_the_same_files(folder: Path, tmp_path: Path) -> None:
    """Backslashes, letters composed in another way, and a code page that is not UTF-8."""
    np.save(folder / "day 1" / unicodedata.normalize("NFD", "grüße.npy"), person(7))
    rows = [("file", "label"), ("day 1\\a.npy", "x"), ("day 1\\" + unicodedata.normalize("NFC", "grüße"), "y")]
    source = arrays(folder, name="lab", layout=KINECT20, table=read_table(table(tmp_path / "t.csv", rows)))
    found = {unicodedata.normalize("NFC", view.origin): one.label for one in source for view in one.views}
    assert found == {"day 1/a.npy": 0, "day 1/grüße.npy": 1}
    (tmp_path / "t.csv").write_bytes("file,label\nc.npy,grüßen\n".encode("cp1252"))
    with pytest.raises(
        DataError, match=r"t\.csv: not a text in UTF-8 .*; save it again as UTF-8 \(in Excel: CSV UTF-8"
    ):
        read_table(tmp_path / "t.csv")


def test_a_negative_label_is_no_class(tmp_path: Path) -> None:
    rows = [("file", "label"), ("c.npy", 0), ("d.npy", -1), ("e.npy", 1)]
    with pytest.raises(DataError, match=r"t\.csv: the label -1 in row 3 is below 0; leave out labels .* --classes"):
        read_table(table(tmp_path / "t.csv", rows))
    (tmp_path / "classes.txt").write_text("-1\n0\n1\n")
    assert read_table(tmp_path / "t.csv", tmp_path / "classes.txt").labels == (1, 0, 2)


def test_doubts_about_a_table_are_said(tmp_path: Path) -> None:
    def notices(first: int, *rates: object) -> tuple[str, ...]:
        rows = [(f"{n}.npy", first + n % 27, rates[n % len(rates)]) for n in range(60)]
        return read_table(table(tmp_path / "t.csv", [("file", "label", "rate"), *rows])).notices

    assert notices(0, 30) == notices(0, "") == notices(0, "30.0", "30", "nan") == ()
    (notice,) = notices(1, 30)
    assert notice.startswith("no recording is of class 0: the labels 1 to 27 make 28 classes, numbered from 0")
    (notice,) = notices(0, 30, "29.97", "")
    assert notice.startswith("recordings have 29.97 to 30 frames a second")
    for wrong in ("0", "-30", "fast", "inf"):
        with pytest.raises(DataError, match=rf"the rate '{wrong}' in row 2 is not a number of frames a second above 0"):
            notices(0, wrong)


def test_parquet_is_a_table_too(folder: Path, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"file": ["c.npy", "d.npy"], "label": ["sit", None], "subject": [3.0, None], "split": ["train", "test"]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    source = arrays(folder, name="lab", layout=KINECT20, table=read_table(tmp_path / "t.parquet"))
    assert [(p.label, p.subject, p.views[0].splits) for p in source] == [
        (0, 3, ("split/train",)), (None, None, ("split/test",)),
    ]  # fmt: skip
    (tmp_path / "t.parquet").write_text("file\nc.npy\n")
    with pytest.raises(DataError, match=r"t\.parquet: not a readable Parquet table"):
        read_table(tmp_path / "t.parquet")


def test_classes_may_be_named_in_their_order(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("wave\nkick\nbow\n")
    found = read_table(table(tmp_path / "t.csv", ROWS), tmp_path / "classes.txt")
    assert (found.classes, found.labels) == (("wave", "kick", "bow"), (0, 0, 2))
    numbered = [("file", "label"), ("c.npy", 2), ("d.npy", 0)]
    assert read_table(table(tmp_path / "n.csv", numbered), tmp_path / "classes.txt").labels == (2, 0)
    (tmp_path / "classes.txt").write_text("wave\n")
    with pytest.raises(DataError, match=r"the label 'bow' in row 4 is none of the 1 classes"):
        read_table(table(tmp_path / "t.csv", ROWS), tmp_path / "classes.txt")
    (tmp_path / "classes.txt").write_text("wave\nwave\n")
    with pytest.raises(DataError, match="holds one name a line, and each once"):
        read_classes(tmp_path / "classes.txt")


def test_columns_declare_splits(folder: Path, tmp_path: Path) -> None:
    rows = [
        ("file", "split", "split_b"),
        ("c.npy", "test", "train"),
        ("d.npy", "val", "test"),
        ("day 1/a.npy", "train", ""),
    ]
    pack(
        arrays(folder, name="lab", layout=KINECT20, table=read_table(table(tmp_path / "t.csv", rows))), tmp_path / "out"
    )
    views = Resident.load(tmp_path / "out").views
    assert [list(views.key)[row] for row in np.flatnonzero(find("lab", "split").train(views))] == ["d", "day-1-a"]
    assert [list(views.key)[row] for row in np.flatnonzero(find("lab", "split").held_out(views))] == ["d"]
    assert [list(views.key)[row] for row in np.flatnonzero(find("lab", "split_b").test(views))] == ["d"]
    assert find("lab", "all").train(views).all()


def test_without_a_split_one_is_drawn_by_performances(tmp_path: Path) -> None:
    rows: list[Sequence[object]] = [("file", "label", "camera", "performance")]
    for number in range(40):
        for camera in (1, 2):
            name = f"{number}_{camera}.npy"
            np.save(tmp_path / name, person(number, frames=1))
            rows.append((name, "ab"[number % 2], camera, f"take {number}"))
    found = read_table(table(tmp_path / "t.csv", rows))
    parts = {performance: set(part) for performance, part in zip(found.performances, found.splits, strict=True)}
    assert all(len(part) == 1 for part in parts.values())
    count = [sum(part == {f"split/{name}"} for part in parts.values()) for name in ("train", "val", "test")]
    assert count == [28, 4, 8]
    for first, second in zip(found.splits[::2], found.splits[1::2], strict=True):
        assert first == second


BAD_TABLES: dict[str, tuple[list[tuple[object, ...]], str]] = {
    "no file": ([("flie", "label"), ("a", "b")], "needs the column file, this one has flie, label; did you mean file"),
    "nothing": ([], "needs the column file, this one has none"),
    "slip": ([("file", "lable"), ("c.npy", "b")], "unknown column lable; did you mean label"),
    "short row": ([("file", "label"), ("c.npy",)], "row 2 has 1 fields and the heading 2"),
    "empty file": ([("file", "label"), ("c.npy", 1), ("", 2)], "row 3 names no file"),
    "twice": ([("file",), ("c.npy",), ("c.npy",)], "c.npy comes twice; a recording has one row"),
    "two spellings": ([("file",), ("c.npy",), ("c",)], "c.npy: two rows of the table mean this recording"),
    "unknown file": ([("file",), ("x.npy",), ("y.npy",)], "x.npy and 1 others: in the table but not in the folder"),
    "bad split": ([("file", "split"), ("c.npy", "tset")], "split of c.npy: 'tset' is no part of a split"),
    "bad replication": ([("file", "replication"), ("c.npy", "b")], "a replication is a whole number, not 'b'"),
    "large": ([("file", "subject"), ("c.npy", 2**40)], "subject 1099511627776 is too large"),
    "two labels": (
        [("file", "label", "performance"), ("c.npy", 1, "p"), ("d.npy", 2, "p")],
        "performance p: its recordings differ in label",
    ),
    "one camera twice": (
        [("file", "camera", "performance"), ("c.npy", 1, "p"), ("d.npy", 1, "p")],
        "performance p: two recordings by one camera",
    ),
}


@pytest.mark.parametrize("fault", BAD_TABLES)
def test_a_faulty_table_is_refused_in_one_sentence(folder: Path, tmp_path: Path, fault: str) -> None:
    rows, message = BAD_TABLES[fault]
    with pytest.raises(DataError, match=message) as caught:
        arrays(folder, name="lab", layout=KINECT20, table=read_table(table(tmp_path / "t.csv", rows)))
    assert "\n" not in str(caught.value)


def test_keys_are_unique_and_short(tmp_path: Path) -> None:
    names = ["a b.npy", "a-b.npy", "ä.npy", "x" * 100 + ".npy", "x" * 100 + "y.npy"]
    for seed, name in enumerate(names):
        np.save(tmp_path / name, person(seed))
    found = [performance.key for performance in arrays(tmp_path, name="lab", layout=KINECT20)]
    assert len(set(found)) == 5 and max(map(len, found)) <= 80
    pack(arrays(tmp_path, name="lab", layout=KINECT20), tmp_path / "out")
    assert len(Resident.load(tmp_path / "out")) == 5


def test_a_stamp_follows_files_and_table(folder: Path, tmp_path: Path) -> None:
    def stamps(rows: Sequence[Sequence[object]]) -> list[str]:
        source = arrays(folder, name="lab", layout=KINECT20, table=read_table(table(tmp_path / "t.csv", rows)))
        return [source.stamp(number) for number in range(len(source))]

    before = stamps(ROWS)
    changed = stamps([*ROWS[:3], ("c.npy", "bow", "adam", "", "", 5)])
    assert [a == b for a, b in zip(before, changed, strict=True)] == [False, True]
    np.save(folder / "day 1" / "b.npy", person(1, frames=12))
    assert [a == b for a, b in zip(before, stamps(ROWS), strict=True)] == [True, False]


# ---------------------------------------------------------------------- layout files


def test_a_layout_comes_from_a_file_or_by_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**COCO17.to_json(), "name": "mine"}))
    assert read_layout(str(path)).name == "mine" and read_layout("kinect20") is KINECT20
    for text, message in (
        ("{", r"mine\.json: not JSON"),
        ("[]", r"mine\.json: a layout is a JSON object with the fields"),
        (json.dumps({**COCO17.to_json(), "root": "tail"}), r"mine\.json: layout coco17: root speaks of joint tail"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_layout(str(path))
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match=r"mine\.json: not (a text|JSON)"):
        read_layout(str(path))
    with pytest.raises(DataError, match=r"coc17: neither a layout file nor a known layout .*; did you mean coco17"):
        read_layout("coc17")
