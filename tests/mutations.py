"""Damage to files and values, drawn from a seed: what a broken disk, a careless script or an attacker makes of them."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterator
from typing import Any

NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][+-]?\d+)?")
WORDS = [
    b"nan", b"inf", b"-inf", b"1e999", b"-1", b"0", b"3000000000", b"9" * 5000, b"0x1F", b"", b"-0.0", b"1e-320",
    b"\xff", b"2147483648", b"40000", b"\xd9\xa3", b"None",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, 0, -1, 5, 2**31, 10**30, 1e308, float("nan"), float("inf"), "", "x", "x" * 300, "\ud800", "../up", [],
    {}, [[]], [None], {"a": 1}, [1, "a", None], 40000, 20240131, "20240131", [[[[[[[1]]]]]]], "9" * 5000,
]  # fmt: skip
NESTED = b"[" * 100_000 + b"]" * 100_000


def damaged(content: bytes, dice: random.Random) -> bytes:
    """The same bytes with one thing wrong."""
    at = dice.randrange(len(content) + 1)
    some = dice.randrange(1, 40)
    kind = dice.randrange(9)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + bytes(dice.randrange(256) for _ in range(some)) + content[at:]
    if kind == 2:
        return content[:at] + bytes(dice.randrange(256) for _ in range(some)) + content[at + some :]
    if kind == 3:
        return content[:at] + content[at + some :]
    if kind == 4:
        return content + content[:at]
    if kind == 5:
        return dice.choice([b"", b"\0", NESTED, b'{"a":' * 50_000, b"\xff\xfe" + content, content[::-1], b"5", b"[]"])
    lines = content.split(b"\n")
    if kind == 6 and len(lines) > 2:
        line = dice.randrange(len(lines))
        return b"\n".join([*lines[:line], *lines[line : line + 1] * dice.choice([0, 2]), *lines[line + 1 :]])
    numbers = list(NUMBER.finditer(content[: 2**16]))
    if not numbers:
        return content[: at // 2]
    found = dice.choice(numbers[: 40 if kind == 7 else None])
    return content[: found.start()] + dice.choice(WORDS) + content[found.end() :]


def changed(value: Any, dice: random.Random) -> Any:
    """The same lists and dicts with one node another value, gone, twice, or under another name."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return dice.choice(VALUES)
    inside, key = dice.choice(places)
    kind = dice.randrange(6)
    if kind == 0:
        del inside[key]
    elif kind == 1 and isinstance(inside, list):
        inside.insert(key, inside[key])
    elif kind == 2 and isinstance(inside, dict):
        inside[dice.choice(["", "x", "label"])] = inside.pop(key)
    else:
        inside[key] = copy.deepcopy(dice.choice(VALUES))
    return value


def changed_json(content: bytes, dice: random.Random) -> bytes:
    """A JSON text with one node changed."""
    return json.dumps(changed(json.loads(content), dice)).encode()


def _places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Every node as its container and its key or index; of long lists the first few."""
    keys = list(value) if isinstance(value, dict) else range(min(len(value), 4)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key], depth + 1)
