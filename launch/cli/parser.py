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

A user error prints one line to stderr and exits with code 2.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from bonestrap.config import find_object, kind_of
from bonestrap.options import UserError, did_you_mean
from launch.cli.changes import Changes
from launch.cli.errors import UserErrors
from launch.cli.fields import Leaf, choose_kinds, fields, leaves

Options = TypeVar("Options")
Chosen = TypeVar("Chosen")
Aliases = Mapping[str, Sequence[str]]  # an old flag, and the words that it stands for

PLAIN: dict[Any, tuple[str, str]] = {
    int: ("N", "a whole number"),
    float: ("X", "a number"),
    str: ("TEXT", "a text"),
    Path: ("PATH", "a path"),
}


def start(
    main: Callable[[Options], object],
    options: type[Options],
    argv: Sequence[str] | None = None,
    aliases: Aliases | None = None,
) -> None:
    """Parse the command line and call `main(options)`. `aliases` are old spellings of options that still count."""
    with UserErrors():
        argv = renamed(sys.argv[1:] if argv is None else argv, aliases or {})
        main(parse(options, argv, doc=_module_doc(main)))


def start_choice(
    main: Callable[[str, Options, Chosen], object],
    what: str,
    choices: Mapping[str, Callable[[], Chosen]],
    options: type[Options],
    argv: Sequence[str] | None = None,
    aliases: Aliases | None = None,
) -> None:
    """Parse a command line whose first argument is a key of `choices` and call `main(name, options, chosen)`."""
    with UserErrors():
        argv = renamed(sys.argv[1:] if argv is None else argv, aliases or {})
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
    choice = choices.get(name) or _own_choice(name, what, choices)
    parser = _Parser(_doc(choice), usage=f"%(prog)s {name} [options]")
    parsed, chosen = _parse(parser, (options, choice if isinstance(choice, type) else choice()), argv[1:])
    return name, parsed, chosen


def _own_choice(name: str, what: str, choices: Mapping[str, Callable[[], Chosen]]) -> Callable[[], Chosen]:
    """One of the user's own, `package.module:name`."""
    if ":" not in name:
        raise UserError(f"unknown {what} {name}{did_you_mean(name, choices)}; there is {', '.join(choices)}")
    try:
        return find_object(name)
    except ValueError as error:
        raise UserError(str(error)) from None


def parse_changes(config: Chosen, words: Sequence[str], path: tuple[str, ...]) -> Chosen:
    """`config`, an instance, with the options in `words`, which stand under `path`. UserError where they are wrong."""
    (changed,) = _parse(_Parser(""), (config,), words, path)
    return changed


def renamed(argv: Sequence[str], aliases: Aliases) -> list[str]:
    """The command line with today's names in place of old ones."""
    out: list[str] = []
    for word in argv:
        flag, equals, value = word.partition("=")
        new = aliases.get(flag)
        if new is None:
            out.append(word)
        elif equals:
            out += [f"{new[0]}={value}", *new[1:]]
        else:
            out += new
    return out


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


def _parse(
    parser: _Parser, configs: tuple[Any, ...], argv: Sequence[str], path: tuple[str, ...] = ()
) -> tuple[Any, ...]:
    """One instance for each of `configs`, which are dataclasses or, to take defaults from, their instances."""
    argv = list(argv)
    changes, argv = _taken(configs, argv, path)
    configs = tuple(choose_kinds(config, argv, path) for config in configs)
    known = [leaf for config in configs for leaf in leaves(config, path)]
    for config in configs:
        _add(parser, config, path)
    given, extra = parser.parse_known_args(argv)
    for word in extra:
        flag = word.partition("=")[0]
        meant = did_you_mean(flag, [leaf.flag for leaf in known])
        raise UserError(f"unknown option {flag}{meant}" if word[:1] == "-" else f"unexpected {word!r}")
    values = vars(given) | changes
    missing = [leaf.flag for leaf in known if leaf.default is dataclasses.MISSING and leaf.dest not in values]
    if missing:
        raise UserError(f"{' and '.join(missing)} must be given; --help explains every option")
    return tuple(_build(config, values, path) for config in configs)


def _taken(configs: tuple[Any, ...], argv: list[str], path: tuple[str, ...]) -> tuple[dict[str, Changes], list[str]]:
    """The `Changes` among the fields, by their place, and the command line without their words."""
    found: dict[str, Changes] = {}
    for config in configs:
        for field in fields(config):
            if isinstance(field.default, Changes) and "--help" not in argv:
                here = (*path, field.name)
                found["/".join(here)], argv = field.default.taken(argv, here)
    return found, argv


def _build(config: Any, values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    changes: dict[str, Any] = {}
    for field in fields(config):
        here = (*path, field.name)
        if field.listed:
            changes[field.name] = tuple(_build(item, values, (*here, kind_of(item))) for item in field.default)
        elif field.nested and not isinstance(field.default, Changes):
            changes[field.name] = _build(field.config, values, here)
        elif "/".join(here) in values:
            changes[field.name] = values["/".join(here)]
    try:
        return config(**changes) if isinstance(config, type) else dataclasses.replace(config, **changes)
    except ValueError as error:
        raise UserError(_located(str(error), path, [field.name for field in fields(config)])) from None


def _located(message: str, path: tuple[str, ...], names: list[str]) -> str:
    """A dataclass says "width must be positive"; only the command line knows that it is --encoder.width."""
    first, _, rest = message.partition(" ")
    if first in names:
        return f"{Leaf((*path, first), None, None, '').flag} {rest}"
    return f"--{'.'.join(path)}: {message}" if path else message


def _add(parser: argparse.ArgumentParser, config: Any, path: tuple[str, ...]) -> None:
    groups: dict[tuple[str, ...], Any] = {(): parser}
    for field in fields(config):
        if isinstance(field.default, Changes):
            flag = Leaf((*path, field.name), str, None, "").flag
            group = parser.add_argument_group(field.name)
            group.add_argument(f"{flag}.SETTING", dest=argparse.SUPPRESS, metavar="VALUE", help=field.default.help)
    for leaf in leaves(config, path):
        where = leaf.path[:-1]
        if where not in groups:
            groups[where] = parser.add_argument_group(".".join(where))
        default = "(required)" if leaf.default is dataclasses.MISSING else f"(default: {_text(leaf.default)})"
        help = f"{leaf.help} {default if leaf.default is not None else ''}".strip().replace("%", "%%")
        if leaf.kind is bool:
            groups[where].add_argument(leaf.flag, dest=leaf.dest, action=argparse.BooleanOptionalAction, help=help)
            continue
        read, metavar, count = _reader(leaf.kind)
        if leaf.bare:
            groups[where].add_argument(leaf.dest, type=read, metavar=leaf.flag, help=leaf.help)
            continue
        groups[where].add_argument(
            leaf.flag,
            dest=leaf.dest,
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


def _listing(what: str, choices: Mapping[str, Callable[[], Any]]) -> str:
    width = max(map(len, choices))
    lines = (f"  {name:{width}}  {_doc(choice).partition(chr(10))[0]}" for name, choice in choices.items())
    return f"{what}s:\n" + "\n".join(lines)


def _doc(choice: Any) -> str:
    doc = inspect.cleandoc(choice.__doc__ or "")
    return "" if doc.startswith(f"{choice.__name__}(") else doc  # the signature that dataclass() writes is no help


def _module_doc(main: Callable[..., object]) -> str:
    return sys.modules[main.__module__].__doc__ or ""
