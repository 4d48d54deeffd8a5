"""The check of recordings: what the terminal and the page say is true, and the page needs no other file."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bonestrap.layout import Layout
from bonestrap.layouts import LAYOUTS, NTU25
from launch.cli.parser import start
from launch.preview import Options, main
from reports.animation import UNIT, encoded, upright
from reports.findings import Report
from reports.html import ASSETS
from shards.manifest import Manifest
from shards.packing.pack import pack
from shards.packing.survey import survey
from shards.reader import Resident
from shards.sources.datasets.nw_ucla import NWUCLA
from shards.sources.source import Performance, Source, View
from shards.sources.synthetic.actions import ACTIONS
from shards.sources.synthetic.people import person
from shards.sources.synthetic.stage import perform

CLASSES = tuple(action.name for action in ACTIONS[:3])
HAND, WRIST = NTU25.joints.index("left_hand"), NTU25.joints.index("left_wrist")


class Studio(Source):
    """Twelve performances of three actions by four people before two cameras, with what `change` does to them."""

    def __init__(self, layout: Layout, change: Callable[[list[Performance]], None], classes: tuple[str, ...]) -> None:
        self.name, self.layout, self.classes = "studio", layout, classes
        self.made = []
        for number in range(12):
            rng = np.random.default_rng(number)
            scene = perform(ACTIONS[number % 3], person(rng), 0.0, rng)[..., : len(layout.joints), : layout.coordinates]
            views = tuple(
                View(
                    camera=camera,
                    joints=(scene + rng.normal(0, 0.003, scene.shape)).astype(np.float32),
                    origin=f"{number:02}_{camera}.mp4",
                    splits=("people/train" if number < 8 else "people/test",),
                )
                for camera in (1, 2)
            )
            one = Performance(
                key=f"p{number:02}", label=number % 3, subject=1 + number // 3, setup=None, replication=0, views=views
            )
            self.made.append(one)
        change(self.made)

    def __len__(self) -> int:
        return len(self.made)

    def key(self, number: int) -> str:
        return self.made[number].key

    def stamp(self, number: int) -> str:
        return ""

    def __getitem__(self, number: int) -> Performance:
        return self.made[number]


def with_joints(performance: Performance, view: int, joints: np.ndarray) -> Performance:
    views = list(performance.views)
    views[view] = dataclasses.replace(views[view], joints=joints.astype(np.float32))
    return dataclasses.replace(performance, views=tuple(views))


def faulty(made: list[Performance]) -> None:
    made[9] = with_joints(made[9], 1, made[2].views[0].joints)  # a training recording is a test recording
    made[4] = with_joints(made[4], 0, made[4].views[0].joints[:6])
    stretched = made[5].views[1].joints.copy()
    stretched[:, :, HAND] += 5 * (stretched[:, :, HAND] - stretched[:, :, WRIST]) + 0.3
    made[5] = with_joints(made[5], 1, stretched)
    lost = made[7].views[0].joints.copy()
    lost[:, :, [HAND, HAND - 1]] = lost[:, :, [HAND - 2]]
    made[7] = with_joints(made[7], 0, lost)


def packed(
    folder: Path,
    *,
    layout: Layout = NTU25,
    change: Callable[[list[Performance]], None] = faulty,
    classes: tuple[str, ...] = CLASSES,
) -> Path:
    pack(Studio(layout, change, classes), folder / "shards")
    return folder / "shards"


def looked(folder: Path, *words: str) -> str:
    """Run the command and return the page."""
    start(main, Options, [str(folder), "--workers", "1", *words])
    return folder.with_name(f"{folder.name}.html").read_text(encoding="utf-8")


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page)
    assert found
    return json.loads(found[1])


class Tags(HTMLParser):
    """Fails where an element is closed that was not open, and notes what the page would load."""

    VOID = frozenset(("meta", "input", "br"))

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.canvases: list[str] = []
        self.feed(page)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        assert not {"src", "href", "srcset", "data"} & set(named), f"{tag} loads something"
        assert not any(name.startswith("on") for name in named)
        if tag == "canvas" and named.get("data-clip"):
            self.canvases.append(str(named["data-clip"]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> while {self.open} are open"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("faulty"))


def test_the_terminal_names_every_fault(faults: Path, capsys: pytest.CaptureFixture[str]) -> None:
    looked(faults)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        f"{faults}: studio, layout ntu25, 25 joints, float16",
        f"  12 performances, 24 recordings, {Manifest.read(faults).frames:,} frames",
    ]
    said = dict(line[3:].split(maxsplit=1) for line in lines[3:10] if line.strip())
    assert said["contaminated"] == "people: 1 of 8 test recordings (12.5%) are also in training"
    assert said["duplicates"] == (
        "1 recording is an exact duplicate of another: 1 in different performances, 1 from different cameras, 1 of "
        "different subjects, 1 of different classes"
    )
    assert said["near-empty"] == "1 recording: 04_1.mp4 (6 frames)"
    assert said["bones"].endswith("more than 2% in 1 recording: 05_2.mp4 (8%)")
    assert said["joints"].endswith("more than 5% in 1 recording: 07_1.mp4 (8%)")
    assert [line[:2] for line in lines[3:8]] == ["!!", "!!", " !", " !", " !"]
    text = "\n".join(lines)
    assert re.search(r"classes, recordings\n  wave +█+ +8\n", text)
    assert re.search(r"cameras, recordings\n  1  █+ +12\n  2  █+ +12\n", text)
    assert re.search(r"subjects, recordings\n  1  █+ +6\n", text)
    assert "6 to " in lines[-3] and lines[-1] == f"page: {faults.with_name('shards.html')}"


def test_the_page_says_the_same_and_stands_alone(faults: Path) -> None:
    page = looked(faults)
    tags = Tags(page)
    text = " ".join(tags.text)
    report = Report.of(survey(faults))
    assert all(finding.text in text for finding in report.findings())
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttp|import\(", page)
    assert page.count('<span class="badge fault">contaminated</span>') == 1
    assert "05_2.mp4" in text and "hand" in text and "09_2.mp4 = " not in text
    assert "02_1.mp4 = 09_2.mp4" in text
    scene = data_of(page)
    for name in tags.canvases:
        at: Any = scene
        for key in name.split("/"):
            at = at[int(key)] if isinstance(at, list) else at[key]
        assert at["frames"] >= 1
    assert len(tags.canvases) == len(scene["gallery"]) + 4 * len(scene["augmented"]) + 2


def decoded(clip: dict[str, Any], joints: int) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(clip["joints"]), dtype="<i2")
    return values.reshape(clip["frames"], clip["bodies"], joints, 3) / UNIT


def test_what_is_drawn_is_what_is_stored(faults: Path) -> None:
    scene, data = data_of(looked(faults, "--recordings", "6")), Resident.load(faults)
    assert [shown["title"] for shown in scene["gallery"]] == [*CLASSES, *CLASSES]
    keys = list(data.performance_key)
    assert len({shown["key"] for shown in scene["gallery"]}) == 6
    for shown in scene["gallery"]:
        first = data.performance_first_view[keys.index(shown["key"])]
        assert [clip["name"] for clip in shown["clips"]] == ["camera 1", "camera 2"]
        for offset, clip in enumerate(shown["clips"]):
            view = first + offset
            length, begin = data.view_length[view], data.view_start[view]
            stored = data.frames[begin : begin + length].float().numpy()[:: clip["every"]]
            assert clip["total"] == length
            np.testing.assert_allclose(decoded(clip, 25)[:, 0], stored, atol=0.5 / UNIT + 1e-6)
    drawing = scene["layout"]
    assert [(child, parent) for child, parent, _ in drawing["bones"]] == [tuple(bone) for bone in NTU25.bones]
    kinds = {drawing["colours"][kind] for child, _, kind in drawing["bones"] if child in NTU25.left}
    assert kinds == {"left-arm", "left-leg"}
    assert NTU25.joints[drawing["head"]] == "head"


def test_originals_stand_beside_their_augmented_views(faults: Path) -> None:
    scene = data_of(looked(faults))
    again, other = data_of(looked(faults)), data_of(looked(faults, "--seed", "7"))
    assert scene["augmented"] == again["augmented"] != other["augmented"]
    assert len(scene["augmented"]) == 4
    for shown, elsewhere in zip(scene["augmented"], other["augmented"], strict=True):
        original, conservative, *aggressive = shown["clips"]
        assert original == elsewhere["clips"][0]
        reach = np.abs(decoded(original, 25)).max()
        assert np.abs(decoded(conservative, 25)).max() <= reach + 0.01, "another pace moves no joint elsewhere"
        assert not conservative["hidden"]
        for clip in aggressive:
            assert clip["joints"] != original["joints"]
            assert set(clip["hidden"]) in (set(), set(NTU25.left), set(NTU25.right))


def test_clean_recordings_are_called_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = looked(packed(tmp_path, change=lambda made: None))
    lines = capsys.readouterr().out.splitlines()
    assert [line[:2] for line in lines[3:8]] == ["ok"] * 5
    assert "people: no recording is in both training and test" in page and '<span class="badge">clean</span>' in page
    assert not data_of(page)["duplicates"] and "near-empty recordings</summary>" not in page
    Tags(page)


def test_bodies_of_no_size_and_layouts_without_sides_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three recordings whose millimetres passed for metres, and a layout in which nothing is left or right."""

    def enlarge(made: list[Performance]) -> None:
        for number in range(3):
            made[number] = with_joints(made[number], 0, 1000 * made[number].views[0].joints)

    layout = dataclasses.replace(NTU25, sides=())
    pack(Studio(layout, enlarge, CLASSES), tmp_path / "shards", dtype="float32")
    looked(tmp_path / "shards")
    lines = capsys.readouterr().out.splitlines()
    (size,) = (line for line in lines if line.startswith("!! size"))
    said = r"implausible body size in 3 recordings: 00_1\.mp4 \([\d.e+]+ metres\), 01_1.*; pack again with "
    assert re.search(said, size)
    assert any(line.startswith(" ! layout        layout ntu25 has no sides") for line in lines)


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    def rename(made: list[Performance]) -> None:
        evil = dataclasses.replace(
            made[0].views[0], origin="<img src=x onerror=alert(1)>.mp4", joints=made[1].views[0].joints
        )
        made[0] = dataclasses.replace(made[0], views=(evil,))

    source = Studio(NTU25, rename, ("</script><b>", "a & b", '"quoted"'))
    source.name = "<script>alert(2)</script>"
    pack(source, tmp_path / "shards")
    page = looked(tmp_path / "shards")
    tags = Tags(page)
    assert "</script><b>" in "".join(tags.text) and "<b></script>" not in page
    assert "<script>alert(2)</script>" in "".join(tags.text) and page.count("<script") == 2
    assert data_of(page)["gallery"][0]["title"] == "</script><b>"


