"""Command lines made from dataclasses.

A script's options are a frozen keyword-only dataclass. A field without a default is a required option, a nested
dataclass becomes dotted options, and the script's docstring is its help, from the line `Examples:` on as an epilog::

    @dataclass(frozen=True, kw_only=True)
    class Options(Bounded):
        data: Path = required("folder of shards")  # or argument(), for a bare word without a flag
        workers: int = option(0, "training processes; 0 trains in this one", Bounds(0, 4096))
        encoder: STGCN = STGCN()  # --encoder.width 2, with help from field(metadata={"help": ...})

    def main(options: Options) -> None: ...

    if __name__ == "__main__":
        start(main, Options)

Where the first argument picks a recipe, a format or a protocol, each with options and defaults of its own::

    RECIPES = {"demo": demo, "nw-ucla": nw_ucla}  # functions that return a configuration, or dataclasses

    def main(name: str, options: Options, recipe: Recipe) -> None: ...

    if __name__ == "__main__":
        start_choice(main, "recipe", RECIPES, Options)

Both start as `python launch/script.py` and as `python -m launch.script` when the script begins with::

    if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
        sys.path[0] = str(Path(__file__).resolve().parents[1])

A mistake of the user ends in one sentence on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import functools
import inspect
import io
import sys
import traceback
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, TypeVar

from shards.errors import DataError, of_storage, sentence
from shards.redaction import redacted

if TYPE_CHECKING:  # the package imports torch
    from bonestrap.bounds import Bounds

Options = TypeVar("Options")
Chosen = TypeVar("Chosen")

PLAIN: dict[Any, tuple[str, str]] = {
    int: ("N", "a whole number"),
    float: ("X", "a number"),
    str: ("TEXT", "a text"),
    Path: ("PATH", "a path"),
}


class UserError(ValueError):
    """A mistake on the command line: one sentence that names the mistake and the remedy."""


def option(default: Any, help: str, bounds: Bounds | None = None) -> Any:
    """A field with a default, a line of help and, of a number, the bounds that `bonestrap.bounds.Bounded` checks."""
    return dataclasses.field(default=default, metadata={"help": help, "bounds": bounds})


def required(help: str) -> Any:
    """A field that the command line must give."""
    return dataclasses.field(metadata={"help": help})


def argument(help: str) -> Any:
    """A field that the command line must give as a bare word, not behind a flag."""
    return dataclasses.field(metadata={"help": help, "bare": True})


def start(main: Callable[[Options], object], options: type[Options], argv: Sequence[str] | None = None) -> None:
    """Parse the command line and call `main(options)`."""
    with Sentences():
        main(parse(options, sys.argv[1:] if argv is None else argv, doc=_module_doc(main)))


def start_choice(
    main: Callable[[str, Options, Chosen], object],
    what: str,
    choices: Mapping[str, Callable[[], Chosen]],
    options: type[Options],
    argv: Sequence[str] | None = None,
) -> None:
    """Parse a command line whose first argument is a key of `choices` and call `main(name, options, chosen)`."""
    with Sentences():
        argv = sys.argv[1:] if argv is None else argv
        main(*parse_choice(what, choices, options, argv, doc=_module_doc(main)))


def parse(options: type[Options], argv: Sequence[str], doc: str = "") -> Options:
    """The options that `argv` gives; UserError where it is wrong."""
    (parsed,) = _parse(_Parser(doc), (options,), argv)
    return parsed


def parse_choice(
    what: str, choices: Mapping[str, Callable[[], Chosen]], options: type[Options], argv: Sequence[str], doc: str = ""
) -> tuple[str, Options, Chosen]:
    """The choice's name, the options and the chosen configuration that `argv` gives; UserError where it is wrong."""
    if argv and argv[0] in ("-h", "--help"):
        parser = _Parser(doc, usage=f"%(prog)s {what.upper()} [options]")
        more = f"{parser.prog} {what.upper()} --help lists the options of one {what}."
        parser.description = f"{parser.description}\n\n{_listing(what, choices)}\n\n{more}"
        _parse(parser, (options,), argv)
    if not argv or argv[0].startswith("-"):
        raise UserError(f"name the {what} first: {', '.join(choices)}")
    name = argv[0]
    if name not in choices:
        raise UserError(f"unknown {what} {name}{_meant(name, choices)}; there is {', '.join(choices)}")
    choice = choices[name]
    parser = _Parser(_doc(choice), usage=f"%(prog)s {name} [options]")
    parsed, chosen = _parse(parser, (options, choice if isinstance(choice, type) else choice()), argv[1:])
    return name, parsed, chosen


