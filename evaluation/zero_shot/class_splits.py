"""Class splits of zero-shot evaluation: which classes are unseen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bonestrap.files import opened, read_array
from bonestrap.options import UserError
from bonestrap.zero_shot.splits import PUBLISHED_SPLITS
from shards.composition import numbers_of

FEWEST = 4  # seen classes, so that some of them can be held out


def named(words: Sequence[str], dataset: str, names: Sequence[str]) -> list[tuple[int, ...]]:
    """The unseen classes of each split that is named: a published one, a file, or classes. UserError for others."""
    out = []
    for word in words:
        unseen = PUBLISHED_SPLITS.get(dataset, {}).get(word) or _read(word, dataset, names)
        check(unseen, len(names), f"--unseen {word}")
        out.append(unseen)
    return out


def check(unseen: Sequence[int], classes: int, said: str) -> None:
    """UserError where a split leaves too few classes, or asks nothing."""
    if len(unseen) == classes:
        raise UserError(f"{said} names all {classes} classes, and none is left to learn from: leave {FEWEST} or more")
    if len(unseen) < 2:
        raise UserError(f"{said} names one class, which no other is told apart from: name two or more")
    if classes - len(unseen) < FEWEST:
        raise UserError(f"{said} leaves {classes - len(unseen)} seen classes: leave {FEWEST} or more")


def _read(word: str, dataset: str, names: Sequence[str]) -> tuple[int, ...]:
    path = Path(word)
    try:
        if path.suffix == ".npy":
            with opened(path) as file:
                size = path.stat().st_size
                found = read_array(file, size)
            return numbers_of(",".join(str(int(label)) for label in found.ravel()), names)
        if path.is_file():
            return numbers_of(",".join(path.read_text("utf-8").split("\n")).strip(", "), names)
        return numbers_of(word, names)
    except (OSError, ValueError) as error:
        known = ", ".join(PUBLISHED_SPLITS.get(dataset, {}))
        more = f"; published for {dataset}: {known}" if known else ""
        raise UserError(f"--unseen {word}: {error}{more}") from None


def drawn(classes: Sequence[int], count: int, splits: int, seed: int) -> list[tuple[int, ...]]:
    """Unseen classes of `splits` splits, or of all that there are if these are no more.

    Successive parts of random orders: every class is unseen once before one is unseen twice.
    """
    if math.comb(len(classes), count) <= splits:
        return list(itertools.combinations(sorted(classes), count))
    out: list[tuple[int, ...]] = []
    random, order = np.random.default_rng(seed), np.empty(0, dtype=np.int64)
    while len(out) < splits:
        if len(order) < count:
            order = random.permutation(len(classes))
        split = tuple(sorted(classes[place] for place in order[:count]))
        order = order[count:]
        if split not in out:
            out.append(split)
    return out