def test_recordings_about_which_little_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def forget(made: list[Performance]) -> None:
        for number, one in enumerate(made):
            views = (dataclasses.replace(one.views[0], camera=None, splits=()),)
            made[number] = dataclasses.replace(one, label=None, subject=None, views=views)

    folder = packed(tmp_path, layout=NTU25, change=forget)
    page = looked(folder, "--recordings", "5")
    printed = capsys.readouterr().out
    assert "12 of 12 performances are unlabelled" in printed and "subjects" not in printed
    scene = data_of(page)
    assert len({shown["key"] for shown in scene["gallery"]}) == 5
    assert scene["gallery"][0]["clips"][0]["name"] == "unknown camera"
    assert "These recordings declare no split" in page
    Tags(page)


def test_planar_joints_stand_upright(tmp_path: Path) -> None:
    layout = LAYOUTS["coco17"]
    joints = np.zeros((2, 1, 17, 2), dtype=np.float32)
    joints[:, :, 0] = (0.25, -1.5)  # right of the middle and above it, in an image
    points = upright(joints, layout)
    np.testing.assert_array_equal(points[0, 0, 0], (-0.25, 0, 1.5))
    np.testing.assert_array_equal(decoded(encoded(joints, layout), 17)[1, 0, 0], (-0.25, 0, 1.5))

    def flatten(made: list[Performance]) -> None:
        return

    scene = data_of(looked(packed(tmp_path, layout=layout, change=flatten)))
    assert scene["layout"]["planar"] and layout.joints[scene["layout"]["head"]] == "nose"