class Sentences:
    """Turn what a user can mend, and what a disk or server does, into a sentence and exit code 2.

    Every other exception keeps its traceback. Neither shows the secrets of an address.
    """

    def __enter__(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # file names are bytes, and not always text
        sys.excepthook = lambda *raised: sys.stderr.write(redacted("".join(traceback.format_exception(*raised))))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UserError | DataError):
            said = str(error)
        elif isinstance(error, OSError) and of_storage(error):
            said = sentence(error)
        elif isinstance(error, KeyboardInterrupt):
            print("stopped", file=sys.stderr)
            raise SystemExit(130) from None
        else:
            return
        print(redacted(f"{Path(sys.argv[0]).name}: {said}"), file=sys.stderr)
        raise SystemExit(2) from None


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


class _Parser(argparse.ArgumentParser):
    def __init__(self, doc: str, usage: str | None = None) -> None:
        description, _, examples = doc.strip().partition("\nExamples:\n")
        super().__init__(
            usage=usage or "%(prog)s [options]",
            description=description.strip(),
            epilog=f"examples:\n{examples}" if examples else None,
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=34, width=110),
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        _, absent, words = message.partition("the following arguments are required: ")
        if absent:
            raise UserError(f"{words} must be given; --help explains every option")
        raise UserError(message.removeprefix("argument ").replace("ignored explicit argument", "takes no value, got"))


def _parse(parser: _Parser, configs: tuple[Any, ...], argv: Sequence[str]) -> tuple[Any, ...]:
    """One instance for each of `configs`, which are dataclasses or, to take defaults from, their instances."""
    flags = [leaf.flag for config in configs for leaf in leaves(config)]
    for config in configs:
        _add(parser, config)
    given, extra = parser.parse_known_args(list(argv))
    for word in extra:
        flag = word.partition("=")[0]
        raise UserError(f"unknown option {flag}{_meant(flag, flags)}" if word[:1] == "-" else f"unexpected {word!r}")
    values = {tuple(key.split(".")): value for key, value in vars(given).items()}
    missing = [
        leaf.flag for config in configs for leaf in leaves(config)
        if leaf.default is dataclasses.MISSING and leaf.path not in values
    ]  # fmt: skip
    if missing:
        raise UserError(f"{' and '.join(missing)} must be given; --help explains every option")
    return tuple(_build(config, values, ()) for config in configs)


