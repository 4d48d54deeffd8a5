"""Arguments of a function as words of a command line, which parses them: both know the same options."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from bonestrap.options import UserError

Setting = str | int | float | bool | os.PathLike[str] | None | Sequence[str | int | float | os.PathLike[str]]
Settings = Mapping[str, Setting]  # by the name of the option, without dashes: {"encoder.width": 0.25}


def words(given: Settings, more: Settings | None) -> list[str]:
    """These options on a command line. None leaves an option at its default."""
    own = {_flag(name): value for name, value in given.items()}
    others = {_flag(name): value for name, value in (more or {}).items()}
    if twice := own.keys() & others.keys():
        raise UserError(f"options: {sorted(twice)[0]} is an argument of its own: give it as that")
    both = {name: value for name, value in own.items() if value is not None} | others
    return [word for name, value in both.items() for word in _option(name, value)]


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _option(name: str, value: Setting) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, str | int | float | os.PathLike):
        return [f"--{name}={_text(value)}"]
    if value is None:
        return [f"--{name}=none"]
    return [f"--{name}", *map(_text, value)]


def _text(value: str | int | float | os.PathLike[str]) -> str:
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


@contextmanager
def interruptible() -> Iterator[None]:
    """What ends a command after Ctrl-C is a KeyboardInterrupt again: a notebook goes on after it."""
    try:
        yield
    except SystemExit as end:
        if end.code == 128 + signal.SIGINT:
            raise KeyboardInterrupt from None
        raise
