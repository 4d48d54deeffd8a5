"""Keypoints of one video: its parts, and what an interrupted process leaves to the next one.

The estimator here needs no network: it says how bright a frame is, and how many it has seen.
"""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from shards.sources.video import extraction
from shards.sources.video.extraction import TRACKS, Extract, Found
from shards.sources.video.networks import Networks
from shards.sources.video.person import Estimator, Person
from tests.dots import write_video

pytest.importorskip("av")

FRAMES, CLIP, PART = 27, 4, 8  # frames of the video, of a clip, and through which persons are followed


class Brightness(Estimator):
    """Finds in every frame one person, whose number is always 0; stops before frame `stop`."""

    def __init__(self, looked: list[int], stop: int) -> None:
        self.looked, self.stop, self.count = looked, stop, 0

    def __call__(self, image: np.ndarray) -> list[Person]:
        level = round(float(image.mean()) / 9)
        if level == self.stop:
            raise KeyboardInterrupt
        self.looked.append(level)
        self.count += 1
        return [Person(0, np.array([[level, self.count, 1]], dtype=np.float32))]


@dataclass(frozen=True, kw_only=True)
class Levels(Networks):
    looked: list[int] = field(default_factory=list)
    stop: int = -1

    def build(self, rate: float) -> Estimator:
        assert rate == 10
        return Brightness(self.looked, self.stop)

    def _parts(self) -> list[str]:
        return []


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(extraction, "PART", PART // CLIP)
    write_video(tmp_path / "in/a.mkv", [np.full((32, 32, 3), 9 * n, np.uint8) for n in range(FRAMES)], rate=10)
    return tmp_path


def extract(root: Path, networks: Networks, home: str) -> Found:
    return Extract(root=root / "in", home=root / home, networks=networks, rate=None, seconds=CLIP / 10)("a.mkv")


def persons(found: Found) -> list[tuple[int, int, float, float]]:
    """Clip, track, brightness and frames seen before, of all persons in order."""
    out: list[tuple[int, int, float, float]] = []
    for number, path in enumerate(found.paths):
        with np.load(path) as clip:
            assert len(clip["frame"]) == found.clips[number] == found.seen[number]
            for track, joints in zip(clip["track"], clip["joints"], strict=True):
                out.append((number, int(track), float(joints[0, 0]), float(joints[0, 1])))
    return out


def expected() -> list[tuple[int, int, float, float]]:
    return [(n // CLIP, n // PART * TRACKS, float(n), float(n % PART + 1)) for n in range(FRAMES)]


def test_a_long_video_is_read_in_parts_that_know_nothing_of_each_other(root: Path) -> None:
    found = extract(root, Levels(persons=1), "home")
    assert found.clips == (CLIP,) * 6 + (3,)
    assert persons(found) == expected()


def test_an_interrupted_video_goes_on_after_its_last_finished_part(root: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        extract(root, Levels(persons=1, stop=20), "home")
    (left,) = (root / "home").iterdir()
    assert left.name.endswith(f".{os.getpid()}.partial")
    assert sorted(path.name for path in left.iterdir()) == ["00000.npz", "00001.npz", "00002.npz"]
    with subprocess.Popen(["true"]) as ended:
        pass
    (left / ".00003.npz.half").write_bytes(b"half a clip")
    left.rename(left.with_name(left.name.replace(f".{os.getpid()}.", f".{ended.pid}.")))
    networks = Levels(persons=1)
    found = extract(root, networks, "home")
    assert networks.looked == list(range(PART, FRAMES))  # the first part was not looked at again
    assert persons(found) == expected()
    assert [path.name for path in (root / "home").iterdir()] == [found.folder.name]
    assert sorted(path.name for path in found.folder.iterdir()) == [*(f"{n:05d}.npz" for n in range(7)), "video.json"]


def test_what_a_running_process_has_begun_is_its_own(root: Path) -> None:
    whole = extract(root, Levels(persons=1), "other")
    theirs = root / "home" / f".{whole.folder.name}.{platform.node().replace('.', '-')}.{os.getppid()}.partial"
    theirs.mkdir(parents=True)
    networks = Levels(persons=1)
    assert persons(extract(root, networks, "home")) == expected()
    assert len(networks.looked) == FRAMES
    assert theirs.is_dir()
