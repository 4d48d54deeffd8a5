"""The NTU adapter against the twelve raw files, the official counts, and files written to be wrong."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from shards.columns import Strings
from shards.errors import DataError
from shards.index import Splits, Views
from shards.packing.pack import pack
from shards.reader import Resident
from shards.sources.datasets.ntu import ACTIONS, NTU, parse_name, read_missing, read_skeleton
from shards.splits import find

Frame = list[tuple[str, np.ndarray]]  # the bodies of a frame: (tracking id, joints (25, 3))


def skeleton(frames: list[Frame]) -> str:
    """The text of a `.skeleton` file, with NaN in the orientations as the SDK sometimes writes it."""
    lines = [str(len(frames))]
    for frame in frames:
        lines.append(str(len(frame)))
        for identity, joints in frame:
            lines += [f"{identity} 0 1 1 1 1 0 0.02 0.05 2", "25"]
            lines += [
                " ".join(f"{x:.7g}" for x in joint) + " 277.4 191.8 1036.2 519.1 NaN -1.#IND 0 0 2" for joint in joints
            ]
    return "\n".join(lines) + "\n"


def standing(seed: int) -> np.ndarray:
    """(25, 3): a body taller than wide."""
    return np.random.default_rng(seed).normal(0, (0.2, 0.5, 0.2), (25, 3)).astype(np.float32)


def write(folder: Path, name: str, frames: list[Frame]) -> Path:
    path = folder / f"{name}.skeleton"
    path.write_text(skeleton(frames))
    return path


def test_bodies_are_followed_by_their_id(tmp_path: Path) -> None:
    a, b, c = (standing(seed) for seed in range(3))
    frames: list[Frame] = [[], [("7", a)], [("9", b), ("7", a + 1)], [("9", b + 1)], [("9", 0 * b), ("7", c)]]
    joints = read_skeleton(write(tmp_path, "S001C001P001R001A001", frames))
    assert joints.shape == (5, 2, 25, 3) and joints.dtype == np.float32
    expected = np.full_like(joints, np.nan)
    expected[1, 0], expected[2, 0], expected[4, 0] = a, a + 1, c
    expected[2, 1], expected[3, 1], expected[4, 1] = b, b + 1, 0
    np.testing.assert_allclose(joints, expected, atol=1e-6)


def test_two_bodies_of_one_id_are_two(tmp_path: Path) -> None:
    a, b = standing(0), standing(1)
    joints = read_skeleton(write(tmp_path, "S001C001P001R001A001", [[("0", a), ("0", b)]]))
    np.testing.assert_allclose(joints[0], np.stack([a, b]), atol=1e-6)


def test_files_become_performances_over_cameras(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    write(tmp_path, "S002C003P008R002A058", [[("1", standing(0))]])
    write(tmp_path / "more", "S002C001P008R002A058", [[("1", standing(0))], [("1", standing(1))]])
    write(tmp_path, "S002C002P008R002A058", [[], []])
    write(tmp_path, "S001C001P009R001A001", [[]])
    write(tmp_path, "S003C001P001R001A002", [[("1", standing(0))]])
    missing = tmp_path / "missing.txt"
    missing.write_text("2 samples are missing.\n\nS003C001P001R001A002\nS004C001P001R001A002\n")
    source = NTU(tmp_path, missing=missing)
    empty, performance = source
    assert (empty.key, empty.views) == ("S001P009R001A001", ())
    assert (performance.key, performance.label, performance.subject) == ("S002P008R002A058", 57, 8)
    assert (performance.setup, performance.replication) == (2, 2)
    assert [(view.camera, view.joints.shape[0]) for view in performance.views] == [(1, 2), (3, 1)]
    assert source.dropped == [("S003C001P001R001A002.skeleton", "listed as missing")]
    assert empty.dropped == (("S001C001P009R001A001.skeleton", "no body in any frame"),)
    assert performance.dropped == (("S002C002P008R002A058.skeleton", "no body in any frame"),)
    assert [source.key(number) for number in range(len(source))] == [empty.key, performance.key]


def test_a_stamp_follows_the_files_of_its_performance(tmp_path: Path) -> None:
    for name in ("S001C001P001R001A001", "S001C002P001R001A001", "S001C001P002R001A001"):
        write(tmp_path, name, [[("1", standing(0))]])
    before = NTU(tmp_path)
    write(tmp_path, "S001C002P001R001A001", [[("1", standing(0))], [("1", standing(1))]])
    after = NTU(tmp_path)
    assert before.stamp(0) == after.stamp(0)  # read when asked for, not when opened
    old = after.stamp(0), after.stamp(1)
    (tmp_path / "S001C001P001R001A001.skeleton").unlink()
    assert NTU(tmp_path).stamp(0) != old[0] and NTU(tmp_path).stamp(1) == old[1]
    write(tmp_path, "S001C001P002R001A001", [[("1", standing(1))], [("1", standing(0))]])
    assert NTU(tmp_path).stamp(1) != old[1]


def test_the_actions_decide_between_60_and_120(tmp_path: Path) -> None:
    write(tmp_path, "S001C001P001R001A060", [[("1", standing(0))]])
    assert (NTU(tmp_path).name, len(NTU(tmp_path).classes)) == ("ntu60", 60)
    write(tmp_path, "S018C001P001R001A061", [[("1", standing(0))]])
    assert (NTU(tmp_path).name, len(NTU(tmp_path).classes)) == ("ntu120", 120)
    write(tmp_path, "S018C001P001R001A121", [[("1", standing(0))]])
    with pytest.raises(DataError, match=r"A121\.skeleton: action 121 is out of range for the 120 classes of ntu120"):
        NTU(tmp_path)


def test_the_same_name_twice_is_named(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    write(tmp_path, "S001C001P001R001A060", [[("1", standing(0))]])
    write(tmp_path / "copy", "S001C001P001R001A060", [[("1", standing(0))]])
    with pytest.raises(DataError, match=r"the same recording as .* remove one"):
        NTU(tmp_path)


def test_a_foreign_name_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.skeleton files; give the folder"):
        NTU(tmp_path)
    write(tmp_path, "S1C1", [[]])
    with pytest.raises(DataError, match=r"S1C1: NTU recordings are named"):
        NTU(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "S001C001P001R001A001", [[("1", standing(0))], [("1", standing(1)), ("2", standing(2))]])
    text = path.read_text()
    lines = text.splitlines()
    for damaged in (
        "",
        "\n".join(lines[:40]),  # ends within a body
        "\n".join(lines[:-25]),  # ends before a body's joints
        "\n".join([*lines[:-1], "0.1 0.2"]),  # ends within a joint
        text.replace("\n25\n", "\n20\n"),
        text + text,
        text.replace("0.02", "\x80"),
        "x" + text,
    ):
        path.write_text(damaged, encoding="latin-1")
        with pytest.raises(DataError, match=r"S001C001P001R001A001\.skeleton: cut short or not an NTU"):
            read_skeleton(path)


def test_nan_joints_stop_packing(tmp_path: Path) -> None:
    body = standing(0)
    body[3, 1] = np.nan
    (tmp_path / "in").mkdir()
    write(tmp_path / "in", "S001C001P001R001A001", [[("1", standing(0))], [("1", body)]])
    with pytest.raises(DataError, match=r"S001C001P001R001A001\.skeleton: body 0 has NaN .* in frame 1"):
        pack(NTU(tmp_path / "in"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_broken_joints_name_the_option_that_goes_on(tmp_path: Path) -> None:
    write(tmp_path, "S001C001P001R001A001", [[("1", standing(0))], [("1", np.nan * standing(0))], [("1", standing(1))]])
    path = write(tmp_path, "S001C001P002R001A001", [[("1", standing(0))], [("1", standing(2))]])
    text = path.read_text().splitlines()
    text[4] = "NaN " + text[4].partition(" ")[2]
    path.write_text("\n".join(text) + "\n")
    with pytest.raises(DataError, match=r"P002R001A001\.skeleton: .*NaN.* or leave out .* with --broken drop"):
        pack(NTU(tmp_path), tmp_path / "out")
    manifest = pack(NTU(tmp_path), tmp_path / "out", broken="drop")
    assert [key for key, reason in manifest.dropped if reason.startswith("broken: ")] == ["S001P002R001A001"]


def test_a_list_without_names_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such list of missing samples"):
        read_missing(tmp_path / "missing.txt")
    (tmp_path / "missing.txt").write_text("nothing\n")
    with pytest.raises(DataError, match="no line of this list is a name"):
        read_missing(tmp_path / "missing.txt")


def test_the_twelve_raw_files_hold_what_their_index_says(recordings_root: Path, tmp_path: Path) -> None:
    root = recordings_root / "ntu_samples"
    manifest = pack(NTU(root), tmp_path / "shards")
    data = Resident.load(tmp_path / "shards")
    with (root / "index.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert (manifest.name, manifest.views, manifest.dropped) == ("ntu60", 12, ())
    for view, origin in enumerate(data.view_origin):
        row = rows.pop(origin.removesuffix(".skeleton"))
        bodies = (~np.isnan(read_skeleton(root / origin)).any((2, 3))).sum(1)
        assert (bodies.min(), bodies.max()) == (int(row["body_count_min"]), int(row["body_count_max"]))
        assert (data.view_length[view], data.view_bodies[view]) == (int(row["n_frames"]), int(row["n_persons"]))
        for field in ("label", "subject", "camera", "setup", "replication"):
            assert getattr(data.views, field)[view] == int(row[field])
    assert not rows


def official_names(recordings_root: Path, dataset: str) -> list[str]:
    """The recordings of the official release without those of its list of missing ones."""
    meta = recordings_root / "ntu_meta"
    lists = {"ntu60": "NTU_RGBD", "ntu120": "NTU_RGBD120"}
    missing = read_missing(meta / f"{lists[dataset]}_samples_with_missing_skeletons.txt")
    assert len(missing) == {"ntu60": 302, "ntu120": 535}[dataset]
    names = (meta / f"{dataset}_statistics" / "skes_available_name.txt").read_text().split()
    return [name for name in names if name not in missing]


def views_of(stems: list[str]) -> Views:
    setup, camera, subject, replication, action = np.array([parse_name(stem) for stem in stems]).T
    texts = [""] * len(action)
    return Views(action - 1, subject, camera, setup, replication, action < 0, Strings.of(texts), Splits.of(texts))


@pytest.mark.parametrize(
    ("dataset", "name", "train", "test"),
    [
        ("ntu60", "cross-subject", 40_091, 16_487),
        ("ntu60", "cross-view", 37_646, 18_932),
        ("ntu120", "cross-subject", 63_026, 50_919),
        ("ntu120", "cross-setup", 54_468, 59_477),
    ],
)
def test_official_counts(recordings_root: Path, dataset: str, name: str, train: int, test: int) -> None:
    rule = find(dataset, name)
    views = views_of(official_names(recordings_root, dataset))
    action = views.label + 1
    assert [rule.train(views).sum(), rule.test(views).sum()] == [train, test]
    held_out, fit = rule.held_out(views), rule.fit(views)
    assert 0.08 < held_out.sum() / train < 0.14 and held_out.sum() + fit.sum() == train
    for part in (held_out, fit):
        assert set(action[part]) == set(range(1, int(dataset[3:]) + 1))


@pytest.mark.parametrize(
    ("dataset", "name", "performances", "seen_by"),
    [
        ("ntu60", "cross-subject", 13_433, {3: 13_227, 2: 204, 1: 2}),
        ("ntu60", "cross-view", 18_951, {2: 18_695, 1: 256}),
        ("ntu120", "cross-subject", 21_113, None),
    ],
)
def test_official_counts_of_performances(
    recordings_root: Path, dataset: str, name: str, performances: int, seen_by: dict[int, int] | None
) -> None:
    rule, stems = find(dataset, name), official_names(recordings_root, dataset)
    trains = rule.train(views_of(stems))
    counts = Counter(parse_name(stem).key for stem, chosen in zip(stems, trains, strict=True) if chosen)
    assert len(counts) == performances
    assert seen_by is None or Counter(counts.values()) == seen_by


def test_every_action_has_a_name_of_its_own() -> None:
    assert len(set(ACTIONS)) == 120
