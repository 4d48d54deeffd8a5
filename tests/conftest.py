"""What every test shares: one thread a process, where the real recordings lie, and what is made once for all."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stores import Store

# Before torch is imported, here and in every process that a test starts: two cores run several processes at once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a local ray.init would otherwise leave a token file behind
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@pytest.fixture(scope="session")
def recordings_root() -> Path:
    """The folder of real recordings: `BONESTRAP_DATA`, or `../shared/data` beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("BONESTRAP_DATA", beside))
    if not root.is_dir():
        pytest.skip(f"no recordings in {root}: set BONESTRAP_DATA to the folder that holds nw_ucla/ and ntu_samples/")
    return root


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that one test process makes and all those of a session read: `pytest -n 2` starts several."""
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    home = factory.getbasetemp() if alone else factory.getbasetemp().parent
    folder = home / name
    with (home / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            aside = home / f"{name}.unfinished"
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            make(aside)
            aside.rename(folder)
    return folder


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed recordings that many tests read and none changes: sixteen actions by eight generated people, once each,
    in several shards."""

    def make(folder: Path) -> None:
        from launch import pack
        from launch.cli.parser import start_choice

        words = ["synthetic", "--output", str(folder / "shards"), "--subjects", "8", "--setups", "1"]
        words += ["--repetitions", "1", "--shard-mib", "1"]
        start_choice(pack.main, "format", pack.FORMATS, pack.Options, words)

    return once(tmp_path_factory, "people", make) / "shards"


@pytest.fixture(scope="session")
def chain(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs `pretrained`, `teacher` and `student`, trained for some steps on half of the people.

    Tests read it; one that evaluates, which writes beside the model, takes a copy.
    """

    def make(folder: Path) -> None:
        from tests.launch.commands import command

        common = f"--data {shards} --no-track --device cpu --precision fp32 --log-every 1"
        small = "--encoder.width 0.05 --clip.frames 8 --method.hidden 16 --method.projection 8 --split cross-subject"
        short = "--schedule.batch 8 --schedule.group 8 --schedule.epochs 1 --schedule.warmup 0"
        few = "--batch 4 --learning-rate 0.01"
        pretrained, teacher, student = (folder.parent / "chain" / name for name in ("pretrained", "teacher", "student"))
        command(f"pretrain byol-small {common} {small} {short} --optimizer.learning-rate 0.001 --run {pretrained}")
        few_labels = "--labels 0.5 --steps 3 --encoder-rate 0.01 --method.statistics kept"
        command(f"finetune --model {pretrained} {common} {few} {few_labels} --run {teacher}")
        command(f"distill --teacher {teacher} {common} {few} --epochs 0.5 --run {student}")

    return once(tmp_path_factory, "trained", make).parent / "chain"


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs. Making its tables takes seconds, and copying it none."""

    def make(folder: Path) -> None:
        import mlflow

        mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()

    pytest.importorskip("mlflow")
    return once(tmp_path_factory, "mlflow", make) / "mlflow.db"


@pytest.fixture
def mlflow_uri(mlflow_template: Path, tmp_path: Path) -> str:
    """The address of an MLflow database of this test's own, `tmp_path/mlflow.db`."""
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB, which really becomes full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting a small file system takes root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An object store with one bucket, and the keys to it in the environment."""
    for module in ("flask", "moto.server", "pyarrow"):
        pytest.importorskip(module)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    made = Store()
    yield made
    made.stop()
