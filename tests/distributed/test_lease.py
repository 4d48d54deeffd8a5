"""One job a run: who is refused, who waits, who takes over, and that a job which was cut off commits nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from distributed import lease
from distributed.checkpoint import Checkpoints
from distributed.lease import Job, Lease, RunInUse, alive
from distributed.loop import train
from distributed.strategy import Single
from tests.distributed.test_checkpoint import state
from tests.distributed.toy import Listener, toy_job

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LASTS_SECONDS", 2.0)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(lease, "SETTLE_SECONDS", 0.01)


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Callable[..., Lease]]:
    """Leases of `tmp_path` that are given back at the end."""
    made: list[Lease] = []

    def new(name: str, attempt: int = 0, said: list[str] | None = None) -> Lease:
        made.append(Lease(tmp_path, Job(name, attempt), (said if said is not None else []).append))
        made[-1].take()
        return made[-1]

    yield new
    for one in made:
        one.release()


def on_another_machine(folder: Path, **changes: Any) -> None:
    """Rewrite the lease as if it were held elsewhere."""
    file = folder / "lease.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "machine": "elsewhere", **changes}))


def test_a_second_job_is_refused_while_the_first_lives_and_nothing_is_deleted(
    tmp_path: Path, hold: Callable[..., Lease]
) -> None:
    Checkpoints(tmp_path, keep=2, warn=print).save(state(10))
    hold("first")
    with pytest.raises(RunInUse, match=f"is in use by process {os.getpid()} on .*choose another --run"):
        hold("second")
    assert Checkpoints(tmp_path, keep=2, warn=print).newest() == 10


def test_a_run_that_was_given_back_is_free_at_once(tmp_path: Path, hold: Callable[..., Lease]) -> None:
    hold("first").release()
    assert not (tmp_path / "lease.json").exists()
    said: list[str] = []
    hold("second", said=said)
    assert said == []


def test_the_lease_of_a_dead_process_of_this_machine_is_free_at_once(
    tmp_path: Path, hold: Callable[..., Lease]
) -> None:
    script = (
        "import sys, time; from pathlib import Path; from distributed import lease; lease.RENEW_SECONDS = 0.1\n"
        "held = lease.Lease(Path(sys.argv[1]), lease.Job('first'), print); held.take()\n"
        "print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    assert alive(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not alive(tmp_path)
    began = time.monotonic()
    hold("second")
    assert time.monotonic() - began < 1.5  # not the whole of a lease


def test_the_lease_of_another_machine_is_taken_once_it_has_ended(tmp_path: Path, hold: Callable[..., Lease]) -> None:
    first = hold("first")
    first.over.set()
    first.thread.join()
    on_another_machine(tmp_path, pid=1)
    said: list[str] = []
    began = time.monotonic()
    hold("second", said=said)
    assert time.monotonic() - began > 1.9
    assert "waiting to see whether that job is alive" in said[0]
    with pytest.raises(RunInUse, match="has been taken over by process"):
        first.check()


def test_a_later_attempt_of_the_same_job_takes_over_at_once(hold: Callable[..., Lease]) -> None:
    first = hold("job", 0)
    said: list[str] = []
    second = hold("job", 1, said)
    assert said == []
    second.check()
    with pytest.raises(RunInUse, match="has been taken over"):
        first.check()
    first.release()  # not its own any more
    second.check()
    assert second.read() is not None


def test_a_job_that_was_cut_off_commits_nothing_and_deletes_nothing(tmp_path: Path, hold: Callable[..., Lease]) -> None:
    first = hold("first")
    checkpoints = Checkpoints(tmp_path, keep=1, warn=print, held=first.check)
    checkpoints.save(state(10))
    on_another_machine(tmp_path, job="second")
    with pytest.raises(RunInUse):
        checkpoints.save(state(20))
    assert Checkpoints(tmp_path, keep=1, warn=print).steps() == [10]


def test_the_loop_holds_the_lease_and_gives_it_back(tmp_path: Path) -> None:
    refused: list[BaseException] = []

    def second() -> dict[str, float]:
        def other() -> None:
            try:
                train(toy_job(tmp_path), Single(screen=Listener()))
            except BaseException as error:
                refused.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return {}

    train(toy_job(tmp_path, steps=5, probe=second, probe_every=5), Single())
    assert [type(error) for error in refused] == [RunInUse, RunInUse]  # at step 0 and 5
    assert not (tmp_path / "checkpoints/lease.json").exists()


def test_a_job_that_is_stopped_in_the_middle_of_a_renewal_does_not_take_the_run_back(
    tmp_path: Path, hold: Callable[..., Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LASTS_SECONDS", 0.5)
    gate, writing = threading.Event(), threading.Event()
    first = hold("first")
    write = first.storage.write

    def stands_still(name: str, put: Callable[[Any], object]) -> None:
        def late(file: Any) -> None:
            put(file)
            writing.set()
            gate.wait()

        write(name, late)

    monkeypatch.setattr(first.storage, "write", stands_still)
    writing.wait()
    second = hold("second")
    gate.set()  # the first puts its name into the lease
    with pytest.raises(RunInUse, match="has been taken over"):
        first.check()
    first.release()
    second.check()
    assert (second.read() or {})["job"] == "second"


def test_a_lease_that_is_gone_is_lost(tmp_path: Path, hold: Callable[..., Lease]) -> None:
    first = hold("first")
    first.over.set()  # it stands still
    first.thread.join()
    hold("first", 1).release()
    with pytest.raises(RunInUse, match="is gone: another job has taken the run over and ended"):
        first.check()


def test_a_job_that_comes_back_to_a_run_that_another_has_finished_commits_and_removes_nothing(tmp_path: Path) -> None:
    """As it would after a stop in the middle of a renewal: the lease that it then finds is its own."""
    first, second = (Checkpoints(tmp_path, keep=1, warn=print) for _ in range(2))
    first.save(state(10))
    assert first.newest() == second.newest() == 10
    second.save(state(30))
    with pytest.raises(RunInUse, match=r"step-00000030 is another job's"):
        first.save(state(20))
    assert first.steps() == [30]
