"""A page for each command, made from the parser that answers `--help`: no option is written down twice."""

from __future__ import annotations

import argparse
import contextlib
import functools
import html
import importlib
import re
import runpy
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from launch.cli import parser as command_line

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = "bonestrap"  # the console command
SECOND = {"pack": ("verify",)}  # words that are commands of their own


@dataclass(frozen=True, kw_only=True)
class Page:
    """`name` is that of the file, `title` what a user types, `about` one line, `text` the page in Markdown."""

    name: str
    title: str
    about: str
    text: str


@functools.cache
def command_pages() -> tuple[Page, ...]:
    """The pages of all commands: the installed ones, then the scripts of a checkout."""
    scripts = sorted(file for file in (ROOT / "launch").glob("*.py") if file.stem != "__init__")
    return (*installed_pages(), *(page for script in scripts for page in script_pages(script)))


def overview(pages: Iterable[Page]) -> str:
    """The list of commands, with a link to each."""
    lines = ["# Commands", "", "Made from the parsers of the commands: it is what `--help` prints.", ""]
    for heading, installed in (("From the package", True), ("From a checkout", False)):
        rows = [page for page in pages if page.title.startswith(INSTALLED) == installed]
        if rows:
            lines += [f"## {heading}", "", "| command | |", "|---|---|"]
            lines += [f"| [`{page.title}`]({page.name}.md) | {page.about} |" for page in rows]
            lines += [""]
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------ where parsers are


def installed_pages() -> Iterator[Page]:
    """The subcommands of `bonestrap`, which the wheel has."""
    from bonestrap.commands import main

    for name in main.library():
        title = f"{INSTALLED} {name}"
        about = importlib.import_module(f"bonestrap.commands.{name}").HELP
        parser = printed(functools.partial(main.main, [name, "--help"]))
        yield Page(name=f"{INSTALLED}-{name}", title=title, about=about, text=page_text(title, parser))


def script_pages(script: Path) -> Iterator[Page]:
    parser, choices = asked(script)
    title = f"launch/{script.name}"
    about = paragraphs(parser.description)[0]
    yield Page(name=script.stem, title=title, about=about, text=page_text(title, parser, choices))
    for word in SECOND.get(script.stem, ()):
        parser, _ = asked(script, word)
        about = paragraphs(parser.description)[0]
        title = f"launch/{script.name} {word}"
        yield Page(name=f"{script.stem}-{word}", title=title, about=about, text=page_text(title, parser))


Choices = tuple[str, dict[str, argparse.ArgumentParser]]


def asked(script: Path, *words: str) -> tuple[argparse.ArgumentParser, Choices | None]:
    """The parser that `script WORDS --help` prints, and what kind of choice its first word is, with their parsers."""
    offered: list[tuple[str, Mapping[str, object]]] = []
    start_choice = command_line.start_choice

    def watched(main: Any, what: str, choices: Any, *rest: Any, **options: Any) -> None:
        offered.append((what, choices))
        start_choice(main, what, choices, *rest, **options)

    def run(*words: str) -> argparse.ArgumentParser:
        with patch.object(sys, "argv", [str(script), *words, "--help"]), patch.object(sys, "path", [*sys.path]):
            return printed(lambda: runpy.run_path(str(script), run_name="__main__"))

    with patch.object(command_line, "start_choice", watched):
        parser = run(*words)
        if words or not offered:
            return parser, None
        what, choices = offered[0]
        return parser, (what, {name: run(name) for name in choices})


def printed(call: Callable[[], object]) -> argparse.ArgumentParser:
    """The parser whose help the call would print."""
    found: list[argparse.ArgumentParser] = []
    keep = patch.object(argparse.ArgumentParser, "print_help", lambda self, file=None: found.append(self))
    with keep, contextlib.suppress(SystemExit):
        call()
    (only,) = found
    return only


# ------------------------------------------------------------------------------------------------ what a page holds


def page_text(title: str, parser: argparse.ArgumentParser, choices: Choices | None = None) -> str:
    """Description, examples, the options, and the options of each recipe, format, protocol or table."""
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    usage = f"python launch/{usage}" if title.startswith("launch/") else usage
    lines = [f"# {title}", ""]
    listed = f"{choices[0]}s:" if choices else ""
    for paragraph in paragraphs(parser.description):
        if listed and paragraph.startswith(listed):
            break
        lines += [f"<p>{prose(paragraph)}</p>", ""]
    lines += ["```text", usage, "```", ""]
    if parser.epilog:
        examples = [line.strip() for line in parser.epilog.splitlines()[1:]]
        lines += ["## Examples", "", "```sh", *examples, "```", ""]
    lines += ["## Options", "", *tables(parser, set())]
    if choices:
        what, parsers = choices
        shared = flags(parser)
        for name, chosen in parsers.items():
            lines += [f"## {what}: {name}", "", *(f"<p>{prose(text)}</p>\n" for text in paragraphs(chosen.description))]
            own = tables(chosen, shared)
            if own:
                lines += [
                    f'<details markdown="0"><summary>Options and defaults of {name}</summary>',
                    *own,
                    "</details>",
                    "",
                ]
    return "\n".join(lines)


def tables(parser: argparse.ArgumentParser, without: set[str]) -> list[str]:
    """An HTML table for each group of options, as help has them in plain text."""
    out: list[str] = []
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        rows = []
        for action in group._group_actions:
            name = formatter._format_action_invocation(action)
            if action.help is argparse.SUPPRESS or isinstance(action, argparse._HelpAction) or name in without:
                continue
            said = html.escape(formatter._expand_help(action) if action.help else "")
            rows.append(f"<tr><td><code>{html.escape(name)}</code></td><td>{said}</td></tr>")
        if rows:
            title = group.title if group.title not in ("options", "positional arguments") else ""
            caption = f"<caption>{html.escape(title)}</caption>" if title else ""
            head = "<thead><tr><th>option</th><th>meaning</th></tr></thead>"
            out += [f'<table class="options">{caption}{head}<tbody>{"".join(rows)}</tbody></table>', ""]
    return out


def flags(parser: argparse.ArgumentParser) -> set[str]:
    formatter = parser._get_formatter()
    return {formatter._format_action_invocation(action) for action in parser._actions}


def paragraphs(text: str | None) -> list[str]:
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", (text or "").strip())]


def prose(text: str) -> str:
    """Escaped, with the words in backticks as code."""
    return re.sub(r"`+([^`]+)`+", r"<code>\1</code>", html.escape(text))
