"""The command `bonestrap`: what a model is used with, and from a checkout what packs, trains and evaluates.

A module of this folder is a subcommand that the wheel has::

    HELP: str                                             # one line for the list of commands
    def add_arguments(parser: argparse.ArgumentParser) -> None
    def run(options: argparse.Namespace) -> None          # raises ValueError, one sentence, for a user's mistake

At module level it imports nothing that takes time: `--help` answers without torch.

The commands of a checkout are its scripts in launch/. They are started as new programs, not imported: the library knows
nothing of the packages above it, and `bonestrap pretrain ...` is in all respects `python launch/pretrain.py ...`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from bonestrap import __version__, commands
from bonestrap.options import did_you_mean

SCRIPTS = (  # in the order of the list; a checkout may have more
    "pack", "preview", "pretrain", "finetune", "distill", "evaluate", "align", "describe", "reproduce", "compare",
    "report", "map", "register", "demo",
)  # fmt: skip
DOCSTRING = re.compile(r'^"""(.+)', re.MULTILINE)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one subcommand. A user's mistake prints one sentence on stderr and exits with code 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        fail("bonestrap", "name a command first; bonestrap --help lists them")
    name, rest = words[0], words[1:]
    if name in ("-h", "--help"):
        print(overview())
    elif name in ("-V", "--version"):
        print(f"bonestrap {__version__}")
    elif name in library():
        run(name, rest)
    elif name in scripts(checkout()):
        start(name, rest)
    else:
        known = (*library(), *scripts(checkout()))
        fail("bonestrap", f"unknown command {name:.80}{did_you_mean(name, known)}; bonestrap --help lists them")


def library() -> tuple[str, ...]:
    """The subcommands that are part of the library: every module of this folder but this one."""
    return tuple(sorted({module.name for module in pkgutil.iter_modules(commands.__path__)} - {"main"}))


def run(name: str, words: Sequence[str]) -> None:
    """A subcommand of the library, in this process."""
    parser = parser_of(name)
    options = parser.parse_args(words)
    try:
        importlib.import_module(f"bonestrap.commands.{name}").run(options)
    except ValueError as error:
        fail(parser.prog, str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        fail(parser.prog, f"{where}{(error.strerror or str(error)).lower()}")
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None


def parser_of(name: str) -> Parser:
    """The command line of a subcommand of the library."""
    command = importlib.import_module(f"bonestrap.commands.{name}")
    description, _, examples = (command.__doc__ or command.HELP).strip().partition("\nExamples:\n")
    parser = Parser(
        prog=f"bonestrap {name}",
        description=description.strip(),
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=34, width=110),
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    return parser


def start(name: str, words: Sequence[str]) -> NoReturn:
    """A script of the checkout, in place of this process."""
    root = checkout()
    if root is None:
        fail(
            f"bonestrap {name}",
            "what is installed is the library alone, and this command needs a checkout of Bonestrap: "
            "start it in that folder, or install the folder with pip install -e '.[train]'",
        )
    os.execv(sys.executable, [sys.executable, str(root / "launch" / f"{name}.py"), *words])


def checkout() -> Path | None:
    """The folder that holds launch/: that of this library where it is an editable install, or the working directory."""
    for root in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (root / "launch" / "pretrain.py").is_file() and (root / "bonestrap").is_dir():
            return root
    return None


def scripts(root: Path | None) -> tuple[str, ...]:
    """The commands of a checkout that the library has not; without a checkout those that one is known to have."""
    if root is None:
        return SCRIPTS
    there = {file.stem for file in (root / "launch").glob("*.py") if file.read_text().startswith("#!")} - {*library()}
    return (*(name for name in SCRIPTS if name in there), *sorted(there - {*SCRIPTS}))


def overview() -> str:
    """What `bonestrap --help` prints."""
    lines = ["usage: bonestrap COMMAND [options]", "", "Compact action recognisers from skeleton recordings.", ""]
    root = checkout()
    width = max(map(len, (*library(), *scripts(root))))
    lines += [f"  {name:{width}}  {importlib.import_module(f'bonestrap.commands.{name}').HELP}" for name in library()]
    lines += ["", f"from the checkout in {root}:" if root else "from a checkout alone, and there is none here:"]
    lines += [
        f"  {name:{width}}  {summary(root / 'launch' / f'{name}.py') if root else ''}".rstrip()
        for name in scripts(root)
    ]
    return "\n".join(
        [*lines, "", "bonestrap COMMAND --help explains every option; bonestrap --version prints the version."]
    )


def summary(script: Path) -> str:
    """The first line of a script's docstring, read and not imported."""
    found = DOCSTRING.search(script.read_text())
    return found[1].rstrip(".") if found else ""


def fail(who: str, said: str) -> NoReturn:
    """One sentence and exit code 2."""
    print(f"{who}: {said}", file=sys.stderr)
    raise SystemExit(2)


class Parser(argparse.ArgumentParser):
    """One whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        _, absent, words = message.partition("the following arguments are required: ")
        fail(self.prog, f"{words} must be given; --help explains every option" if absent else message)
