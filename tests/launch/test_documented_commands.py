"""Every command that the documentation or a script's help shows is one that the command line understands today."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from launch.cli import parser

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [file for file in sorted((ROOT / "launch").glob("*.py")) if file.stem != "__init__"]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PLACEHOLDER = re.compile(r"\.\.\.|[\[{<]|\b(RECIPE|FORMAT|PROTOCOL|TABLE)\b")  # a usage, not a command

Parse = Callable[[Sequence[str]], object]


def shown() -> list[str]:
    found: dict[str, None] = {}
    for file in [*SCRIPTS, *DOCUMENTS]:
        text = file.read_text().replace("\\\n", " ")
        for command in re.findall(r"python (launch/\w+\.py\b[^`\n|#&\"]*)", text):
            if not PLACEHOLDER.search(command):
                found[command.strip()] = None
    return list(found)


@functools.cache
def parsing(script: str, *first: str) -> Parse:
    """How a script parses its command line; it is imported once. Old spellings of options do not count."""
    module = importlib.import_module(f"launch.{Path(script).stem}")
    found: list[Parse] = []

    def start(main: object, options: type, argv: object = None, aliases: object = None) -> None:
        found.append(lambda words: parser.parse(options, words[1:] if argv is not None else words))

    def start_choice(main: object, what: str, choices: Any, options: type, aliases: object = None) -> None:
        found.append(lambda words: parser.parse_choice(what, choices, options, words))

    started = ast.parse((ROOT / script).read_text()).body[-1]  # if __name__ == "__main__": ...
    assert isinstance(started, ast.If)
    names = vars(module) | {"start": start, "start_choice": start_choice}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script, *first])
        exec(compile(ast.Module(started.body, []), script, "exec"), names)
    (only,) = found
    return only


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The files that CONTRIBUTING.md shows, importable as there."""
    folder = tmp_path_factory.mktemp("examples")
    blocks = re.findall(r"`(\w+\.py)`[^`]*:\n\n```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert len(blocks) >= 5
    for name, code in blocks:
        (folder / name).write_text(code)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


@pytest.mark.usefixtures("examples")
@pytest.mark.parametrize("command", shown(), ids=str)
def test_the_command_is_understood(command: str) -> None:
    script, *words = shlex.split(command)
    parse = parsing(script, *(word for word in words[:1] if word == "verify"))
    if "--help" in words or "-h" in words:
        with pytest.raises(SystemExit, match="0"):
            parse(words)
    else:
        parse(words)


def test_there_are_commands_to_try() -> None:
    scripts = {command.split()[0] for command in shown()}
    assert scripts == {str(file.relative_to(ROOT)) for file in SCRIPTS}


def test_an_old_spelling_does_not_count_here() -> None:
    old = "--protocol"  # an old spelling of --split
    with pytest.raises(parser.UserError, match=f"unknown option {old}"):
        parsing("launch/finetune.py")(["--model", "m", "--data", "d", "--run", "r", old, "all"])
