"""The status line: what it says, on a terminal and in a file."""

from __future__ import annotations

import io

import pytest

from distributed import progress
from distributed.progress import Progress, Terminal, duration
from tests.distributed.toy import Listener


class Console(io.StringIO):
    def isatty(self) -> bool:
        return True


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


def test_on_a_terminal_it_is_redrawn_in_place_and_messages_stand_above_it() -> None:
    console = Console()
    terminal = Terminal(console)
    terminal.status("a long line")
    terminal.status("short")
    terminal.message("careful")
    terminal.status("end", last=True)
    assert console.getvalue() == "\ra long line\rshort      \r     \rcareful\n\rend\n"


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
