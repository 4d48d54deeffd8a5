"""How far the keypoints of videos are, by what their folders hold."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from shards.sources.video import watch
from shards.sources.video.watch import Watch


def test_clips_of_an_unfinished_video_count(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    with Watch(tmp_path, {"a": 3600.0, "b": 25.0, "c": 0.0}, 10.0, lambda *one: told.append(one)) as watching:
        watching.finished("c")  # no video
        partial = tmp_path / ".a.host.12.partial"
        partial.mkdir()
        for clip in range(31):
            (partial / f"{clip:05d}.npz").touch()
        (partial / ".00031.npz.half").touch()
        watching.tell()
        (tmp_path / ".b.host.13.partial").mkdir()
        for clip in range(3):  # the last one is shorter than ten seconds
            (tmp_path / f".b.host.13.partial/{clip:05d}.npz").touch()
        watching.finished("a")
        watching.finished("b")
    assert told == [(0, 3625), (0, 3625), (310, 3625), (3624, 3625), (3625, 3625)]


def test_it_is_told_while_nothing_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK", 0.01)
    told, thrice = [], threading.Event()

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        if len(told) == 3:
            thrice.set()

    with Watch(tmp_path, {"a": 0.0}, 10.0, progress):
        assert thrice.wait(60)
    assert set(told) == {(0, 1)}
