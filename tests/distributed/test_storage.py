"""Disks that are full, stores that are away, folders that are taken away under a run: real ones."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bonestrap.clips import Batch
from distributed.checkpoint import Checkpoints, State, Writer
from distributed.journal import JournalGone
from distributed.lease import RunInUse
from distributed.loop import train
from distributed.strategy import Single
from distributed.tracking import Journal, read
from distributed.watch import GracefulStop
from tests.distributed.test_checkpoint import state, store
from tests.distributed.toy import Listener, ToyLoader, everything, toy_job

ROOT = Path(__file__).resolve().parents[2]

Event = Callable[[], object]


class Eventful(ToyLoader):
    """Something happens before some steps are computed."""

    def __init__(self, events: dict[int, Event]) -> None:
        super().__init__()
        self.events = events

    def group(self, step: int, group: int) -> Batch:
        if group == 0 and step in self.events:
            self.events[step]()
        return super().group(step, group)


def fill(disk: Path) -> None:
    """Until not a byte fits any more."""
    with (disk / "ballast").open("ab", buffering=0) as file:
        for size in (2**16, 1):
            try:
                while True:
                    file.write(b"0" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC


def fill_after(checkpoint: Path, disk: Path) -> Event:
    """Fill the disk once this checkpoint, which is written beside the steps, is there."""

    def event() -> None:
        waits_for(checkpoint.exists)
        fill(disk)

    return event


def free(disk: Path) -> None:
    (disk / "ballast").unlink()


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in read(run) if "loss" in line]


def same(a: object, b: object) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def waits_for(what: Event) -> None:
    end = time.monotonic() + 120
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def whole(tmp_path: Path) -> tuple[Path, dict[str, object]]:
    """Twenty steps that nothing happened to."""
    job = toy_job(tmp_path / "whole")
    return tmp_path / "whole", everything(job, train(job, Single()))


# ---------------------------------------------------------------------- full disks


def test_a_checkpoint_that_does_not_fit_is_an_error_of_the_disk_and_leaves_nothing(small_disk: Path) -> None:
    checkpoints = store(small_disk / "checkpoints", [])
    checkpoints.save(state(10))
    large = State(20, 0.0, {"weight": torch.zeros(2**20)}, {})
    with pytest.raises(OSError, match="No space left") as full:
        checkpoints.save(large)
    assert full.value.errno == errno.ENOSPC
    assert [path.name for path in (small_disk / "checkpoints").iterdir()] == ["step-00000010"]
    assert checkpoints.newest() == 10


def test_an_error_of_the_program_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    writer = Writer(store(tmp_path, []))
    writer.put(State(10, 0.0, {"lambda": lambda: None}, {}))
    with pytest.raises(Exception, match=r"[Pp]ickle"):
        writer.wait()


@pytest.mark.parametrize("inside", [True, False], ids=["whole run", "checkpoints alone"])
def test_a_disk_that_is_full_for_a_while_costs_nothing(
    tmp_path: Path, small_disk: Path, whole: tuple[Path, dict[str, object]], inside: bool
) -> None:
    run = (small_disk if inside else tmp_path) / "run"
    folder = small_disk / "run/checkpoints" if inside else small_disk / "elsewhere"
    listener = Listener()
    loader = Eventful({6: fill_after(folder / "step-00000005", small_disk), 17: lambda: free(small_disk)})
    job = toy_job(run, loader=loader, checkpoints=folder)
    summary = train(job, Single(screen=listener))
    same(everything(job, summary), whole[1])
    assert losses(run) == losses(whole[0])
    assert summary.unsaved == ""
    said = [text for text in listener.messages if str(folder) in text]
    assert said == [
        f"{folder}/step-00000010 could not be written (No space left on device); "
        "earlier ones stay, and the next is another try.",
        f"{folder}/step-00000020 has been written: checkpoints are kept again.",
    ]
    assert len(listener.messages) == (4 if inside else 2)  # of the journal as well
    assert Checkpoints(folder, keep=2, warn=print).steps() == [5, 20]


@pytest.mark.parametrize("inside", [True, False], ids=["whole run", "checkpoints alone"])
def test_a_disk_that_stays_full_is_said_at_the_end_and_the_last_good_checkpoint_goes_on(
    tmp_path: Path, small_disk: Path, whole: tuple[Path, dict[str, object]], inside: bool
) -> None:
    run = (small_disk if inside else tmp_path) / "run"
    folder = small_disk / "run/checkpoints" if inside else small_disk / "elsewhere"
    job = toy_job(run, loader=Eventful({6: fill_after(folder / "step-00000005", small_disk)}), checkpoints=folder)
    summary = train(job, Single(screen=Listener()))
    same(job.method.state_dict(), whole[1]["method"])
    assert f"{folder}/step-00000020 could not be written (No space left on device)" in summary.unsaved
    assert ("journal.jsonl could not be written to its end" in summary.unsaved) == inside
    assert [path.name for path in folder.iterdir()] == ["step-00000005"]
    free(small_disk)
    again, listener = toy_job(run, checkpoints=folder), Listener()
    same(everything(again, train(again, Single(screen=listener))), whole[1])
    assert listener.messages == [f"Resuming {run} after 5 of 20 steps."]
    assert losses(run) == losses(whole[0])


def test_lines_that_a_full_disk_took_in_part_are_whole_afterwards(small_disk: Path) -> None:
    said: list[str] = []
    journal = Journal(small_disk, done=0, say=said.append)
    ballast = (small_disk / "ballast").open("ab", buffering=0)
    fill(small_disk)
    for step in range(1, 200):  # pages are taken whole: the first lines fit, one is cut
        journal.write(step, {"loss": float(step)})
    assert (small_disk / "journal.jsonl").read_bytes()[-1:] != b"\n"
    ballast.close()
    free(small_disk)
    journal.write(200, {"loss": 200.0})
    journal.close("finished")
    assert losses(small_disk) == list(range(1, 201))
    assert list(read(small_disk))[-1]["status"] == "finished"
    assert len(said) == 2


# ---------------------------------------------------------------------- taken away


def removed(folder: Path) -> None:
    """Remove a folder in which a thread may still be writing."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("inside", [True, False], ids=["checkpoints inside", "checkpoints elsewhere"])