def leaves(config: Any, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """The options of a dataclass, or of an instance of it, and of the dataclasses in it."""
    for name, kind, default, metadata in _fields(config):
        if _nested(kind, default):
            yield from leaves(kind if default is dataclasses.MISSING else default, (*path, name))
        elif not (default is None and any(map(dataclasses.is_dataclass, typing.get_args(kind)))):
            yield Leaf(
                (*path, name),
                kind,
                default,
                metadata.get("help", ""),
                metadata.get("bare", False),
                metadata.get("bounds"),
            )


def _fields(config: Any) -> Iterator[tuple[str, Any, Any, Mapping[str, Any]]]:
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
        yield field.name, hints[field.name], default, field.metadata


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _nested(kind: Any, default: Any) -> bool:
    return dataclasses.is_dataclass(kind if default is dataclasses.MISSING else type(default))


def _build(config: Any, values: dict[tuple[str, ...], Any], path: tuple[str, ...]) -> Any:
    changes = {}
    for name, kind, default, _ in _fields(config):
        here = (*path, name)
        if _nested(kind, default):
            changes[name] = _build(kind if default is dataclasses.MISSING else default, values, here)
        elif here in values:
            changes[name] = values[here]
    try:
        return config(**changes) if isinstance(config, type) else dataclasses.replace(config, **changes)
    except ValueError as error:
        raise UserError(_located(str(error), path, [name for name, *_ in _fields(config)])) from None


def _located(message: str, path: tuple[str, ...], names: list[str]) -> str:
    """A dataclass says "width must be positive"; only the command line knows that it is --encoder.width."""
    first, _, rest = message.partition(" ")
    if first in names:
        return f"{Leaf((*path, first), None, None, '').flag} {rest}"
    return f"--{'.'.join(path)}: {message}" if path else message


def _add(parser: argparse.ArgumentParser, config: Any) -> None:
    groups: dict[tuple[str, ...], Any] = {(): parser}
    for leaf in leaves(config):
        where = leaf.path[:-1]
        if where not in groups:
            groups[where] = parser.add_argument_group(".".join(where))
        default = "(required)" if leaf.default is dataclasses.MISSING else f"(default: {_text(leaf.default)})"
        help = f"{leaf.help} {default if leaf.default is not None else ''}".strip().replace("%", "%%")
        dest = ".".join(leaf.path)
        if leaf.kind is bool:
            groups[where].add_argument(leaf.flag, dest=dest, action=argparse.BooleanOptionalAction, help=help)
            continue
        read, metavar, count = _reader(leaf.kind)
        if leaf.bare:
            groups[where].add_argument(dest, type=read, metavar=leaf.flag, help=leaf.help)
            continue
        groups[where].add_argument(
            leaf.flag,
            dest=dest,
            type=read,
            metavar=metavar,
            nargs=count,
            action=_Tuple if count else "store",
            help=help,
        )


def _reader(kind: Any) -> tuple[Callable[[str], Any], str, int | str | None]:
    """How to read one word of this type, what to call it in the help, and how many words make a value."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        read, metavar, count = _reader(inner)
        return lambda word: None if word == "none" else read(word), metavar, count
    if origin is tuple:
        inner, count = (arguments[0], "*") if arguments[-1] is Ellipsis else (arguments[0], len(arguments))
        read, metavar, _ = _reader(inner)
        return read, metavar, count
    if origin is Literal:
        words = {str(choice): choice for choice in arguments}
        return lambda word: _look_up(word, words), "|".join(words), None
    metavar, expected = PLAIN[kind]
    return lambda word: _convert(word, kind, expected), metavar, None


class _Tuple(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        before = getattr(namespace, self.dest, ()) if self.nargs == "*" else ()  # --model A --model B is --model A B
        setattr(namespace, self.dest, None if values == [None] else (*before, *values))


def _convert(word: str, kind: Any, expected: str) -> Any:
    try:
        return kind(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {word!r:.60}") from None


def _look_up(word: str, words: dict[str, Any]) -> Any:
    if word not in words:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(words)}, got {word!r:.60}")
    return words[word]


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_text, value))
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _meant(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _listing(what: str, choices: Mapping[str, Callable[[], Any]]) -> str:
    width = max(map(len, choices))
    lines = (f"  {name:{width}}  {_doc(choice).partition(chr(10))[0]}" for name, choice in choices.items())
    return f"{what}s:\n" + "\n".join(lines)


def _doc(choice: Any) -> str:
    doc = inspect.cleandoc(choice.__doc__ or "")
    return "" if doc.startswith(f"{choice.__name__}(") else doc  # the signature that dataclass() writes is no help


def _module_doc(main: Callable[..., object]) -> str:
    return sys.modules[main.__module__].__doc__ or ""
