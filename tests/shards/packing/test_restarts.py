"""Packing on many workers, with interruptions: the bytes are the same, and nothing is lost, doubled or half-written."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shards.errors import DataError
from shards.manifest import Manifest
from shards.packing import pack as packing
from shards.packing import parallel
from shards.packing.draft import Draft
from shards.packing.pack import pack
from shards.packing.parallel import Processes, ahead
from shards.reader import Resident
from shards.sources.datasets.nw_ucla import NWUCLA

ROOT = Path(__file__).resolve().parents[3]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def record(folder: Path, events: range) -> None:
    """NW-UCLA files, one performance each."""
    folder.mkdir(exist_ok=True)
    for event in events:
        skeletons = np.random.default_rng(event).normal(0, 0.4, (4 + event % 3, 20, 3)).round(3).tolist()
        (folder / f"a01_s01_e{event:02}_v01.json").write_text(json.dumps({"skeletons": skeletons}))


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    record(tmp_path / "in", range(40))
    return tmp_path / "in"


@pytest.fixture
def expected(recordings: Path, tmp_path: Path) -> dict[str, bytes]:
    """What an undisturbed pack makes of the recordings: three performances a shard."""
    pack(NWUCLA(recordings), tmp_path / "expected", shard_bytes=SHARD)
    assert len(list((tmp_path / "expected").glob("*.tar"))) > 10
    return files(tmp_path / "expected")


SHARD = 6000  # bytes
PACK = """
import signal, sys, time
from pathlib import Path
from shards.packing.pack import pack
from shards.packing.parallel import Processes
from shards.sources.datasets.nw_ucla import NWUCLA

def progress(done, total):
    if done >= int(sys.argv[3]):
        print(done, flush=True)
        time.sleep(60)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    workers = int(sys.argv[4])
    pack(NWUCLA(Path(sys.argv[1])), Path(sys.argv[2]), shard_bytes=6000, progress=progress,
         spread=Processes(workers, eager=True), notice=lambda text: print(text, file=sys.stderr, flush=True))
