"""Zero-shot figures of several encoders, each evaluated on classes that it left out, over all their class splits:

    python -m evaluation.zero_shot.split_means runs/without-0 runs/without-1 ...

Encoders of one stage are one row, such as pretrained and supervised ones; a class split that several of them were
evaluated on counts once, with their mean. All rows are of the class splits that they have in common, by which
differences are paired.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bonestrap.options import UserError
from bonestrap.protocols.scores import Spread, spread
from evaluation import evaluation_file
from evaluation.text_table import Column, aligned

METHODS = {"": "SA-DVAE", " ridge": "ridge"}  # by how an evaluation's name ends
FLOORS = ("random encoder", "raw joints")
KINDS = ("zero-shot ", "generalised zero-shot ")

Split = tuple[int, ...]  # unseen classes


class Figure(NamedTuple):
    """Of one class split: accuracy, or the harmonic mean of those on seen and on unseen classes; and these two."""

    value: float
    sides: tuple[float, ...] = ()


Candidates = dict[str, dict[Split, Figure]]  # by what is scored, then by class split


def collected(folders: Sequence[Path]) -> dict[str, dict[str, Candidates]]:
    """All zero-shot evaluations in these run directories, by evaluation and method.

    UserError where a folder has none, or one of a version that kept less.
    """
    read = {folder: _zero_shot(folder) for folder in folders}
    stages = {next(iter(each)) for evaluations in read.values() for each in evaluations.values()}
    found: dict[str, dict[str, dict[str, dict[Split, list[Figure]]]]] = {}
    for folder, evaluations in read.items():
        for name, candidates in evaluations.items():
            base, method = _parted(name)
            stage = next(iter(candidates))
            for who, figures in candidates.items():
                # Encoders of two stages differ in kind, and a random one is of theirs.
                row = f"{who}, as {stage}" if who == "random encoder" and len(stages) > 1 else who
                runs = found.setdefault(base, {}).setdefault(method, {}).setdefault(row, {})
                _add(runs, figures, folder)
    return {
        base: {
            method: {who: {split: _mean(each) for split, each in runs.items()} for who, runs in rows.items()}
            for method, rows in methods.items()
        }
        for base, methods in found.items()
    }


def _zero_shot(folder: Path) -> Mapping[str, Any]:
    found = {name: each for name, each in evaluation_file.read(folder).items() if name.startswith(KINDS)}
    if not found:
        raise UserError(f"{folder} has no zero-shot evaluation: run launch/evaluate.py zero-shot on it")
    return found


def _parted(name: str) -> tuple[str, str]:
    """What was evaluated, and the method."""
    ending = " ridge" if name.endswith(" ridge") else ""
    return name.removesuffix(ending), METHODS[ending]


def _add(runs: dict[Split, list[Figure]], figures: dict[str, Any], folder: Path) -> None:
    if "harmonic" in figures and "sides" not in figures:
        raise UserError(f"{folder} was evaluated by a version that kept no figures of seen classes: evaluate it again")
    sides = figures.get("sides", [()] * len(figures["runs"]))
    for unseen, value, both in zip(figures["unseen"], figures["runs"], sides, strict=True):
        runs.setdefault(tuple(unseen), []).append(Figure(value, tuple(both)))


def _mean(each: Sequence[Figure]) -> Figure:
    sides = zip(*(figure.sides for figure in each), strict=True)
    return Figure(sum(figure.value for figure in each) / len(each), tuple(sum(side) / len(each) for side in sides))


def lines(found: Mapping[str, Mapping[str, Candidates]]) -> Iterator[str]:
    """For each evaluation a table of means with their intervals, and one of paired differences."""
    for base, methods in found.items():
        rows = sorted(next(iter(methods.values())), key=lambda who: who.startswith(FLOORS))  # encoders first
        splits = sorted(set.intersection(*(set(methods[m][who]) for m in methods for who in rows)))
        if not splits:
            yield f"{base}: these encoders have no class split in common"
            continue
        chance = sum(1 / len(split) for split in splits) / len(splits)
        said = "" if base.startswith("generalised") else f", chance {chance:.1%}"
        yield f"{base}: {len(splits)} different class splits{said}"
        yield from _means(methods, rows, splits)
        yield from _differences(methods, rows, splits, chance=not base.startswith("generalised"))


def _means(methods: Mapping[str, Candidates], rows: Sequence[str], splits: Sequence[Split]) -> Iterator[str]:
    heads, out = [""], [[who] for who in rows]
    for method, candidates in methods.items():
        sides = ("seen", "unseen") if candidates[rows[0]][splits[0]].sides else ()
        heads += [method, "95 %", *sides]
        for who, cells in zip(rows, out, strict=True):
            of = [candidates[who][split] for split in splits]
            own = spread([figure.value for figure in of])
            cells += [f"{own.mean:.1%}", f"{own.low:.1%} to {own.high:.1%}"]
            cells += [f"{sum(side) / len(of):.1%}" for side in zip(*(figure.sides for figure in of), strict=True)]
    if len(methods) == 2:
        first, second = methods
        heads.append(f"{first} - {second}")
        for who, cells in zip(rows, out, strict=True):
            cells.append(_said(_gap(methods[first][who], methods[second][who], splits)))
    yield from aligned([Column(head, text=True) for head in heads], out, indent="  ").lines


def _differences(
    methods: Mapping[str, Candidates], rows: Sequence[str], splits: Sequence[Split], *, chance: bool
) -> Iterator[str]:
    """Of every row to those below it, and to chance."""
    guess = {split: Figure(1 / len(split)) for split in splits}
    pairs = [(who, other) for place, who in enumerate(rows) for other in rows[place + 1 :]]
    pairs += [(who, "chance") for who in rows if chance]
    out = []
    for who, other in pairs:
        gaps = [_gap(each[who], guess if other == "chance" else each[other], splits) for each in methods.values()]
        out.append([f"{who} - {other}", *map(_said, gaps)])
    heads = ["paired differences", *methods]
    yield from aligned([Column(head, text=True) for head in heads], out, indent="  ").lines


def _gap(one: Mapping[Split, Figure], other: Mapping[Split, Figure], splits: Sequence[Split]) -> Spread:
    return spread([one[split].value - other[split].value for split in splits])


def _said(gap: Spread) -> str:
    return f"{gap.mean:+.1%} ({gap.low:+.1%} to {gap.high:+.1%})"


def main(words: Sequence[str]) -> int:
    """The exit code."""
    try:
        print(*lines(collected([Path(word) for word in words])), sep="\n")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
