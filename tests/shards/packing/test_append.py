"""Appending: the old shards stay as they are, the whole is found in one step, and nothing comes twice."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shards.errors import DataError
from shards.manifest import Manifest
from shards.packing import draft as drafts
from shards.packing.draft import Draft
from shards.packing.pack import pack
from shards.packing.parallel import Processes
from shards.packing.verification import verify_folder
from shards.reader import Resident
from shards.sources.datasets.nw_ucla import NWUCLA

ROOT = Path(__file__).resolve().parents[3]
SHARD = 6000


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def record(folder: Path, events: range, action: int = 1) -> Path:
    folder.mkdir(exist_ok=True)
    for event in events:
        skeletons = np.random.default_rng([action, event]).normal(0, 0.4, (4 + event % 3, 20, 3)).round(3).tolist()
        (folder / f"a{action:02}_s01_e{event:02}_v01.json").write_text(json.dumps({"skeletons": skeletons}))
    return folder


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Shards of ten performances."""
    pack(NWUCLA(record(tmp_path / "first", range(10))), tmp_path / "shards", shard_bytes=SHARD)
    return tmp_path / "shards"


@pytest.fixture
def more(tmp_path: Path) -> NWUCLA:
    """Twelve others, whose keys come before and after the old ones."""
    record(tmp_path / "more", range(10, 16))
    return NWUCLA(record(tmp_path / "more", range(6), action=2))


def append(source: Any, shards: Path, **options: Any) -> Manifest:
    return pack(source, shards, **{"shard_bytes": SHARD, **options}, append=True)


