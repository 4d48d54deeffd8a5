"""`bonestrap recognise`: frames of a file, of standard input and of a socket to lines of events."""

from __future__ import annotations

import argparse
import io
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from bonestrap.commands import recognise
from bonestrap.layouts import KINECT20
from bonestrap.serialization import save
from bonestrap.stream import config
from bonestrap.stream.config import StreamConfig
from bonestrap.stream.lines import frames
from bonestrap.stream.recogniser import Recogniser
from tests.bonestrap.stream.test_recogniser import model, uneven

ROOT = Path(__file__).resolve().parents[3]
EAGER = StreamConfig(rate=20, window=1.0, stride=2, gap=0.2, threshold=0.4, release=0.3, start_after=1)


def run(*words: str) -> None:
    parser = argparse.ArgumentParser()
    recognise.add_arguments(parser)
    recognise.run(parser.parse_args(words))


def text() -> str:
    """Lines of uneven frames, null for what is not seen."""

    def number(x: float) -> float | None:
        return None if np.isnan(x) else float(x)

    lines = []
    for time, seen in uneven(KINECT20, 60):
        persons = [
            {"id": name, "joints": [None if np.isnan(row).all() else [number(x) for x in row] for row in joints]}
            for name, joints in seen.items()
        ]
        lines.append(json.dumps({"time": time, "persons": persons}))
    return "\n".join(lines) + "\n\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    save(made, model())
    config.write(made, EAGER, {})
    return made


def expected(*, updates: bool = False) -> list[dict[str, object]]:
    """What the class says of the same frames."""
    recogniser, out = Recogniser(model(), EAGER), []
    for time, seen in uneven(KINECT20, 60):
        update = recogniser.push(seen, time)
        out += [(event.kind, event.person, event.time) for event in update.events]
        out += [("update", answer.person, answer.time) for answer in update.answers if updates]
    out += [(event.kind, event.person, event.time) for event in recogniser.finish()]
    return [{"event": kind, "person": person, "time": round(time, 4)} for kind, person, time in out]


def said(printed: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in printed.splitlines()]
    return [{name: line[name] for name in ("event", "person", "time")} for line in lines]


def test_a_file_standard_input_and_a_socket_give_the_same_events(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "frames.jsonl"
    file.write_text(text())
    run("--model", str(folder), "--input", str(file), "--json")
    from_file = capsys.readouterr().out
    assert said(from_file) == expected() and len(expected()) >= 6
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text().encode())))
    run("--model", str(folder), "--json")
    assert capsys.readouterr().out == from_file
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(text().encode())

        sender = threading.Thread(target=send)
        sender.start()
        run("--model", str(folder), "--input", f"tcp://127.0.0.1:{server.getsockname()[1]}", "--json")
        sender.join()
    assert capsys.readouterr().out == from_file


def test_every_asks_for_updates(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "frames.jsonl"
    file.write_text(text())
    run("--model", str(folder), "--input", str(file), "--json", "--every", "0")
    printed = capsys.readouterr().out
    assert said(printed) == expected(updates=True)
    updates = [json.loads(line) for line in printed.splitlines() if '"update"' in line]
    assert all(sum(update["probabilities"].values()) == pytest.approx(1, abs=1e-5) for update in updates)
    run("--model", str(folder), "--input", str(file), "--json", "--every", "1")
    times = [
        line["time"] for line in said(capsys.readouterr().out) if (line["event"], line["person"]) == ("update", "whole")
    ]
    assert len(times) >= 2 and np.diff(np.array(times, float)).min() >= 1 - 1e-3
    run("--model", str(folder), "--input", str(file))
    assert "person whole  start  " in capsys.readouterr().out


def test_a_reader_that_has_enough_ends_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "frames.jsonl").write_text(text())
    code = "import sys; from tests.bonestrap.stream.test_recognise import run; run(*sys.argv[1:])"
    words = ["--model", str(folder), "--input", str(tmp_path / "frames.jsonl"), "--json", "--every", "0"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    with process:
        assert process.stdout.readline().startswith(b"{")
        process.stdout.close()
        assert not process.stderr.read() and process.wait() == 0


def test_without_settings_of_its_own_a_model_warns(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "bare", model())
    (tmp_path / "empty.jsonl").write_text("")
    run("--model", str(tmp_path / "bare"), "--input", str(tmp_path / "empty.jsonl"))
    printed = capsys.readouterr()
    assert not printed.out and "nobody has chosen" in printed.err
    with pytest.raises(ValueError, match="does not exist"):
        run("--model", str(folder), "--settings", str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[]", "line 1: a frame is an object"),
        ("{", "line 1: "),
        ('{"persons": []}', "line 1: time must be a number"),
        ('{"time": 1, "persons": [3]}', "line 1: a person is an object"),
        ('{"time": 1, "persons": [{"id": 1, "joints": [[1, 2], [1]]}]}', "line 1: joints must be lists of as many"),
        ('{"time": 1, "persons": [{"id": 1, "joints": [["x"]]}]}', "line 1: joints must be numbers"),
        ('{"time": 1, "persons": [{"id": [1], "joints": []}]}', "line 1: id \\[1\\] must be"),
        ('{"time": 1, "persons": [{"id": 1, "joints": [[0, 0, 0]]}]}', "frame 1: joints of person 1 must be 20 x 3"),
        ('{"time": 1}\n{"time": 1}', "frame 2: frames must come in the order"),
        ("[" * 100000, "line 1: "),
    ],
)
def test_lines_that_are_no_frames_are_named(folder: Path, tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "frames.jsonl"
    file.write_text(line)
    with pytest.raises(ValueError, match=message):
        run("--model", str(folder), "--input", str(file))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tcp://host", "an address is tcp://host:port"),
        ("tcp://127.0.0.1:1", "cannot be reached"),
        ("/nowhere/frames.jsonl", "cannot be read"),
        (".", "cannot be read: it is a folder"),
    ],
)
def test_sources_that_cannot_be_opened_are_named(folder: Path, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run("--model", str(folder), "--input", name)


def test_a_frame_rate_stands_for_times() -> None:
    lines = [b'{"time": 99, "persons": [{"id": 1, "joints": [[1, null], null]}]}', b"", b'{"persons": []}']
    first, second = frames(lines, rate=4)
    assert (first.time, second.time, second.persons) == (0.0, 0.25, {})
    np.testing.assert_array_equal(first.persons[1], np.array([[1, np.nan], [np.nan, np.nan]], np.float32))
