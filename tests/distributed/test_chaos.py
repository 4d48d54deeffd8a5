"""What a cluster does to a run, done to it: `make chaos`. Minutes long, so it is left out of the ordinary suite.

Every scenario ends with the run finished, and its weights compared with those of a run that nothing happened to. Each
prints what it measured; `docs/operations.md` has the figures.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from distributed.connection import ENVIRONMENT
from distributed.tracking import read, run_id
from tests.distributed.test_storage import fill, free
from tests.distributed.toy import Ranks, train_toy
from tests.stores import Store

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]


class Command:
    """The driver as a process: its output is read when it has ended."""

    def __init__(self, folder: Path, *arguments: str, address: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.output = folder / f"output-{time.monotonic_ns()}.txt"
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
        environment.pop("RAY_ADDRESS", None)
        if address:
            environment["RAY_ADDRESS"] = address
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.distributed.driver", str(folder), *arguments],
                cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def said(self) -> str:
        return self.output.read_text()

    def ends(self, code: int = 0) -> str:
        assert self.process.wait() == code, self.said()
        return self.said()


def waits_for(what: Callable[[], Any], seconds: float = 300) -> Any:
    """The first true value of `what`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(f"nothing after {seconds} s")


def done(folder: Path) -> int:
    """Steps in the journal."""
    return max((line["step"] for line in read(folder / "run") if "loss" in line), default=0)


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read(folder / "run") if "loss" in line]