def test_long_recordings_are_thinned_out() -> None:
    joints = np.arange(200, dtype=np.float32)[:, None, None, None] / UNIT * np.ones((1, 1, 25, 3), dtype=np.float32)
    clip = encoded(joints, NTU25)
    assert (clip["frames"], clip["every"], clip["total"]) == (67, 3, 200)
    np.testing.assert_allclose(decoded(clip, 25)[:, 0, 0, 0] * UNIT, np.arange(0, 200, 3))


def test_mistakes_are_one_sentence(faults: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        ([str(tmp_path / "none")], "no such folder of shards"),
        ([str(faults), "--output", str(tmp_path)], "is a folder; give a file"),
        ([str(faults), "--recordings", "0"], "--recordings must lie in [1, 10000], got 0"),
        ([], "SHARDS must be given"),
    ):
        with pytest.raises(SystemExit) as caught:
            start(main, Options, words)
        assert caught.value.code == 2
        assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_page_that_cannot_be_written_leaves_the_old_one(
    faults: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = small_disk / "page.html"
    target.write_text("old")
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    with pytest.raises(SystemExit) as caught:
        start(main, Options, [str(faults), "--workers", "1", "--output", str(target)])
    assert caught.value.code == 2 and "no space left on device" in capsys.readouterr().err.lower()
    assert target.read_text() == "old" and {path.name for path in small_disk.iterdir()} == {"page.html", "filler"}


def test_the_script_is_sound() -> None:
    node = shutil.which("node")
    if not node:
        pytest.skip("no node here to read the page's script with")
    subprocess.run([node, "--check", str(ASSETS / "recordings.js")], check=True)


def test_nw_uclas_copies_are_said_plainly(
    recordings_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(NWUCLA(recordings_root / "nw_ucla"), tmp_path / "shards")
    page = looked(tmp_path / "shards")
    printed = capsys.readouterr().out
    assert "!! contaminated  cross-view-published: 95 of 464 test recordings (20.5%) are also in training\n" in printed
    assert " ! duplicates    95 recordings are exact duplicates of others: 95 from different cameras\n" in printed
    assert (
        "ok clean         cross-view, cross-subject, cross-view-nodup: no recording is in both training and test\n"
        in printed
    )
    assert " ! near-empty    10 recordings: " in printed and "a02_s09_e04_v02.json (1 frame)" in printed
    assert page.count('<span class="badge fault">contaminated</span>') == 1
    assert page.count("_v02.json = all_sqe/") == 95
