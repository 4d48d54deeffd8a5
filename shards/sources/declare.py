"""Splits that a source declares: the parts "SPLIT/train", "SPLIT/val" and "SPLIT/test" that its views are in.

A recording of the part val trains as well, unless settings are being chosen: it is the held-out part of the training
recordings, as in every split of `shards.splits`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Hashable, Mapping, Sequence

from shards.errors import DataError

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}
NAMED = re.compile(rf"(.*?)[_-]?({'|'.join(sorted(PARTS, key=len, reverse=True))})[_-]?(\d*)")
DEFAULT = "split"
FEW = 5  # subjects; of fewer, no fifth can be set aside


def named(name: str) -> tuple[str, str] | None:
    """The split and the part that a list is of by its name: `xsub_val` is ("xsub", "val"), `test1` ("split1", "test").

    None for any other name.
    """
    match = NAMED.fullmatch(name)
    return match and (f"{match[1] or DEFAULT}{match[3]}", PARTS[match[2]])


def complete(members: Mapping[str, Sequence[str]], groups: Sequence[Hashable]) -> list[tuple[str, ...]]:
    """The parts of each recording, from the part of each recording in each split ("" where it is in none).

    A split of two parts, train and either of the others, is one into train and test: a tenth of its training recordings
    then become val, whole `groups` at a time, such as all recordings of a person.
    """
    out: list[tuple[str, ...]] = [() for _ in groups]
    for split, parts in members.items():
        whole = [f"{split}/{part}" if part else "" for part in _whole(list(parts), groups)]
        out = [(*names, part) if part else names for names, part in zip(out, whole, strict=True)]
    return out


def _whole(parts: list[str], groups: Sequence[Hashable]) -> list[str]:
    """The parts of one split in which all three of train, val and test occur, as far as there are groups for it."""
    found = set(parts)
    if {"val", "test"} <= found:
        return parts
    train = sorted({group for group, part in zip(groups, parts, strict=True) if part == "train"}, key=_order)
    held_out = set(train[4::10] or train[1:2])
    shown = {"val": "test", "train": "train", "test": "test", "": ""}
    pairs = zip(groups, parts, strict=True)
    return ["val" if part == "train" and group in held_out else shown[part] for group, part in pairs]


def drawn(keys: Sequence[str], labels: Sequence[int | None], subjects: Sequence[int | None]) -> list[str]:
    """A part for each performance of a source that declares no split.

    Where all subjects are known, and there are five or more, every fifth tests and the one before it is val: nobody is
    on both sides. Otherwise the performances of each class are shuffled by a hash of their keys; two in ten test, one
    is val.
    """
    people = sorted({subject for subject in subjects if subject is not None})
    if len(people) >= FEW and None not in subjects:
        part = {person: {4: "test", 3: "val"}.get(rank % 5, "train") for rank, person in enumerate(people)}
        return [part[subject] for subject in subjects if subject is not None]
    out = ["train"] * len(keys)
    classes: dict[int | None, list[int]] = {}
    for number in sorted(range(len(keys)), key=lambda number: _order(keys[number])):
        classes.setdefault(labels[number], []).append(number)
    for numbers in classes.values():
        for rank, number in enumerate(numbers):
            out[number] = {4: "test", 9: "test", 2: "val"}.get(rank % 10, "train")
    return out


def check_part(text: str, where: str) -> str:
    """train, val or test, or "" for none; DataError for anything else."""
    part = PARTS.get(text.strip().lower(), "") if text.strip() else ""
    if text.strip() and not part:
        raise DataError(f"{where}: {text!r} is no part of a split; there is train, val and test")
    return part


def _order(value: Hashable) -> tuple[int, str]:
    """An order without meaning, the same everywhere."""
    text = str(value)
    return zlib.crc32(text.encode()), text
