"""Settings of something that is known only later, such as the encoder of the model that a command loads."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, TypeVar

from bonestrap.config import find_kind
from bonestrap.options import UserError

C = TypeVar("C")


@dataclasses.dataclass(frozen=True)
class Changes:
    """`--encoder.width 0.25` and `--encoder KIND` before it is known which encoder they change."""

    help: str
    path: tuple[str, ...] = ()
    words: tuple[str, ...] = ()  # as they stand on the command line
    kind: str | None = None

    def __bool__(self) -> bool:
        return bool(self.words) or self.kind is not None

    def applied(self, config: C) -> C:
        """The configuration with these changes; of another kind, that kind's defaults. UserError as for any option."""
        from launch.cli.parser import parse_changes

        if self.kind is not None:
            try:
                base = next(cls for cls in type(config).__mro__[::-1] if "kinds" in vars(cls))
                found = find_kind(base, config.kinds(), self.kind)  # type: ignore[attr-defined]
            except ValueError as error:
                raise UserError(f"--{'.'.join(self.path)}: {error}") from None
            config = config if isinstance(config, found) else found()
        return parse_changes(config, self.words, self.path)

    def plain(self) -> dict[str, Any]:
        """The changes as plain values, for a run record."""
        out: dict[str, Any] = {} if self.kind is None else {"kind": self.kind}
        prefix, name = f"--{'.'.join(self.path)}.", ""
        for word in self.words:
            if not word.startswith(prefix):
                out[name] = _literal(word)
                continue
            name, equals, value = word.removeprefix(prefix).partition("=")
            if equals:
                out[name] = _literal(value)
        return out

    def taken(self, argv: list[str], path: tuple[str, ...]) -> tuple[Changes, list[str]]:
        """These changes from a command line, and what is left of it."""
        flag = "--" + ".".join(path).replace("_", "-")
        words, rest, kind, taking = [], [], None, ""
        for word in argv:
            if word == flag:
                taking = "kind"
            elif word.startswith(f"{flag}="):
                kind, taking = word.partition("=")[2], ""
            elif word.startswith(f"{flag}."):
                words.append(word)
                taking = "words"
            elif taking == "kind":
                kind, taking = word, ""
            elif taking == "words" and not word.startswith("--"):
                words.append(word)
            else:
                rest.append(word)
                taking = ""
        return dataclasses.replace(self, path=path, words=tuple(words), kind=kind), rest


def _literal(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word
