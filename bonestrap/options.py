"""Fields of configurations: a default, the line of help that a command line shows, and a number's bounds.

No torch here, nor in any module that holds configurations: `--help` must not wait for it.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any, TypeVar

from bonestrap.bounds import Bounds

T = TypeVar("T")


class UserError(ValueError):
    """A mistake of the user: one sentence that names it and the remedy."""


def option(default: T, help: str, bounds: Bounds | None = None) -> T:
    """A field with a default, a line of help and, of a number, the bounds that `bonestrap.bounds.Bounded` checks."""
    return dataclasses.field(default=default, metadata={"help": help, "bounds": bounds})


def required(help: str) -> Any:
    """A field that the command line must give."""
    return dataclasses.field(metadata={"help": help})


def argument(help: str) -> Any:
    """A field that the command line must give as a bare word, not behind a flag."""
    return dataclasses.field(metadata={"help": help, "bare": True})


def did_you_mean(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The end of a sentence about an unknown name: the nearest known one, if one is as similar as `cutoff` (to 1)."""
    close = difflib.get_close_matches(word[:80], list(known), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]}?" if close else ""
