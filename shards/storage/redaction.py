"""Addresses without the secrets that they may carry: user and password, query signatures, tokens.

`shown` is for one address, `redacted` for a text in which addresses may stand, such as an error of a library. Whatever
is written into a run directory, sent to MLflow or printed goes through one of them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import Any

SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"
IN_TEXT = re.compile(SCHEME + r"[^\s'\"`<>]+")
CLOSING = re.compile(r"[).,;:!?\]}]*$")  # of the sentence in which an address stands
HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(:\d*)?")  # with its port


def shown(address: str) -> str:
    """An address without user, password, query and fragment."""
    return _bare(address).rstrip("/")


def redacted(text: str) -> str:
    """A text whose addresses are without secrets."""
    return IN_TEXT.sub(_in_text, text)


def plain(value: Any) -> Any:
    """The same lists, dictionaries, numbers and texts, with texts redacted, keys included."""
    if isinstance(value, dict):
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return redacted(value) if isinstance(value, str) else value


def command(words: Iterable[str]) -> str:
    """A command line as one types it, without secrets. An address ends with its word, whatever the word contains."""
    return shlex.join(
        re.sub(SCHEME + ".*", lambda found: _bare(found[0]), word, flags=re.DOTALL)
        if word.count("://") == 1 and not word.startswith("-")
        else redacted(word)
        for word in words
    )


def _in_text(found: re.Match[str]) -> str:
    address = found[0]
    bare = _bare(address)
    closing = CLOSING.search(address)
    assert closing is not None
    return bare if bare.endswith(closing[0]) else bare + closing[0]


def _bare(address: str) -> str:
    scheme, mark, rest = address.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        rest = rest[authority.rindex("@") + 1 :]
    elif not HOST.fullmatch(authority):  # a password that is not percent-encoded, or one that a space cuts off
        rest = rest.rpartition("@")[2] if "@" in rest else authority.partition(":")[0]
    return scheme + mark + re.split("[?#]", rest, maxsplit=1)[0]
