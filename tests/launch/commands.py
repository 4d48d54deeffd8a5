"""The commands, called here: from the words that follow a script's name to its end."""

from __future__ import annotations

import functools
from collections.abc import Callable

from evaluation.protocols import PROTOCOLS
from launch import distill, evaluate, export, finetune, pack, pretrain, report
from launch.cli.parser import start, start_choice
from launch.recipes import ALIASES, RECIPES
from shards.sources.formats import FORMATS

Command = Callable[[list[str]], None]

MAINS: dict[str, Command] = {
    "pretrain": functools.partial(start_choice, pretrain.main, "recipe", RECIPES, pretrain.Options, aliases=ALIASES),
    "evaluate": functools.partial(start_choice, evaluate.main, "protocol", PROTOCOLS, evaluate.Options),
    "pack": functools.partial(start_choice, pack.main, "format", FORMATS, pack.Options),
    "finetune": functools.partial(start, finetune.main, finetune.Options, aliases=finetune.ALIASES),
    "distill": functools.partial(start, distill.main, distill.Options, aliases=distill.ALIASES),
    "verify": functools.partial(start, pack.verify, pack.Verify),
    "report": functools.partial(start, report.main, report.Options),
    "export": functools.partial(start, export.main, export.Options),
}


def command(line: str) -> None:
    """Run `pretrain byol-small --data ...`: SystemExit where the command does not end well."""
    name, *words = line.split()
    MAINS[name](words)
