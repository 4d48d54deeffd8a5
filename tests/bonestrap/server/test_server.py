"""The real server over real sockets: what it answers, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bonestrap
from bonestrap.server.access import Tokens
from bonestrap.server.served import Served, open_model
from bonestrap.server.settings import Settings
from tests.bonestrap.server.serving import CLASSES, LAYOUT, Client, as_lists, running, saved, walk

pytest.importorskip("fastapi", reason="install the extra serve")
pytest.importorskip("uvicorn", reason="install the extra serve")

TOKEN = "0123456789abcdef-secret"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("models")
    saved(home / "student")
    saved(home / "encoder", classes=(), seed=1)
    (home / "student" / "README.md").write_text("# Student\nknows four actions\n")
    return home


@pytest.fixture(scope="module")
def models(folder: Path) -> list[Served]:
    return [open_model(name, folder / name, runtime="auto") for name in ("student", "encoder")]


@pytest.fixture(scope="module")
def client(models: list[Served]) -> Iterator[Client]:
    with running(models, Settings(frames=100, bodies=4, recordings=8)) as one:
        yield one


def expected(folder: Path, joints: Any) -> torch.Tensor:
    return bonestrap.load(folder / "student").predict(joints)


def test_classes_with_probabilities_are_those_of_the_model(client: Client, folder: Path) -> None:
    joints = walk(20, 2)
    joints[3:5] = np.nan
    joints[7, 1] = np.nan
    reply = client.predict({"joints": as_lists(joints), "top_k": 4})
    assert reply.status == 200 and reply.json["model"] == "student"
    (found,) = reply.json["predictions"]
    probabilities = expected(folder, joints)
    order = probabilities.argsort(descending=True)
    assert [one["class"] for one in found] == [CLASSES[at] for at in order]
    torch.testing.assert_close(torch.tensor([one["probability"] for one in found]), probabilities[order])
    assert probabilities.max() - probabilities.min() > 0.05  # it could tell them apart


def test_a_list_and_an_array_are_answered_alike(client: Client, folder: Path) -> None:
    joints = [walk(frames, seed=frames) for frames in (5, 9, 30)]
    assert expected(folder, joints).std(0).max() > 0.1  # so a mistake about whose answer is whose would be seen
    lists = client.predict({"recordings": [as_lists(one) for one in joints], "top_k": 1}).json["predictions"]
    assert [one[0]["class"] for one in lists] == [CLASSES[row.argmax()] for row in expected(folder, joints)]
    padded = np.full((3, 30, *joints[0].shape[1:]), np.nan, np.float32)
    for row, one in zip(padded, joints, strict=True):
        row[: len(one)] = one
    file = io.BytesIO()
    np.save(file, padded)
    for kind in ("application/x-npy", "application/octet-stream"):
        reply = client.predict(file.getvalue(), "/predict?top_k=1&model=student", Content_Type=kind)
        for found, one in zip(reply.json["predictions"], lists, strict=True):
            assert found[0]["class"] == one[0]["class"]
            assert found[0]["probability"] == pytest.approx(one[0]["probability"], abs=1e-6)


def test_features(client: Client, folder: Path) -> None:
    joints = [walk(12), walk(7, 2)]
    body = {"recordings": [as_lists(one) for one in joints], "model": "encoder"}
    reply = client.predict(body, "/embed")
    features = bonestrap.load(folder / "encoder").embed(joints)
    torch.testing.assert_close(torch.tensor(reply.json["features"]), features)
    assert client.predict(body).error == (422, "model")


def test_what_is_served(client: Client) -> None:
    student, encoder = client.ask("GET", "/models").json["models"]
    assert student["classes"] == list(CLASSES) and student["card"].endswith("knows four actions\n")
    assert student["layout"]["joints"] == list(LAYOUT.joints) and student["lineage"]["run"] == "runs/random"
    assert encoder["classes"] == [] and encoder["version"] != student["version"] and encoder["runtime"] == "torch"
    assert client.ask("GET", "/health").json == {"status": "alive"}
    assert client.ask("GET", "/ready").json == {"status": "ready"}
    paths = client.ask("GET", "/openapi.json").json["paths"]
    assert {"/predict", "/embed", "/models", "/metrics"} <= set(paths)
    assert set(paths["/predict"]["post"]["requestBody"]["content"]) == {"application/json", "application/x-npy"}
    for path in ("/docs", "/redoc"):  # their pages would load scripts from elsewhere
        assert client.ask("GET", path).status == 404


WRONG: dict[str, tuple[Any, dict[str, str], tuple[int, str]]] = {
    "model": ({"joints": [], "model": "other"}, {}, (404, "model")),
    "top_k": ({"joints": as_lists(walk(2)), "top_k": 5}, {}, (422, "top_k")),
    "texts": ({"joints": as_lists(walk(2)), "texts": ["walk", "sit"]}, {}, (422, "texts")),
    "kind": (b"x", {"Content_Type": "text/plain"}, (415, "Content-Type")),
    "packed": (b"x", {"Content_Encoding": "gzip"}, (415, "Content-Encoding")),
    "joints": ({"joints": [[[[1, 2, 3]]]]}, {}, (422, "joints[0][0]")),
}


@pytest.mark.parametrize(("body", "headers", "error"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(body: Any, headers: dict[str, str], error: tuple[int, str], client: Client) -> None:
    assert client.predict(body, **headers).error == error


def test_a_body_that_is_too_large_or_too_slow(models: list[Served]) -> None:
    with running(models, Settings(body_mib=0.01, body_seconds=0.2)) as client:
        reply = client.predict(b" " * 20_000)
        assert reply.error == (413, "body") and reply.headers["connection"] == "close"
        chunks = (b" " * 5000 for _ in range(4))
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
        connection.request("POST", "/predict", chunks, {"Content-Type": "application/json"}, encode_chunked=True)
        assert connection.getresponse().status == 413
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", "10")
        connection.endheaders(b"{")
        assert connection.getresponse().status == 408
        assert client.predict({"joints": as_lists(walk(1))}).status == 200


def test_tokens_and_rates(models: list[Served], caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"lab {TOKEN}\ncamera {TOKEN}2\n")
    good = {"joints": as_lists(walk(3))}
    tokens = Tokens.read(tmp_path / "tokens")
    with caplog.at_level("INFO"), running(models, Settings(rate=0.001, burst=2), tokens) as client:
        lab, camera = ({"Authorization": f"Bearer {token}"} for token in (TOKEN, f"{TOKEN}2"))
        assert client.predict(good, **lab).status == 200
        reply = client.predict(good, Authorization=f"Bearer {TOKEN}3")
        assert reply.error == (401, "Authorization") and reply.headers["www-authenticate"] == "Bearer"
        assert client.ask("GET", "/metrics").status == 401
        assert client.ask("GET", "/models").status == 429  # guessing is limited as well
        assert client.ask("GET", "/health").status == client.ask("GET", "/ready").status == 200
        assert client.predict(good, **lab).status == 200
        reply = client.predict(good, "/predict?secret=5", **lab)
        assert reply.status == 429 and 900 <= int(reply.headers["retry-after"]) <= 1000
        assert client.predict(good, **camera).status == 200
    said = caplog.text
    assert "lab POST /predict 200" in said and "lab POST /predict 429" in said and "127.0.0.1 POST /predict 401" in said
    assert "secret" not in said and TOKEN not in said


def test_a_path_is_one_line_of_the_log(models: list[Served], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"), running(models[:1]) as client:  # the line is there once the server has ended
        assert client.ask("GET", "/a%0aForged%1b[31m").status == 404
    (line,) = [record.getMessage() for record in caplog.records if record.name == "bonestrap.server.access"]
    assert r"GET /a\nForged\x1b[31m 404" in line and "\n" not in line


class Slow(Served):
    """Answers when it may."""

    may = threading.Event()
    began = threading.Event()

    def answer(self, recordings: Sequence[np.ndarray], question: Hashable) -> list[np.ndarray]:
        Slow.began.set()
        assert Slow.may.wait(60)
        return super().answer(recordings, question)


def test_a_full_queue_says_when_to_come_again(models: list[Served]) -> None:
    fields = {field.name: getattr(models[0], field.name) for field in dataclasses.fields(Served)}
    body = {"joints": as_lists(walk(3))}
    with running([Slow(**fields)], Settings(queue=2, recordings=2, batch=1)) as client, ThreadPoolExecutor(3) as pool:
        try:
            first = pool.submit(client.predict, body)
            assert Slow.began.wait(60)
            others = pool.submit(client.predict, {"recordings": [body["joints"]] * 2})
            while 'bonestrap_queue_recordings{model="student"} 2.0' not in client.ask("GET", "/metrics").body.decode():
                pass
            reply = client.predict(body)
            assert reply.status == 503 and reply.headers["retry-after"] == "1"
            assert client.predict({"joints": "x"}).status == 422  # what is wrong is told whatever the load
        finally:
            Slow.may.set()
        assert first.result().status == others.result().status == 200
        page = client.ask("GET", "/metrics").body.decode()
    assert 'bonestrap_requests_total{path="/predict",status="200"} 2.0' in page
    assert 'bonestrap_requests_total{path="/predict",status="503"} 1.0' in page
    assert 'bonestrap_batch_recordings_count{model="student"} 3.0' in page
    assert 'bonestrap_request_seconds_bucket{le="0.05",path="/predict"}' in page


def test_malformed_requests_are_answered_with_4xx(models: list[Served]) -> None:
    from benchmarks.serve.client import CLOSED, recordings, send_malformed
    from benchmarks.serve.malformed import Spoiler

    spoiler = Spoiler(len(LAYOUT.joints), LAYOUT.axes, seed=5)
    valid = recordings(len(LAYOUT.joints), LAYOUT.axes, count=1)[0]
    with running(models[:1]) as client:
        found = asyncio.run(send_malformed(("127.0.0.1", client.port), spoiler.requests(170), valid))
    assert set(found.pop("valid")) == {200}
    assert len(found) == len(spoiler.kinds) and sum(sum(counts.values()) for counts in found.values()) == 170
    allowed = {CLOSED, *range(400, 500)}
    assert {kind: counts for kind, counts in found.items() if not set(counts) <= allowed} == {}
    closed = {kind for kind, counts in found.items() if CLOSED in counts}
    assert closed <= {"wrong length", "not HTTP", "method or path"}


START = """
import argparse
from bonestrap.commands import serve
parser = argparse.ArgumentParser()
serve.add_arguments(parser)
serve.run(parser.parse_args())
"""


def test_a_stopped_server_answers_what_it_was_asked(folder: Path) -> None:
    words = ["--model", f"one={folder / 'student'}", "--port", "0", "--recordings", "2000", "--queue", "2000"]
    environment = os.environ | {"PYTHONPATH": str(Path(bonestrap.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", START, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("one ")
        port = int(process.stdout.readline().rpartition(":")[2])
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(Client(port).predict, {"recordings": [as_lists(walk(3))] * 400})
            page = ""
            while "bonestrap_batch_recordings_count{" not in page or '_count{model="one"} 0.0' in page:
                page = Client(port).ask("GET", "/metrics").body.decode()
            process.send_signal(signal.SIGTERM)
            reply = asked.result()
        assert reply.status == 200 and len(reply.json["predictions"]) == 400
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0 and out == "stopped\n"
        assert "127.0.0.1 POST /predict 200" in err
    finally:
        process.kill()


def test_an_answer_waits_for_no_acknowledgement() -> None:
    """asyncio turns Nagle's algorithm off where a socket names its protocol, and an accepted one inherits it."""
    import socket

    from bonestrap.server.run import listen

    async def served() -> int:
        found = asyncio.get_running_loop().create_future()
        listening = listen("127.0.0.1", 0)

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(connected, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            value: int = await found
            writer.close()
            return value

    assert asyncio.run(served()) != 0


def test_mistakes_of_the_command_line(folder: Path) -> None:
    import argparse

    from bonestrap.commands import serve

    def start(*words: str) -> None:
        parser = argparse.ArgumentParser()
        serve.add_arguments(parser)
        serve.run(parser.parse_args(["--model", str(folder / "student"), *words]))

    for words, said in {
        ("--batch", "0"): r"--batch must lie in \[1, 1024\], got 0",
        ("--port", "70000"): r"--port must lie in \[0, 65535\], got 70000",
        ("--model", str(folder / "student")): "--model: two models are called student; name one of them",
        ("--model", "gone=/nowhere"): "/nowhere/model.json does not exist",
        ("--token-file", "/nowhere"): "/nowhere cannot be read: no such file or directory",
        ("--host", "203.0.113.7"): r"--host 203.0.113.7 --port 8080: .*; give another address",
    }.items():
        with pytest.raises(ValueError, match=said):
            start(*words)
    assert json.dumps(Settings().rate) == "0.0"  # nobody is limited unless a rate is given
