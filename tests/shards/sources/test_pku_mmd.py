"""PKU-MMD from small files in its documented format: what frames an action has, whose views it has, who trains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from shards.errors import DataError
from shards.packing.losses import whole
from shards.packing.pack import pack
from shards.reader import Resident
from shards.sources.datasets.pku_mmd import ACTIONS, PKUMMD
from shards.splits import find

Rows = Sequence[tuple[int, int, int]]


def recording(frames: int, seed: int, persons: int = 2) -> np.ndarray:
    """(T, 2, 25, 3): people taller than wide; zeros where there is no second one. x of the first joint is the frame."""
    joints = np.random.default_rng(seed).normal(0, (0.2, 0.5, 0.2), (frames, 2, 25, 3)).round(6)
    joints[:, :, 0, 0] = np.arange(1, frames + 1)[:, None] / 1000
    joints[:, persons:] = 0
    return joints


def write(root: Path, name: str, joints: np.ndarray, labels: Rows, separator: str = ",") -> None:
    for folder in ("Skeleton", "Label_PKUMMD"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    lines = [" " + " ".join(f"{x:.6f}" for x in frame) for frame in joints.reshape(len(joints), -1)]
    (root / "Skeleton" / f"{name}.txt").write_text("\r\n".join(lines) + "\r\n")
    rows = "".join(separator.join(map(str, (*row, 2))) + "\n" for row in labels)
    (root / "Label_PKUMMD" / f"{name}.txt").write_text(rows)


def test_an_action_has_its_first_and_its_last_frame(tmp_path: Path) -> None:
    """Frames count from 1, both ends included: peers that slice first:last lose the first."""
    joints = recording(60, 0, persons=1)
    write(tmp_path, "0002-L", joints, [(8, 1, 20), (34, 21, 60)])
    first, second = PKUMMD(tmp_path)
    ends = [view.joints[[0, -1], 0, 0, 0] for performance in (first, second) for view in performance.views]
    assert (1000 * np.array(ends)).round().astype(int).tolist() == [[1, 20], [21, 60]]
    (view,) = second.views
    np.testing.assert_allclose(view.joints[:, 0], joints[20:60, 0], atol=1e-6)
    assert view.joints.shape == (40, 2, 25, 3) and np.isnan(view.joints[:, 1]).all()
    assert (view.camera, view.origin) == (1, "Skeleton/0002-L.txt 21-60")
    assert (ACTIONS[first.label or 0], ACTIONS[second.label or 0]) == ("drink water", "standing up")
    assert [first.key, second.key] == ["0002_a08_01", "0002_a34_01"]


def test_views_of_one_action_belong_together(tmp_path: Path) -> None:
    write(tmp_path, "0002-L", recording(90, 0), [(5, 1, 20), (5, 50, 70), (6, 25, 40), (7, 70, 85), (7, 80, 90)])
    write(tmp_path, "0002-M", recording(90, 1), [(5, 3, 22), (6, 24, 39)], separator=" ")
    write(tmp_path, "0002-R", recording(90, 2), [(5, 2, 19), (5, 52, 69), (6, 60, 75)])
    write(tmp_path, "0003-R", recording(90, 3), [(5, 1, 20)])
    found = {performance.key: performance for performance in PKUMMD(tmp_path)}
    assert {key: [(view.camera, len(view.joints)) for view in found[key].views] for key in found} == {
        "0002_a05_01": [(1, 20), (2, 20), (3, 18)],
        "0002_a05_02": [(1, 21), (3, 18)],
        "0002_a06_01": [(1, 16), (2, 16)],
        "0002_a06_02": [(3, 16)],
        "0002_a07_01": [(1, 16)],  # one view, twice: two actions, however they overlap
        "0002_a07_02": [(1, 11)],
        "0003_a05_01": [(3, 20)],
    }
    assert {performance.label for performance in found.values()} == {4, 5, 6}


def test_the_official_lists_are_protocols(tmp_path: Path) -> None:
    names = [f"A{group:02}N01-{view}" for group in range(1, 13) for view in "LMR"]
    for number, name in enumerate(names):
        write(tmp_path, name, recording(30, number), [(number % 51 + 1, 1, 30)])
    train = [name for name in names if int(name[1:3]) <= 9]
    lists = (
        f"Training videos: \n{', '.join(train)}\nValidataion videos:\n{', '.join(n for n in names if n not in train)}\n"
    )
    (tmp_path / "cross_subject_v2.txt").write_text(lists)
    left = [name for name in names if name.endswith("L")]
    lists = f"Training videos:\n{', '.join(n for n in names if n not in left)}\n\nTesting videos:\n{', '.join(left)}"
    (tmp_path / "Cross-View_v2.txt").write_text(lists)
    manifest = pack(PKUMMD(tmp_path), tmp_path / "out")
    views = Resident.load(tmp_path / "out").views
    video = np.array([key.partition("_")[0] for key in views.key])
    assert (manifest.name, views.size) == ("pku-mmd-2", 36)
    rule = find("pku-mmd-2", "cross-subject")
    assert set(video[rule.train(views)]) == {f"A{group:02}N01" for group in range(1, 10)}
    assert set(video[rule.test(views)]) == {"A10N01", "A11N01", "A12N01"}
    held_out = rule.held_out(views)
    assert len(set(video[held_out])) == 1 and held_out.sum() == 3  # a video, and from all sides
    rule = find("pku-mmd-2", "cross-view")
    np.testing.assert_array_equal(rule.test(views), views.camera == 1)
    np.testing.assert_array_equal(rule.train(views), views.camera > 1)


def test_without_lists_videos_are_drawn(tmp_path: Path) -> None:
    for number in range(20):
        for view in "LM":
            write(tmp_path, f"{number:04}-{view}", recording(12, number), [(1, 1, 6), (2, 7, 12)])
    source = PKUMMD(tmp_path)
    parts: dict[str, set[tuple[str, ...]]] = {}
    for performance in source:
        parts.setdefault(performance.key[:4], set()).update(view.splits for view in performance.views)
    assert source.name == "pku-mmd-1" and all(len(part) == 1 for part in parts.values())
    count = [sum(part == {(f"split/{name}",)} for part in parts.values()) for name in ("train", "val", "test")]
    assert count == [14, 2, 4]


def test_what_has_no_frames_is_dropped_and_reported(tmp_path: Path) -> None:
    joints = recording(50, 0)
    joints[20:30] = 0
    write(tmp_path, "0002-L", joints, [(1, 5, 15), (2, 21, 30), (3, 40, 80), (4, 60, 70), (5, 9, 8), (6, 0, 3)])
    manifest = pack(PKUMMD(tmp_path), tmp_path / "out")
    data = Resident.load(tmp_path / "out")
    assert dict(zip(data.performance_key, data.view_length.tolist(), strict=True)) == {
        "0002_a01_01": 11,
        "0002_a03_01": 11,
    }
    assert sorted(whole(manifest.dropped)) == [
        ("Label_PKUMMD/0002-L.txt", "no frames from 0 to 3 in line 6"),
        ("Label_PKUMMD/0002-L.txt", "no frames from 9 to 8 in line 5"),
        ("Skeleton/0002-L.txt 21-30", "no body in any frame"),
        ("Skeleton/0002-L.txt 60-70", "beyond the end of the recording"),
    ]


def test_a_person_lost_and_found_in_the_other_place_is_one(tmp_path: Path) -> None:
    joints = recording(40, 0)
    joints[:20, 1] = joints[20:, 0] = 0
    write(tmp_path, "0002-L", joints, [(1, 1, 40)])
    pack(PKUMMD(tmp_path), tmp_path / "out")
    data = Resident.load(tmp_path / "out")
    assert (data.view_bodies.tolist(), data.view_length.tolist()) == ([1], [40])


def spoil(root: Path, fault: str) -> None:
    skeleton, label = root / "Skeleton" / "0002-L.txt", root / "Label_PKUMMD" / "0002-L.txt"
    if fault == "no label":
        label.rename(label.with_name("0003-L.txt"))
    elif fault == "no skeletons":
        skeleton.unlink()
    elif fault == "name":
        label.rename(label.with_name("2-L.txt"))
    elif fault == "class":
        label.write_text("52,1,4,2\n")
    elif fault == "words":
        label.write_text("1,4,2\n\nbow,1,4,2\n")
    elif fault == "row":
        skeleton.write_text(skeleton.read_text().replace(" 0.002000", "", 1))
    elif fault == "letters":
        skeleton.write_text(skeleton.read_text().replace("0.002000", "0.0O2000"))
    elif fault == "phases":
        write(root, "A01N01-L", recording(5, 1), [(1, 1, 5)])
    elif fault == "list":
        (root / "cross_subject.txt").write_text("0002-L\n")
    elif fault == "half a list":
        (root / "cross_view.txt").write_text("Training videos:\n0002-L\n")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no label", r"Skeleton/0002-L\.txt: there is no label file 0002-L\.txt"),
        ("no skeletons", r"no folder skeleton\.\.\. with \.txt files in it"),
        ("name", r"2-L\.txt: names are 0002-L\.txt or A01N01-L\.txt"),
        ("class", r"0002-L\.txt: line 1: PKU-MMD has no class 52"),
        ("words", r"0002-L\.txt: line 3 is not class,first,last,confidence"),
        ("row", r"Skeleton/0002-L\.txt: rows without 150 numbers from 1 on"),
        ("letters", r"Skeleton/0002-L\.txt: no numbers from row 1 on"),
        ("phases", "files of both phases"),
        ("list", r"cross_subject\.txt: names before any heading"),
        ("half a list", r"cross_view\.txt: it lists no training or no other videos"),
    ],
)
def test_a_fault_is_named_in_one_sentence(tmp_path: Path, fault: str, message: str) -> None:
    write(tmp_path, "0002-L", recording(5, 0), [(1, 1, 5)])
    spoil(tmp_path, fault)
    with pytest.raises(DataError, match=message) as caught:
        list(PKUMMD(tmp_path))
    assert "\n" not in str(caught.value)


def test_every_action_has_a_name_of_its_own() -> None:
    assert len(ACTIONS) == len(set(ACTIONS)) == 51