"""


def started(recordings: Path, output: Path, until: int, workers: int = 1) -> subprocess.Popen[str]:
    """Start packing in another process and come back when `until` performances are done there; it then waits."""
    command = [sys.executable, "-c", PACK, str(recordings), str(output), str(until), str(workers)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes)
    assert process.stdout is not None and int(process.stdout.readline()) >= until
    return process


def notices(recordings: Path, output: Path, **options: Any) -> list[str]:
    """Pack and return what the user is told."""
    said: list[str] = []
    pack(NWUCLA(recordings), output, **{"shard_bytes": SHARD, **options}, notice=said.append)
    return said


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_change_no_byte(recordings: Path, expected: dict[str, bytes], tmp_path: Path, workers: int) -> None:
    pack(NWUCLA(recordings), tmp_path / "out", shard_bytes=SHARD, spread=Processes(workers, eager=True))
    assert files(tmp_path / "out") == expected


def test_a_killed_pack_leaves_no_folder_and_is_gone_on_with(
    recordings: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    for until in (14, 30):  # killed twice, the second time while going on
        with started(recordings, output, until) as process:
            process.send_signal(signal.SIGKILL)
        assert not output.exists()
        with pytest.raises(DataError, match="no such folder of shards"):
            Resident.load(output)
        with pytest.raises(DataError, match=r"manifest\.json is missing"):
            Resident.load(Draft(output).shards)  # visibly unfinished, and not taken for shards
    finished = {path.name: path.stat().st_ino for path in Draft(output).shards.glob("*.tar")}
    assert len(finished) >= 9
    (said,) = notices(recordings, output)
    assert said.startswith("resuming after ") and f"in {len(finished)} finished shards" in said
    assert {name: (output / name).stat().st_ino for name in finished} == finished, "kept, not made again"
    assert files(output) == expected
    assert not Draft(output).home.exists()


def test_a_killed_parent_takes_its_workers_along(recordings: Path, tmp_path: Path) -> None:
    with started(recordings, tmp_path / "out", 1, workers=2) as process:
        group = os.getpgid(process.pid)
        assert len(members(group)) > 3  # this one, the fork server, the resource tracker, the workers
        process.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while members(group) and time.monotonic() < end:
        time.sleep(0.05)
    assert not members(group)


def members(group: int) -> list[int]:
    """The living processes of a process group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, in_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(in_group) == group and state != "Z":
            found.append(int(folder.name))
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_control_c_keeps_what_is_finished(
    recordings: Path, expected: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    output = tmp_path / "out"
    with started(recordings, output, 20, workers) as process:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: everyone gets it
        _, said = process.communicate()
    assert "KeyboardInterrupt" in said and "finished shards are kept in" in said
    # A worker that was only just starting may say so as well; none that was at work does.
    assert said.count("Traceback") - said.count("Exception in initializer") == 1
    assert not output.exists() and not list(Draft(output).shards.glob("*.partial"))
    notices(recordings, output)
    assert files(output) == expected


def test_a_pack_stopped_before_its_first_shard_leaves_nothing(recordings: Path, tmp_path: Path) -> None:
    with started(recordings, tmp_path / "out", 1) as process:
        process.send_signal(signal.SIGINT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def interrupted(recordings: Path, output: Path, **options: Any) -> int:
    """Pack until a dozen shards are finished, and say how many there are."""

    def stop(done: int, total: int) -> None:
        if done == 36:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(NWUCLA(recordings), output, shard_bytes=SHARD, progress=stop, **options)
    return len(list(Draft(output).shards.glob("*.tar")))


def fresh(recordings: Path, output: Path, **options: Any) -> dict[str, bytes]:
    pack(NWUCLA(recordings), output, **{"shard_bytes": SHARD, **options})
    return files(output)


def test_a_changed_recording_is_noticed(recordings: Path, tmp_path: Path) -> None:
    count = interrupted(recordings, tmp_path / "out")
    record(recordings, range(100, 101))
    (recordings / "a01_s01_e100_v01.json").rename(recordings / "a01_s01_e20_v01.json")
    changed, kept = notices(recordings, tmp_path / "out")
    assert changed.startswith("recordings changed since the interrupted attempt, at a01_s01_e")
    assert 0 < int(kept.rsplit(" ", 3)[1]) < count, "what comes before the change is still good"
    assert files(tmp_path / "out") == fresh(recordings, tmp_path / "fresh")


def test_new_and_removed_recordings_are_noticed(recordings: Path, tmp_path: Path) -> None:
    interrupted(recordings, tmp_path / "out")
    (recordings / "a01_s01_e05_v01.json").unlink()
    record(recordings, range(40, 44))
    notices(recordings, tmp_path / "out")
    assert files(tmp_path / "out") == fresh(recordings, tmp_path / "fresh")


def test_recordings_that_vanish_behind_the_finished_shards(recordings: Path, tmp_path: Path) -> None:
    interrupted(recordings, tmp_path / "out")
    for event in range(12, 40):
        (recordings / f"a01_s01_e{event:02}_v01.json").unlink()
    notices(recordings, tmp_path / "out")
    assert files(tmp_path / "out") == fresh(recordings, tmp_path / "fresh")


def test_broken_files_behind_the_finished_shards_are_reported(recordings: Path, tmp_path: Path) -> None:
    for event in range(30, 40):
        (recordings / f"a01_s01_e{event:02}_v01.json").write_text("{}")
    whole = fresh(recordings, tmp_path / "fresh", broken="drop")

    def stop(done: int, total: int) -> None:
        if done == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(NWUCLA(recordings), tmp_path / "out", shard_bytes=SHARD, broken="drop", progress=stop)
    (said,) = notices(recordings, tmp_path / "out", broken="drop")
    assert said.startswith("resuming after 2")
    assert files(tmp_path / "out") == whole
    assert len(Manifest.read(tmp_path / "out").dropped) == 10


def test_all_that_is_left_may_be_broken(recordings: Path, tmp_path: Path) -> None:
    interrupted(recordings, tmp_path / "out", broken="drop")
    last = max(Draft(tmp_path / "out").records.iterdir())
    for event in range(json.loads(last.read_text().splitlines()[0])["stop"], 40):
        (recordings / f"a01_s01_e{event:02}_v01.json").write_text("{}")
    assert len(notices(recordings, tmp_path / "out", broken="drop")) == 1
    assert files(tmp_path / "out") == fresh(recordings, tmp_path / "fresh", broken="drop")
    assert len(Manifest.read(tmp_path / "out").dropped) >= 4


@pytest.mark.parametrize("line", ["5", "[]", "[" * 100_000, '{"views": 5}', '{"key": "a"}', "\0"])
def test_a_damaged_record_is_named(recordings: Path, tmp_path: Path, line: str) -> None:
    """Its first line is read before anything is kept, the others at the end: then the file and the remedy are said."""
    interrupted(recordings, tmp_path / "out")
    record = min(Draft(tmp_path / "out").records.iterdir())
    first, *rest = record.read_text().splitlines()
    record.write_text("\n".join([first, line, *rest[1:]]) + "\n")
    with pytest.raises(DataError, match=rf"{record.name}: damaged .* remove .* and start the command again"):
        notices(recordings, tmp_path / "out")
    record.write_text("\n".join([line, *rest]) + "\n")
    notices(recordings, tmp_path / "out")
    assert files(tmp_path / "out") == fresh(recordings, tmp_path / "fresh")


@pytest.mark.parametrize(
    ("options", "why"), [({"dtype": "float32"}, "dtype"), ({"shard_bytes": 2 * SHARD}, "shard size")]
)
def test_other_options_start_anew(recordings: Path, tmp_path: Path, options: dict[str, Any], why: str) -> None:
    interrupted(recordings, tmp_path / "out")
    assert notices(recordings, tmp_path / "out", **options) == [
        f"an interrupted attempt cannot be used: its {why} changed"
    ]
    assert files(tmp_path / "out") == fresh(recordings, tmp_path / "fresh", **options)


def test_another_version_of_the_program_starts_anew(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(recordings, tmp_path / "out")
    monkeypatch.setattr(packing, "program_digest", lambda: "another")
    assert notices(recordings, tmp_path / "out") == ["an interrupted attempt cannot be used: its program changed"]


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "record"])
def test_a_damaged_draft_is_made_again(
    recordings: Path, expected: dict[str, bytes], tmp_path: Path, damage: str
) -> None:
    interrupted(recordings, tmp_path / "out")
    path = Draft(tmp_path / "out").shards / "shard-00004.tar"
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[700] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[:-512])
    elif damage == "gone":
        path.unlink()
    else:
        (Draft(tmp_path / "out").records / "00004.jsonl").write_text("{}")
    (said,) = notices(recordings, tmp_path / "out")
    assert said.endswith("in 4 finished shards")
    assert files(tmp_path / "out") == expected


