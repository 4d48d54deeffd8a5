"""The status line: what it says, on a terminal and in a file."""

from __future__ import annotations

import io
import re
import sys

import pytest

from distributed import progress
from distributed.progress import Bar, Progress, Terminal, duration
from tests.distributed.toy import Listener


class Console(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen(output: str) -> list[str]:
    """What a terminal that was written `output` shows: lines, cursor up and erasing are all that is used."""
    lines, at = [""], 0
    for piece in re.findall(r"\x1b\[[?\d;]*[a-zA-Z]|\r|\n|[^\x1b\r\n]+", output):
        if piece == "\n":
            at += 1
            lines += [""] * (at + 1 - len(lines))
        elif piece.endswith("A") and piece.startswith("\x1b"):
            at -= int(piece[2:-1] or 1)
        elif piece == "\x1b[2K":
            lines[at] = ""
        elif piece[0] not in "\x1b\r":
            lines[at] += piece
    return [line.rstrip() for line in lines if line.strip()]


def test_the_line_says_everything() -> None:
    listener = Listener()
    shown = Progress(listener, title="pretrain", steps=1000)
    shown.update({"loss": 0.51239, "knn": 0.5, "clips_per_second": 1234.6, "data_wait": 0.073, "rank": 8.0})
    shown.show(250, seconds_per_step=2.0)
    expected = "pretrain 250/1000  loss 0.5124  kNN 50.0%  1,235 clips/s  7% waiting for data  25:00 left"
    assert listener.lines == [(expected, False)]


def test_it_is_drawn_at_a_bearable_pace_and_always_at_the_end() -> None:
    listener = Listener()
    shown = Progress(listener, title="t", steps=100)
    for step in range(1, 101):
        shown.show(step, seconds_per_step=0.001, last=step == 100)
    assert [line.split()[1] for line, _ in listener.lines] == ["1/100", "100/100"]


def test_on_a_terminal_it_is_redrawn_in_place_and_messages_stand_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    console = Console()
    terminal = Terminal(console)
    terminal.status("a long line")
    terminal.status("short", fraction=0.5)
    terminal.message("careful [of] http://user:secret@host/path")
    terminal.status("end", last=True)
    assert screen(console.getvalue()) == ["careful [of] http://host/path", "end"]
    assert console.getvalue().rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def test_a_terminal_without_rich_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    console = Console()
    Terminal(console).status("a line", last=True, fraction=1.0)
    assert console.getvalue() == "a line\n"


def test_a_bar_tells_rate_and_time_left() -> None:
    bar = Bar("packing", "performances", Terminal(io.StringIO()))
    assert bar.line(50, 250, 100.0) == "packing  20%  50/250 performances"
    assert bar.line(51, 250, 140.0).endswith("20%  51/250 performances"), "one says nothing"
    assert bar.line(151, 250, 150.0).endswith("60%  151/250 performances  10/s  0:10 left"), "the start counts no more"
    assert bar.line(250, 250, 200.0).endswith("100%  250/250 performances  2.0/s  in 1:40")


def test_a_bar_is_drawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    console = Console()
    Bar("packing", "shards", Terminal(console))(3, 3)
    (line,) = screen(console.getvalue())
    assert line.endswith("packing 100%  3/3 shards") and len(line) > 24 + len("packing 100%  3/3 shards")


def test_in_a_file_it_is_a_line_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    file = io.StringIO()
    terminal = Terminal(file)
    for second in range(25):
        now[0] = float(second)
        terminal.status(f"at {second}")
    terminal.status("done", last=True)
    assert file.getvalue().splitlines() == ["at 0", "at 10", "at 20", "done"]


def test_durations() -> None:
    assert [duration(s) for s in (0, 65, 3725, 90000)] == ["0:00", "1:05", "1:02:05", "25:00:00"]
