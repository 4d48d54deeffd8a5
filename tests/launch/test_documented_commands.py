"""Every command that the documentation or a script's help shows is one that the command line understands."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from launch.cli import parser as cli

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [file for file in sorted((ROOT / "launch").glob("*.py")) if file.stem != "cli"]
SHOWN = [*SCRIPTS, ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLACEHOLDER = re.compile(r"\.\.\.|[\[{<]|\b(RECIPE|PROTOCOL|TABLE)\b")  # a usage, not a command


def shown() -> list[str]:
    found: dict[str, None] = {}
    for file in SHOWN:
        text = file.read_text().replace("\\\n", " ")
        for command in re.findall(r"python (launch/\w+\.py\b[^`\n|#&\"]*)", text):
            if not PLACEHOLDER.search(command):
                found[command.strip()] = None
    return list(found)


@pytest.mark.parametrize("command", shown())
def test_the_command_is_understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script, *words = shlex.split(command)
    parsed: list[Any] = []

    def start(main: object, options: type, argv: Sequence[str] | None = None) -> None:
        parsed.append(cli.parse(options, words if argv is None else argv))

    def start_choice(main: object, what: str, choices: Any, options: type, argv: Sequence[str] | None = None) -> None:
        parsed.append(cli.parse_choice(what, choices, options, words))

    monkeypatch.setattr(cli, "start", start)
    monkeypatch.setattr(cli, "start_choice", start_choice)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", [script, *words])
    if "--help" in words or "-h" in words:
        with pytest.raises(SystemExit, match="0"):
            runpy.run_path(str(ROOT / script), run_name="__main__")
    else:
        runpy.run_path(str(ROOT / script), run_name="__main__")
        assert parsed


def test_there_are_commands_to_try() -> None:
    scripts = {command.split()[0] for command in shown()}
    assert {"launch/pack.py", "launch/pretrain.py", "launch/compare.py"} <= scripts