def test_a_run_directory_that_is_removed_ends_the_run_and_does_not_come_back(tmp_path: Path, inside: bool) -> None:
    run, elsewhere = tmp_path / "run", None if inside else tmp_path / "elsewhere"
    loader = Eventful({7: lambda: removed(run)})
    with pytest.raises((JournalGone, RunInUse), match=r"removed.* this job stops"):  # the lease may notice it first
        train(toy_job(run, loader=loader, checkpoints=elsewhere), Single(screen=Listener()))
    assert not run.exists()


def test_a_checkpoint_that_is_first_written_after_the_removal_does_not_bring_it_back(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    checkpoints = store(run / "checkpoints", [])
    assert checkpoints.newest() is None
    shutil.rmtree(run)
    with pytest.raises(FileNotFoundError):
        checkpoints.save(state(1))
    assert not run.exists()


def test_a_journal_that_another_job_has_begun_anew_is_left_alone(tmp_path: Path) -> None:
    def begin_anew() -> None:
        other = Journal(tmp_path, done=5)
        other.write(6, {"loss": 0.5})
        other.close()

    with pytest.raises(JournalGone, match="has been replaced"):
        train(toy_job(tmp_path, loader=Eventful({7: begin_anew})), Single(screen=Listener()))
    lines = list(read(tmp_path))
    assert (lines[-1]["step"], lines[-1]["loss"]) == (6, 0.5)
    assert not any("status" in line for line in lines)


def test_a_directory_that_is_made_read_only_for_a_while_costs_nothing(
    tmp_path: Path, whole: tuple[Path, dict[str, object]]
) -> None:
    powerless = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    if powerless and shutil.which("setpriv") is None:
        pytest.skip("root writes everywhere, and there is no setpriv to give that up")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "pace").write_text("0.3")
    run, output = folder / "run", tmp_path / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            [*powerless, sys.executable, "-m", "tests.distributed.driver", str(folder), "--workers", "0"],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        waits_for(lambda: len(losses(run)) >= 6)
        for path in (run / "checkpoints", run):
            path.chmod(0o555)
        waits_for(lambda: "step-00000010 could not be written (Permission denied)" in output.read_text())
        for path in (run, run / "checkpoints"):
            path.chmod(0o755)
        assert process.wait() == 0, output.read_text()
    finally:
        process.kill()
        process.wait()
    assert "checkpoints are kept again" in output.read_text()
    same(torch.load(folder / "final.pt", weights_only=True), whole[1]["method"])
    assert losses(run) == losses(whole[0])


def test_a_stop_that_a_full_disk_lets_nobody_save_says_so(
    small_disk: Path, whole: tuple[Path, dict[str, object]]
) -> None:
    run = small_disk / "run"

    def stop() -> None:
        fill(small_disk)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(
        GracefulStop, match=r"step-00000008 could not be written \(No space.*resumes from the checkpoint before"
    ):
        train(toy_job(run, loader=Eventful({7: stop})), Single(screen=Listener()))
    free(small_disk)
    again = toy_job(run)
    same(everything(again, train(again, Single())), whole[1])