def test_two_packers_of_one_folder_do_not_hurt_each_other(
    recordings: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with started(recordings, output, 20) as process:
        with pytest.raises(DataError, match=rf"process {process.pid} on .* is packing into this folder; wait for it"):
            pack(NWUCLA(recordings), output, shard_bytes=SHARD)
        assert list(Draft(output).shards.glob("*.tar")), "the other's work is still there"
        pack(NWUCLA(recordings), tmp_path / "elsewhere", shard_bytes=SHARD)
        process.send_signal(signal.SIGKILL)
    assert files(tmp_path / "elsewhere") == expected
    notices(recordings, output)
    assert files(output) == expected


def test_a_folder_filled_by_another_meanwhile_is_left_alone(people: Callable, tmp_path: Path) -> None:
    output = tmp_path / "out"

    def interfere(done: int, total: int) -> None:
        output.mkdir(exist_ok=True)
        (output / "precious").write_text("mine")

    with pytest.raises(DataError, match="is already there and not empty"):
        pack(people(), output, progress=interfere)
    assert files(output) == {"precious": b"mine"}


def test_a_full_disk_is_said_and_gone_on_from(recordings: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "in" / "a02_s01_e00_v01.json").write_text(json.dumps({"skeletons": np.ones((900, 20, 3)).tolist()}))
    whole = fresh(recordings, tmp_path / "fresh")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))  # the last shard is larger
    try:
        with pytest.raises(DataError, match=r"out: the disk is full \(File too large\); make room and start the same"):
            pack(NWUCLA(recordings), tmp_path / "out", shard_bytes=SHARD)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "out").exists() and not list(Draft(tmp_path / "out").shards.glob("*.partial"))
    (said,) = notices(recordings, tmp_path / "out")
    assert said.startswith("resuming after 3")
    assert files(tmp_path / "out") == whole


def test_a_broken_file_costs_only_its_own_shard(recordings: Path, tmp_path: Path) -> None:
    good = (recordings / "a01_s01_e30_v01.json").read_text()
    (recordings / "a01_s01_e30_v01.json").write_text("{")
    with pytest.raises(DataError, match=r"a01_s01_e30_v01\.json: not a readable"):
        pack(NWUCLA(recordings), tmp_path / "out", shard_bytes=SHARD, spread=Processes(2, eager=True))
    (recordings / "a01_s01_e30_v01.json").write_text(good)
    (said,) = notices(recordings, tmp_path / "out")
    assert said.startswith("resuming after ")
    assert files(tmp_path / "out") == fresh(recordings, tmp_path / "fresh")


def suicide(item: int) -> int:
    if item == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_a_killed_worker_is_said() -> None:
    with pytest.raises(DataError, match="a packing process was killed, perhaps for want of memory"):
        list(Processes(2, eager=True)(suicide, range(30)))


def who(item: int) -> tuple[int, int]:
    time.sleep(0.01)
    return item, os.getpid()


def test_work_goes_on_here_until_workers_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {pid for _, pid in Processes(4)(who, range(20))} == {os.getpid()}, "short work starts no process"
    monkeypatch.setattr(parallel, "PATIENCE", 0.05)
    seen: list[int] = []
    for item, pid in Processes(2)(who, itertools.count()):
        assert item == len(seen)
        seen.append(pid)
        if seen.count(pid) > 20 and pid != os.getpid():
            break
    here = [pid == os.getpid() for pid in seen]
    assert here[0] and here == sorted(here, reverse=True), "first here, then there, and in order"


def test_work_is_handed_out_as_far_as_it_may_wait() -> None:
    handed: list[int] = []
    unfinished = {0}

    def submit(item: int) -> int:
        handed.append(item)
        return item

    def finished(running: set[int]) -> set[int]:
        done = running - unfinished
        if not done:
            unfinished.clear()
        return done or running

    assert list(ahead(submit, iter(range(50)), 3, finished)) == list(range(50))
    assert handed == list(range(50))
    handed.clear()
    unfinished.add(0)
    results = ahead(submit, iter(range(50)), 3, finished)
    assert next(results) == 0
    assert len(handed) == 4 * 3, "one slow item holds back no more than four results a worker"
