"""Every command that the documentation or a script's help shows is one that the command line understands."""

from __future__ import annotations

import functools
import re
import runpy
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bonestrap.options import UserError
from launch.cli import parser as cli

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "launch").glob("*.py"))
SHOWN = [*SCRIPTS, ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLACEHOLDER = re.compile(r"\.\.\.|[\[{<]|\b(RECIPE|PROTOCOL|TABLE)\b")  # a usage, not a command


@functools.cache
def shown() -> list[str]:
    found: dict[str, None] = {}
    for file in SHOWN:
        text = file.read_text().replace("\\\n", " ")
        for command in re.findall(r"python (launch/\w+\.py\b[^`\n|#&\"]*)", text):
            if not PLACEHOLDER.search(command):
                found[command.strip()] = None
    return list(found)


@functools.cache
def outcomes(script: str, own: bool) -> dict[str, object]:
    """What a script's command line makes of each command that is shown: the options, or what it has raised.

    Each script runs once, for nothing is done but parsing; once more for `pack.py verify`, a command of its own.
    """
    found: dict[str, object] = {}

    def each(parse: Callable[[list[str]], object], aliases: cli.Aliases | None) -> None:
        for command in shown():
            name, *words = shlex.split(command)
            if name == script and own == (words[:1] == ["verify"]):
                try:
                    found[command] = parse(cli.renamed(words[own:], aliases or {}))
                except (SystemExit, UserError) as error:
                    found[command] = error

    def start(main: object, options: type, argv: object = None, aliases: cli.Aliases | None = None) -> None:
        each(lambda words: cli.parse(options, words), aliases)

    def start_choice(
        main: object, what: str, choices: Any, options: type, argv: object = None, aliases: cli.Aliases | None = None
    ) -> None:
        each(lambda words: cli.parse_choice(what, choices, options, words), aliases)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "start", start)
        patch.setattr(cli, "start_choice", start_choice)
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(sys, "argv", [script, *["verify"] * own])
        runpy.run_path(str(ROOT / script), run_name="__main__")
    return found


@pytest.mark.parametrize("command", shown())
def test_the_command_is_understood(command: str) -> None:
    script, *words = shlex.split(command)
    found = outcomes(script, words[:1] == ["verify"])[command]
    if {"--help", "-h"} & set(words):
        assert isinstance(found, SystemExit) and found.code == 0
    elif isinstance(found, BaseException):
        raise found


def test_there_are_commands_to_try() -> None:
    scripts = {command.split()[0] for command in shown()}
    assert {"launch/pack.py", "launch/pretrain.py", "launch/compare.py"} <= scripts
