"""Passwords and signatures in addresses: the commands use them, and nothing that is kept or printed holds them."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from launch import compare, evaluate, pretrain
from launch.cli.parser import start, start_choice
from launch.recipes import RECIPES
from shards.storage import remote

ROOT = Path(__file__).resolve().parents[2]
SECRETS = ("kEy5ecret", "5ignature", "pa55word", "9021.05351")
SMALL = (
    "--encoder.width 0.05 --clip.frames 8 --method.hidden 16 --method.projection 8 --schedule.batch 8 "
    "--schedule.group 8 --schedule.epochs 0.5 --schedule.warmup 0 --device cpu"
)


class Services(NamedTuple):
    """Where shards, checkpoints and MLflow are, with secrets; and the folder that MLflow's server keeps."""

    data: str
    checkpoints: str
    tracking: str
    folder: Path


@pytest.fixture(params=["file", pytest.param("server", marks=pytest.mark.chaos)])
def services(
    request: pytest.FixtureRequest, shards: Path, mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Services]:
    pytest.importorskip("flask")
    moto, fs = pytest.importorskip("moto.server"), pytest.importorskip("pyarrow.fs")
    folder = tmp_path_factory.mktemp("services")
    shutil.copy(mlflow_template, folder / "mlflow.db")
    s3 = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    host, port = s3.get_host_and_port()
    query = f"?endpoint_override={host}:{port}&scheme=http&region=us-east-1#{SECRETS[1]}"

    data, checkpoints = (f"s3://someone:{SECRETS[0]}@{name}/x{query}" for name in ("bucket", "kept"))
    for address, source in ((data, shards), (checkpoints, None)):
        system, path = fs.FileSystem.from_uri(address.replace("?", "?allow_bucket_creation=true&"))
        system.create_dir(path.partition("/")[0])
        if source:
            fs.copy_files(str(source), path, destination_filesystem=system)
    if request.param == "file":
        yield Services(data, checkpoints, f"sqlite:///{folder}/mlflow.db?timeout={SECRETS[3]}", folder)
        s3.stop()
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    words = [sys.executable, "-m", "mlflow", "server", "--port", str(number), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "kept")]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{number}/health", timeout=1)
            break
        except OSError:
            time.sleep(0.1)
    yield Services(data, checkpoints, f"http://me:{SECRETS[2]}@127.0.0.1:{number}", folder)
    server.terminate()
    server.wait()
    s3.stop()


def typed(folder: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "launch" / script), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def holders(folder: Path) -> list[str]:
    """The files below that hold a secret."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    return [str(file) for file in files if any(secret.encode() in file.read_bytes() for secret in SECRETS)]


def clean(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert not any(secret in done.stdout + done.stderr for secret in SECRETS), done.stdout + done.stderr
    return done


@pytest.mark.timeout(400)
def test_no_artefact_of_a_run_holds_a_secret(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", services.tracking)  # what an evaluation needs to get in
    run, data = tmp_path / "run", ["--data", services.data]
    where = ["--checkpoints", services.checkpoints, f"--tracking-uri={services.tracking}"]
    commands = [
        ["pretrain.py", "byol-small", *data, "--run", str(run), *where, *SMALL.split()],
        ["evaluate.py", "knn", *data, "--model", str(run), "--report", str(run / "report.html")],
    ]
    for script, *words in commands:
        done = clean(typed(tmp_path, script, *words))
        assert done.returncode == 0, done.stderr
    (row,) = compare.compare(compare.read(services.tracking, None))  # all has arrived: the secrets were used
    assert row.status == "finished" and row.report and row.run_dir == str(run)
    assert (run / "report.html").exists() and not (run / "checkpoints").exists()
    command = json.loads((run / "run.json").read_text())["info"]["command"]
    assert "--data s3://bucket/x --run" in command and "--checkpoints s3://kept/x" in command
    assert holders(tmp_path) == []
    assert holders(services.folder) == []


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (pretrain, ["byol-small", "--data", f"s3://k:{SECRETS[0]}@none/x?endpoint_override=127.0.0.1:1&scheme=http"]),
        (pretrain, ["byol-small", "--data", "SHARDS", "--checkpoints", f"gopher://k:{SECRETS[0]}@h/x", *SMALL.split()]),
        (pretrain, ["byol-small", "--data", "SHARDS", f"--tracking-ur=http://k:{SECRETS[0]}@h/x"]),
        (pretrain, ["byol-small", "--data", f"s3://k:{SECRETS[0]} with/sl@bucket/x"]),
        (compare, ["--tracking-uri", f"postgresql://k:{SECRETS[0]}@127.0.0.1:1/db?password={SECRETS[2]}"]),
        (evaluate, ["knn", "--model", "nothing", "--data", f"http://k:{SECRETS[0]}@127.0.0.1:1/x"]),
    ],
)
def test_no_error_shows_a_secret(
    shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    script: ModuleType,
    words: list[str],
) -> None:
    monkeypatch.setattr(remote, "PAUSE", 0.001)
    words = [word.replace("SHARDS", str(shards)) for word in words]
    with pytest.raises(SystemExit, match="2"):
        if script is compare:
            start(compare.main, compare.Options, words)
        elif script is evaluate:
            start_choice(evaluate.main, "protocol", evaluate.PROTOCOLS, evaluate.Options, words)
        else:
            words += ["--run", str(tmp_path / "run")]
            start_choice(pretrain.main, "recipe", RECIPES, pretrain.Options, words)
    said = "".join(capfd.readouterr())
    assert said and not any(secret in said for secret in SECRETS), said


def test_no_traceback_shows_a_secret(tmp_path: Path) -> None:
    program = f"""
from launch.cli.errors import UserErrors
with UserErrors():
    raise RuntimeError('http://u:{SECRETS[2]}' + '@h/x')
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "RuntimeError: http://h/x" in done.stderr
