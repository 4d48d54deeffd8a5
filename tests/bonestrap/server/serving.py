"""A model of random weights, and the real HTTP server around it in a thread."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from bonestrap.augment import ClipConfig
from bonestrap.encoders import STGCNConfig
from bonestrap.layouts import SBU15
from bonestrap.model import Description, Model
from bonestrap.protocols.floor import calibrate
from bonestrap.serialization import save
from bonestrap.server.access import Tokens
from bonestrap.server.served import Served
from bonestrap.server.settings import Settings

LAYOUT = SBU15
CLASSES = ("wave", "kick", "bow", "limp")


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """The status and the field that is wrong."""
        return self.status, self.json["error"]["field"]


class Client(NamedTuple):
    port: int

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} if sent is not None else {}
        connection.request(method, path, sent, {**kind, **(headers or {})})
        answer = connection.getresponse()
        reply = Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        connection.close()
        return reply

    def predict(self, body: Any, path: str = "/predict", **headers: str) -> Reply:
        return self.ask("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})


def saved(folder: Path, classes: Sequence[str] = CLASSES, seed: int = 0) -> Path:
    """A model directory."""
    torch.manual_seed(seed)
    description = Description(
        stage="student", encoder=STGCNConfig(width=1 / 16), layout=LAYOUT, clip=ClipConfig(frames=8, fit=True),
        classes=tuple(classes), lineage={"data": "random", "run": "runs/random"},
    )  # fmt: skip
    encoder = description.build_encoder()
    head = nn.Linear(encoder.features, len(classes)) if classes else None
    model = calibrated(Model(description, encoder, head))
    if head is not None:  # logits that differ from one recording to the next
        features = model.embed(KNOWN)
        with torch.no_grad():
            head.weight.div_(features.std(0).norm() / 12)
            head.bias.copy_(-head.weight @ features.mean(0))
    save(folder, model)
    return folder


def calibrated(model: Model) -> Model:
    """With the batch statistics of some recordings: features of random weights are otherwise all alike."""
    calibrate(model.encoder, model.pipeline, [model.eval().prepare(KNOWN)])
    return model.eval()


def walk(frames: int, bodies: int = 1, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    shape = (bodies, len(LAYOUT.joints), LAYOUT.axes)
    moves = random.normal(0, 0.05, (frames, *shape)).cumsum(0)
    return (moves + random.normal(0, 0.5, shape)).astype(np.float32)


KNOWN = [walk(30, seed=100 + number) for number in range(8)]


def as_lists(joints: np.ndarray) -> Any:
    """JSON: null where a number is NaN."""
    lists = joints.astype(object)
    lists[np.isnan(joints)] = None
    return lists.tolist()


@contextmanager
def running(
    models: Sequence[Served], settings: Settings | None = None, tokens: Tokens | None = None
) -> Iterator[Client]:
    from bonestrap.server.app import make_app
    from bonestrap.server.run import configured, listen

    settings = settings or Settings()
    server = configured(make_app(models, settings, tokens), settings)
    listening = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield Client(listening.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
