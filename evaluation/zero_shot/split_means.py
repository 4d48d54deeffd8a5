"""Zero-shot figures of several encoders, each evaluated on classes that it left out, over all their class splits:

    python -m evaluation.zero_shot.split_means runs/without-0 runs/without-1 ...

A class split that several encoders were evaluated on counts once, with the mean of their accuracies. The first column
of differences is to chance; the others are of the model to each floor. All are paired by class split.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bonestrap.options import UserError
from bonestrap.protocols.scores import spread
from evaluation import evaluation_file
from evaluation.text_table import Column, aligned

Runs = dict[str, dict[str, dict[tuple[int, ...], list[float]]]]  # by evaluation, candidate and unseen classes


def collected(folders: Sequence[Path]) -> Runs:
    """The accuracies of all zero-shot evaluations in these run directories. UserError where a folder has none."""
    out: Runs = {}
    for folder in folders:
        found = {name: each for name, each in evaluation_file.read(folder).items() if name.startswith("zero-shot ")}
        if not found:
            raise UserError(f"{folder} has no zero-shot evaluation: run launch/evaluate.py zero-shot on it")
        for name, candidates in found.items():
            for who, figures in zip(("model", *list(candidates)[1:]), candidates.values(), strict=True):
                _add(out.setdefault(name, {}).setdefault(who, {}), figures)
    return out


def _add(runs: dict[tuple[int, ...], list[float]], figures: dict[str, Any]) -> None:
    for unseen, accuracy in zip(figures["unseen"], figures["runs"], strict=True):
        runs.setdefault(tuple(unseen), []).append(accuracy)


def lines(found: Runs) -> Iterator[str]:
    """A table for each evaluation: mean, its interval, and the paired differences."""
    for name, candidates in found.items():
        means = {
            who: {split: sum(all_) / len(all_) for split, all_ in runs.items()} for who, runs in candidates.items()
        }
        splits = sorted(means["model"])
        yield f"{name}: {len(splits)} different class splits"
        rows = []
        for who, runs in means.items():
            own = spread([runs[split] for split in splits])
            others = {"chance": {split: 1 / len(split) for split in splits}}
            if who == "model":
                others |= {other: each for other, each in means.items() if other != "model"}
            gaps = [spread([runs[split] - each[split] for split in splits]) for each in others.values()]
            said = [f"{gap.mean:+.1%} ({gap.low:+.1%} to {gap.high:+.1%})" for gap in gaps]
            rows.append([who, f"{own.mean:.1%}", f"{own.low:.1%} to {own.high:.1%}", *said])
        heads = ["", "accuracy", "95 %", "- chance", *(f"- {who}" for who in means if who != "model")]
        padded = [[*row, *[""] * (len(heads) - len(row))] for row in rows]
        yield from aligned([Column(head, text=True) for head in heads], padded, indent="  ").lines


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
