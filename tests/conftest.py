"""What every test shares: one thread a process, and where the real recordings lie."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
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


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed recordings that many tests read and none changes: sixteen actions by eight generated people, once each."""
    from launch import pack
    from launch.cli.parser import start_choice

    folder = tmp_path_factory.mktemp("people") / "shards"
    words = ["synthetic", "--output", str(folder), "--subjects", "8", "--setups", "1", "--repetitions", "1"]
    start_choice(pack.main, "format", pack.FORMATS, pack.Options, words)
    return folder


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