def test_the_old_shards_stay_and_the_new_ones_come_behind(shards: Path, more: NWUCLA, tmp_path: Path) -> None:
    before, old = files(shards), Resident.load(shards)
    manifest = append(more, shards)
    after, data = files(shards), Resident.load(shards)
    assert {name: after[name] for name in before if name.endswith(".tar")} == {
        name: content for name, content in before.items() if name.endswith(".tar")
    }
    assert data.manifest == manifest == Manifest.read(shards) and manifest.digest != old.manifest.digest
    assert list(data.performance_key) == [*old.performance_key, *(more.key(n) for n in range(12))]
    assert manifest.performances == 22 and manifest.frames == int((data.view_length).sum())
    np.testing.assert_array_equal(data.frames[: len(old.frames)], old.frames)
    assert verify_folder(shards).faults == ()
    assert [name for name in after if not name.endswith(".tar")] == [manifest.index.file, "manifest.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "more", "shards"]
    alone = Resident.load(pack_alone(more, tmp_path))
    np.testing.assert_array_equal(data.frames[len(old.frames) :], alone.frames)


def pack_alone(source: NWUCLA, folder: Path) -> Path:
    pack(source, folder / "alone")
    return folder / "alone"


def test_appending_again_and_again_with_any_workers(shards: Path, more: NWUCLA, tmp_path: Path) -> None:
    other = tmp_path / "other"
    pack(NWUCLA(tmp_path / "first"), other, shard_bytes=SHARD)
    third = NWUCLA(record(tmp_path / "third", range(5), action=12))
    for folder, workers in ((shards, 1), (other, 2)):
        append(more, folder, spread=Processes(workers, eager=True))
        append(third, folder, spread=Processes(workers, eager=True))
    assert files(shards) == files(other)
    assert verify_folder(shards).faults == ()


def test_dropped_recordings_are_added_to_the_list(shards: Path, more: NWUCLA, tmp_path: Path) -> None:
    (tmp_path / "more" / "a01_s01_e12_v01.json").write_text("{}")
    manifest = append(more, shards, broken="drop")
    assert [file for file, _ in manifest.dropped] == ["a01_s01_e12"]
    assert "a01_s01_e12" in (shards / "dropped.csv").read_text()
    manifest = append(NWUCLA(record(tmp_path / "third", range(5), action=12)), shards)
    assert [file for file, _ in manifest.dropped] == ["a01_s01_e12"]
    assert verify_folder(shards).faults == ()


def test_what_is_there_already_is_refused(shards: Path, more: NWUCLA, tmp_path: Path) -> None:
    before = files(shards)
    record(tmp_path / "more", range(8, 10))
    with pytest.raises(DataError, match="nw-ucla: performance a01_s01_e08 and 1 others are in these shards already"):
        append(NWUCLA(tmp_path / "more"), shards)
    assert files(shards) == before and not Draft(shards).home.exists()


@pytest.mark.parametrize("changed", ["dtype", "classes", "preprocessing"])
def test_recordings_of_another_kind_are_refused(shards: Path, people: Callable, changed: str) -> None:
    before = files(shards)
    source, options = people(2), {}
    source.classes = NWUCLA.classes
    if changed == "dtype":
        options = {"dtype": "float32"}
    elif changed == "classes":
        source.classes = (*NWUCLA.classes, "one more")
    else:
        source.cleaning = (drop_nothing,)
    with pytest.raises(DataError, match=f"the {changed} of these shards is not that of the new recordings"):
        append(source, shards, **options)
    assert files(shards) == before
    source.classes, source.cleaning = NWUCLA.classes, ()
    append(source, shards)


def drop_nothing(joints: np.ndarray) -> np.ndarray:
    return joints


def test_damaged_shards_are_not_appended_to(shards: Path, more: NWUCLA) -> None:
    (shards / "index.npz").write_bytes((shards / "index.npz").read_bytes()[:-1])
    with pytest.raises(DataError, match=r"index\.npz is truncated"):
        append(more, shards)
    with pytest.raises(DataError, match="no such folder of shards"):
        append(more, shards.with_name("nowhere"))


KILLED = """
import os, sys
from pathlib import Path
from shards.packing.draft import Draft
from shards.packing.pack import pack
from shards.sources.datasets.nw_ucla import NWUCLA
import shards.packing.draft

moment, count = sys.argv[3], 0
if moment == "publishing":  # killed between two of the renames that make the new shards count
    replace = os.replace
    def dying(source, target):
        global count
        if Path(target).parent == Path(sys.argv[2]):
            count += 1
            if count == 3:
                os.kill(os.getpid(), 9)
        replace(source, target)
    shards.packing.draft.os.replace = dying

def progress(done, total):
    if moment == "writing" and done == 8:
        os.kill(os.getpid(), 9)

pack(NWUCLA(Path(sys.argv[1])), Path(sys.argv[2]), shard_bytes=6000, append=True, progress=progress)
"""


@pytest.mark.parametrize("moment", ["writing", "publishing"])
def test_a_killed_append_leaves_the_old_shards_good(shards: Path, more: NWUCLA, tmp_path: Path, moment: str) -> None:
    expected = tmp_path / "expected"
    pack(NWUCLA(tmp_path / "first"), expected, shard_bytes=SHARD)
    append(more, expected)
    old = Resident.load(shards)
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "more", shards, moment], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    data = Resident.load(shards)
    assert data.manifest == old.manifest and data.frames.equal(old.frames)
    left = [fault for fault in verify_folder(shards).faults if "perhaps of an interrupted append" not in fault]
    assert not left
    append(more, shards)
    assert files(shards) == files(expected)
    assert not Draft(shards).home.exists()


def test_an_interrupted_append_goes_on(shards: Path, more: NWUCLA, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        append(more, shards, progress=stop)
    append(more, shards, notice=said.append)
    assert said == ["resuming after 9 of 12 performances, in 3 finished shards"]
    assert verify_folder(shards).faults == ()


def test_an_append_that_began_on_other_shards_starts_anew(shards: Path, more: NWUCLA, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        append(more, shards, progress=stop)
    manifest = Manifest.read(shards)
    dataclasses.replace(manifest, name="renamed").write(shards)
    said: list[str] = []
    append(more, shards, notice=said.append)
    assert said == ["an interrupted attempt cannot be used: its folder to append to changed"]
    assert Manifest.read(shards).name == "renamed"


def test_a_full_disk_while_publishing_is_said(shards: Path, more: NWUCLA, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Resident.load(shards)

    def full(path: Path) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(drafts, "flush_all", full)
    with pytest.raises(DataError, match=r"the disk is full \(No space left on device\); make room"):
        append(more, shards)
    assert Resident.load(shards).manifest == old.manifest and verify_folder(shards).faults == ()
