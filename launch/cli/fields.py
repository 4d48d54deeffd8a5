"""The options that a dataclass of settings makes, nested ones and lists of operations included."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bonestrap.bounds import Bounds
from bonestrap.config import find_kind, kind_of
from bonestrap.options import UserError
from launch.cli.changes import Changes


class Leaf(NamedTuple):
    """One option: where it stands among nested dataclasses, its type, its default (MISSING where required)."""

    path: tuple[str, ...]
    kind: Any
    default: Any
    help: str
    bare: bool = False  # a word without a flag
    bounds: Bounds | None = None  # of a number

    @property
    def flag(self) -> str:
        return self.path[-1].upper() if self.bare else "--" + ".".join(self.path).replace("_", "-")

    @property
    def dest(self) -> str:
        """A name for argparse; a path may hold dots of its own."""
        return "/".join(self.path)


class Field(NamedTuple):
    """A field of a dataclass with the default that counts here."""

    name: str
    kind: Any
    default: Any
    metadata: Mapping[str, Any]

    @property
    def nested(self) -> bool:
        """Whether its options are those of another dataclass."""
        return dataclasses.is_dataclass(self.kind if self.default is dataclasses.MISSING else type(self.default))

    @property
    def listed(self) -> bool:
        """Whether it is a list of dataclasses, each under its kind's name, such as operations of a view."""
        return isinstance(self.default, tuple) and any(map(dataclasses.is_dataclass, self.default))

    @property
    def config(self) -> Any:
        """The nested dataclass, or its instance."""
        return self.kind if self.default is dataclasses.MISSING else self.default


def fields(config: Any) -> Iterator[Field]:
    """The fields of a dataclass, with their defaults, or of an instance of one, with its values as defaults."""
    cls = config if isinstance(config, type) else type(config)
    hints = _hints(cls)
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        default: Any = field.default
        if not isinstance(config, type):
            default = getattr(config, field.name)
        elif field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        yield Field(field.name, hints[field.name], default, field.metadata)


def leaves(config: Any, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """The options of a dataclass, or of an instance of it, and of the dataclasses in it."""
    for field in fields(config):
        here = (*path, field.name)
        if isinstance(field.default, Changes):
            continue  # taken from the command line as they are, and checked against what they change
        if field.listed:
            for item in field.default:
                yield from leaves(item, (*here, kind_of(item)))
        elif field.nested:
            if exchangeable(field.config):
                known = ", ".join(field.config.kinds())
                yield Leaf(here, str, kind_of(field.config), f"{known}, or your own as package.module:Name")
            yield from leaves(field.config, here)
        elif not (field.default is None and any(map(dataclasses.is_dataclass, typing.get_args(field.kind)))):
            metadata = field.metadata
            yield Leaf(
                here,
                field.kind,
                field.default,
                metadata.get("help", ""),
                metadata.get("bare", False),
                metadata.get("bounds"),
            )


def exchangeable(config: Any) -> bool:
    """Whether a setting may be of several kinds, such as an encoder."""
    return not isinstance(config, type) and hasattr(config, "kinds")


def choose_kinds(config: Any, argv: list[str], path: tuple[str, ...] = ()) -> Any:
    """The instance, or the class, with those kinds that the command line names, `--encoder KIND`, as its defaults.

    A kind that is named brings along what it `goes_with`, where the command line does not name that itself.
    """
    changes: dict[str, Any] = {}
    choices = {
        field.name: (field, Leaf((*path, field.name), str, None, "").flag)
        for field in fields(config)
        if field.nested and not isinstance(field.default, Changes) and exchangeable(field.config)
    }
    named = {name: word for name, (_, flag) in choices.items() if (word := _value(flag, argv)) is not None}
    brought: dict[str, str] = {}
    for name, word in named.items():
        brought |= getattr(_kind(*choices[name], word), "goes_with", {})
    for name, word in (brought | named).items():
        field, flag = choices[name]
        found = _kind(field, flag, word)
        if not isinstance(field.default, found):
            changes[name] = found()
    if not changes or not isinstance(config, type):
        return dataclasses.replace(config, **changes) if changes else config
    new = [(field.name, field.kind, changes[field.name]) for field in fields(config) if field.name in changes]
    told = {"__doc__": config.__doc__, "__module__": config.__module__}
    return dataclasses.make_dataclass(config.__name__, new, bases=(config,), frozen=True, kw_only=True, namespace=told)


def _kind(field: Field, flag: str, word: str) -> Any:
    """The class that `--encoder KIND` names."""
    try:
        base = next(cls for cls in type(field.config).__mro__[::-1] if "kinds" in vars(cls))
        return find_kind(base, field.config.kinds(), word)
    except ValueError as error:
        raise UserError(f"{flag}: {error}") from None


def _value(flag: str, argv: list[str]) -> str | None:
    for number, word in enumerate(argv):
        if word == flag and number + 1 < len(argv):
            return argv[number + 1]
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)
