"""Arguments of a function as words of a command line, which parses them: both know the same options."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from bonestrap.options import UserError

Settings = Mapping[str, object]  # by the name of the option, without dashes: {"encoder.width": 0.25}


def words(given: Settings, more: Settings | None) -> list[str]:
    """These options on a command line; of `given`, None leaves an option at its default.

    A value is a text, a number, a path, True or False, None, or a sequence of such. Raises UserError for others.
    """
    own = {_flag(name): value for name, value in given.items()}
    others = {_flag(name): value for name, value in (more or {}).items()}
    if twice := own.keys() & others.keys():
        raise UserError(f"options: {min(twice)} is an argument of its own: give it as that")
    both = {name: value for name, value in own.items() if value is not None} | others
    return [word for name, value in both.items() for word in _option(name, value)]


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _option(name: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [f"--{name}", *(_text(name, each) for each in value)]
    return [f"--{name}={_text(name, value)}"]


def _text(name: str, value: object) -> str:
    if value is None:
        return "none"
    if not isinstance(value, str | int | float | os.PathLike):
        raise UserError(f"options: {name} must be a text, a number or a path, or several, got {value!r:.80}")
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
