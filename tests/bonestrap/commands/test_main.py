"""The command `bonestrap`: what it lists, starts and refuses."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import bonestrap
from bonestrap.commands import main

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("torch", "numpy", "ray", "mlflow", "pyarrow", "fastapi", "onnxruntime", "av")
LOADED = f"""
import sys
from bonestrap.commands.main import main
try:
    main()
finally:
    print(*sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)
"""


def started(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", [("--help",), ("--version",), *((name, "--help") for name in main.library())])
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    done = started("-c", LOADED, *words)
    assert (done.returncode, done.stderr) == (0, "\n")


def test_the_version_is_that_of_the_package() -> None:
    assert started("-m", "bonestrap", "--version").stdout == f"bonestrap {bonestrap.__version__}\n"


def test_every_script_of_a_checkout_is_a_command() -> None:
    scripts = {file.stem for file in (ROOT / "launch").glob("*.py") if file.read_text().startswith("#!")}
    assert scripts == {*main.scripts(ROOT)} | (scripts & {*main.library()})
    assert {*main.SCRIPTS} <= {*main.scripts(ROOT)} and main.scripts(None) == main.SCRIPTS


@pytest.mark.parametrize("name", main.library())
def test_a_subcommand_has_the_form_that_is_documented(name: str) -> None:
    command = importlib.import_module(f"bonestrap.commands.{name}")
    assert "\n" not in command.HELP and list(inspect.signature(command.run).parameters) == ["options"]


def shown() -> list[str]:
    """The commands of the library that documentation and help show."""
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bonestrap" / "commands").glob("*.py")]
    text = "\n".join(file.read_text().replace("\\\n", " ") for file in sorted(files))
    found = re.findall(rf"^ *bonestrap ((?:{'|'.join(main.library())}) [^`\n|#&]*)", text, re.MULTILINE)
    return list(dict.fromkeys(command.strip() for command in found if not re.search(r"\.\.\.|[\[{<]", command)))


@pytest.mark.parametrize("command", shown())
def test_a_command_that_is_shown_is_understood(command: str) -> None:
    name, *words = shlex.split(command)
    main.parser_of(name).parse_args(words)


def test_there_are_commands_to_try() -> None:
    assert {command.split()[0] for command in shown()} == {*main.library()}


def test_a_script_is_started_as_by_its_path(tmp_path: Path) -> None:
    ours = started("-m", "bonestrap", "compare", "--help", cwd=tmp_path)
    assert ours.stdout == started(str(ROOT / "launch" / "compare.py"), "--help", cwd=tmp_path).stdout
    wrong = started("-m", "bonestrap", "compare", "--nonsense", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr) == (2, "compare.py: unknown option --nonsense\n")


def test_without_a_checkout_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "__file__", str(tmp_path / "site" / "bonestrap" / "commands" / "main.py"))
    monkeypatch.chdir(tmp_path)
    assert main.checkout() is None and "from a checkout alone" in main.overview()
    with pytest.raises(SystemExit, match="2"):
        main.main(["pretrain", "nw-ucla"])
    assert capsys.readouterr().err == (
        "bonestrap pretrain: what is installed is the library alone, and this command needs a checkout of Bonestrap: "
        "start it in that folder, or install the folder with pip install -e '.[train]'\n"
    )
    monkeypatch.chdir(ROOT)  # a checkout that is not installed
    assert main.checkout() == ROOT


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "bonestrap: name a command first; bonestrap --help lists them"),
        (["exprt"], "bonestrap: unknown command exprt; did you mean export?; bonestrap --help lists them"),
        (["export"], "bonestrap export: --model must be given; --help explains every option"),
        (["export", "--model", "m", "--wide"], "bonestrap export: unrecognized arguments: --wide"),
        (
            ["export", "--model", "nowhere"],
            "bonestrap export: nowhere/model.json does not exist: name a model directory or a run that has reached its "
            "end",
        ),
    ],
    ids=str,
)
def test_a_mistake_is_one_sentence(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main.main(words)
    assert capsys.readouterr().err == f"{said}\n"