def final(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "final.pt", weights_only=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """Twenty steps on two ranks, without any cluster."""
    folder = tmp_path_factory.mktemp("whole")
    ranks = Ranks(2)
    try:
        return folder, ranks(train_toy, folder)[0]["method"]
    finally:
        ranks.close()


def identical(folder: Path, whole: tuple[Path, dict[str, torch.Tensor]]) -> None:
    torch.testing.assert_close(final(folder), whole[1], rtol=0, atol=0)
    assert losses(folder) == losses(whole[0])


def close(folder: Path, whole: tuple[Path, dict[str, torch.Tensor]]) -> None:
    assert losses(folder) == pytest.approx(losses(whole[0]), abs=1e-5)
    assert len(losses(folder)) == 20


# ---------------------------------------------------------------------- processes


@pytest.mark.parametrize("fault", ["KILL:0:7", "KILL:1:7", "TERM:0:7", "TERM:1:7", "SEGV:1:7"])
def test_a_worker_that_is_killed(tmp_path: Path, fault: str, whole: Any) -> None:
    began = time.monotonic()
    said = Command(tmp_path, "--fault", fault).ends()
    broken = (tmp_path / "broken").stat().st_mtime
    resumed = next(line["time"] for line in read(tmp_path / "run") if line["step"] > 5)
    print(f"{fault}: training again after {resumed - broken:.1f} s, whole command {time.monotonic() - began:.0f} s")
    assert f"Worker {fault[-3]} (process {(tmp_path / 'broken').read_text()} on " in said
    assert "starting again from the newest checkpoint (1 of 3)" in said
    assert "after 5 of 20 steps" in said  # killed in the eighth: two repeated, of an interval of five
    ours = "\n".join(line for line in said.splitlines() if not fault.startswith("SEGV") or "  1 | " not in line)
    assert "raylet" not in ours  # but among the frames of the crash, which are quoted
    if fault.startswith("SEGV"):
        assert "| Fatal Python error" in said or "| *** SIGSEGV" in said  # the log of the rank that failed
    identical(tmp_path, whole)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_driver_is_killed(tmp_path: Path, number: signal.Signals, whole: Any) -> None:
    (tmp_path / "pace").write_text("0.3")
    first = Command(tmp_path)
    waits_for(lambda: done(tmp_path) >= 7)
    (tmp_path / "pace").write_text("3")  # workers outlive a killed driver for seconds, and must not get to the end
    first.process.send_signal(number)
    first.process.wait()
    began = time.monotonic()
    again = Command(tmp_path)
    waits_for(lambda: "Resuming" in again.said())
    (tmp_path / "pace").write_text("0")
    said = again.ends()
    print(f"driver {number.name}: the same command was done after {time.monotonic() - began:.0f} s")
    assert re.search(r"after (5|[789]|1\d) of 20 steps", said)
    identical(tmp_path, whole)


def test_two_jobs_of_one_name(tmp_path: Path, whole: Any) -> None:
    (tmp_path / "pace").write_text("3")  # the second needs seconds to start
    first = Command(tmp_path, "--workers", "1")
    waits_for(lambda: done(tmp_path) >= 6)
    began = time.monotonic()
    second = Command(tmp_path, "--workers", "1")
    assert "is in use by process" in second.ends(1)
    print(f"the second job was refused after {time.monotonic() - began:.0f} s")
    (tmp_path / "pace").write_text("0")
    first.ends()
    close(tmp_path, whole)


@pytest.mark.parametrize("kind", ["HANG", "STOP"])
def test_a_hung_rank(tmp_path: Path, kind: str, whole: Any) -> None:
    (tmp_path / "pace").write_text("3")  # a rank says where it is every second: this one has said that it waits
    command = Command(tmp_path, "--fault", f"{kind}:1:7", "--hang", "10")
    said = command.ends(1)
    print(f"{kind}: the error came {time.time() - (tmp_path / 'broken').stat().st_mtime:.0f} s after the hang began")
    assert "Worker 1 has hung at step 8, waiting for data" in said
    if kind == "HANG":
        assert "time.sleep(3600)" in said  # where it stands
    (tmp_path / "pace").unlink()
    Command(tmp_path).ends()
    identical(tmp_path, whole)


def test_a_job_that_is_stopped_and_comes_back_finds_its_run_in_other_hands(tmp_path: Path, whole: Any) -> None:
    (tmp_path / "pace").write_text("0.5")
    first = Command(tmp_path, "--workers", "0")
    waits_for(lambda: done(tmp_path) >= 7)
    first.process.send_signal(signal.SIGSTOP)
    stopped = time.time()
    second = Command(tmp_path, "--workers", "0")
    waits_for(lambda: "Resuming" in second.said())
    print(f"another job took the run over {time.time() - stopped:.0f} s after SIGSTOP")
    before = done(tmp_path)
    waits_for(lambda: done(tmp_path) > before)
    first.process.send_signal(signal.SIGCONT)
    assert re.search("has been taken over by process|has been replaced, as by another job", first.ends(1))
    assert (tmp_path / "run/checkpoints/lease.json").exists()  # the other's
    (tmp_path / "pace").write_text("0")
    second.ends()
    close(tmp_path, whole)
    assert [line["status"] for line in read(tmp_path / "run") if "status" in line] == ["finished"]


# ---------------------------------------------------------------------- disks and stores


@pytest.mark.parametrize("inside", [True, False], ids=["whole run", "checkpoints alone"])
def test_a_disk_is_full_for_a_while(tmp_path: Path, small_disk: Path, inside: bool, whole: Any) -> None:
    (tmp_path / "pace").write_text("0.5")
    if inside:
        (small_disk / "run").mkdir()
        (tmp_path / "run").symlink_to(small_disk / "run")
    command = Command(tmp_path, *([] if inside else ["--checkpoints", str(small_disk / "checkpoints")]))
    waits_for(lambda: done(tmp_path) >= 6)
    fill(small_disk)
    waits_for(lambda: "step-00000010 could not be written (No space left on device)" in command.said())
    if inside:  # the journal's last page had room for lines
        (tmp_path / "pace").write_text("2")
        waits_for(lambda: "journal.jsonl cannot be written (No space left on device)" in command.said())
    assert command.process.poll() is None
    free(small_disk)
    (tmp_path / "pace").write_text("0")
    said = command.ends()
    assert "checkpoints are kept again" in said
    assert ("journal.jsonl is written again: nothing is missing" in said) == inside
    assert "At the end" not in said
    identical(tmp_path, whole)


def test_a_store_is_away_at_the_end(tmp_path: Path, store: Store, whole: Any) -> None:
    (tmp_path / "pace").write_text("0.5")
    address = store.address("bucket")
    command = Command(tmp_path, "--checkpoints", address)
    waits_for(lambda: done(tmp_path) >= 12)
    store.stop()
    gone = time.monotonic()
    said = command.ends()
    print(f"the command ended {time.monotonic() - gone:.0f} s after the store went away, with its weights")
    assert "At the end s3://bucket/run/step-00000020 could not be written" in said
    identical(tmp_path, whole)
    store.start()
    (tmp_path / "pace").write_text("0")
    again = Command(tmp_path, "--checkpoints", address).ends()
    assert "after 10 of 20 steps" in again
    identical(tmp_path, whole)


# ---------------------------------------------------------------------- machines


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes of one core each beside a head that has none."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    os.environ.update({name: ENVIRONMENT[name] for name in ENVIRONMENT if name not in os.environ})
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    made.shutdown()


def test_a_node_is_lost_and_another_comes(tmp_path: Path, cluster: Any, whole: Any) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    (tmp_path / "pace").write_text("0.5")
    command = Command(tmp_path, "--workers", "1:2", "--steps", "60", address=cluster.address)
    waits_for(lambda: done(tmp_path) >= 6)
    assert (tmp_path / "world-2").exists()
    lost, before = time.time(), done(tmp_path)
    cluster.remove_node(nodes[1], allow_graceful=False)
    waits_for(lambda: (tmp_path / "world-1").exists() and done(tmp_path) > before)
    shrunk = time.time() - lost
    (tmp_path / "world-2").unlink()
    added, before = time.time(), done(tmp_path)
    cluster.add_node(num_cpus=1)
    waits_for(lambda: (tmp_path / "world-2").exists() and done(tmp_path) > before)
    print(
        f"node lost: training on one worker after {shrunk:.1f} s; node added: on two after {time.time() - added:.1f} s"
    )
    (tmp_path / "pace").write_text("0")
    said = command.ends()
    assert "There is room for more workers." in said
    assert losses(tmp_path)[:20] == pytest.approx(losses(whole[0]), abs=1e-5)
    assert len(losses(tmp_path)) == 60
    assert shrunk < 40


def test_a_preemption_notice(tmp_path: Path, cluster: Any) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    (tmp_path / "pace").write_text("0.5")
    command = Command(tmp_path, "--workers", "1:2", "--steps", "30", "--every", "1000", address=cluster.address)
    waits_for(lambda: done(tmp_path) >= 3)
    told = time.time()
    subprocess.run(
        [
            *(str(Path(sys.executable).with_name("ray")), "drain-node", "--address", cluster.address),
            *("--node-id", nodes[1].node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION"),
            *("--reason-message", "taken away", "--deadline-remaining-seconds", "30"),
        ],
        check=True,
    )
    written = waits_for(lambda: sorted((tmp_path / "run/checkpoints").glob("step-*/committed")), 30)[0]
    print(f"the checkpoint was committed {written.stat().st_mtime - told:.1f} s after the notice of 30 s")
    (tmp_path / "pace").write_text("0.2")
    said = command.ends()
    assert "A machine will be taken away: writing a checkpoint." in said
    assert len(losses(tmp_path)) == 30


# ---------------------------------------------------------------------- numbers of workers, strategies


def test_workers_and_strategies_change_in_the_middle(tmp_path: Path, whole: Any) -> None:
    for steps, workers, strategy in ((4, 1, "ddp"), (8, 2, "zero1"), (12, 4, "ddp"), (16, 2, "zero2"), (20, 1, "ddp")):
        Command(
            tmp_path, "--steps", str(steps), "--workers", str(workers), "--strategy", strategy, "--every", "4"
        ).ends()
    close(tmp_path, whole)


# ---------------------------------------------------------------------- tracking


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def server(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """An MLflow server that answers."""
    import urllib.request

    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--default-artifact-root", str(folder)),
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip

    def up() -> bool:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).status == 200
        except OSError:
            return False

    waits_for(up)
    return process


def test_mlflow_goes_away_for_a_minute_and_returns(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    process = server(tmp_path, port)
    folder = tmp_path / "tracked"
    folder.mkdir()
    (folder / "pace").write_text("0.1")
    command = Command(folder, "--workers", "0", "--steps", "500", "--every", "100", "--uri", uri)
    try:
        waits_for(lambda: done(folder) >= 50)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        away = done(folder)
        time.sleep(60)
        back = done(folder)
        process = server(tmp_path, port)
        said = command.ends()
        stamps = {line["step"]: line["time"] for line in read(folder / "run") if "loss" in line}
        there = (stamps[away] - stamps[10]) / (away - 10)
        gone = (stamps[back] - stamps[away + 1]) / (back - away - 1)
        print(f"a step took {there * 1e3:.1f} ms with the server and {gone * 1e3:.1f} ms without: {gone / there:.3f}")
        assert "does not answer; training continues" in said
        assert "is back: the journal has been replayed" in said
        points = mlflow.MlflowClient(uri).get_metric_history(run_id(folder / "run"), "loss")
        assert sorted((point.step, point.value) for point in points) == list(enumerate(losses(folder), 1))
        assert gone / there < 1.03
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
