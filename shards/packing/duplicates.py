"""Which recordings are the same, bit for bit, and which splits that spoils.

Found by the content of the stored joints across the whole folder, whatever files are called and whatever packing noted
within a performance. A test recording whose copy trains is not a test: its split is contaminated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shards.index import Table, Views
from shards.splits import SPLITS, Split, declared


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Groups of equal recordings. Arrays have one element a view."""

    group: np.ndarray  # equal where recordings are equal
    size: np.ndarray  # how many recordings are equal to it, itself included
    original: np.ndarray  # the first view of its group, in the order of the index

    @classmethod
    def of(cls, content: np.ndarray) -> Copies:
        """From the hashes (n, 2) of the recordings."""
        _, first, group, count = np.unique(content, axis=0, return_index=True, return_inverse=True, return_counts=True)
        group = group.reshape(-1)
        return cls(group=group, size=count[group], original=first[group])

    @property
    def repeats(self) -> np.ndarray:
        """(n,) bool: recordings that repeat one before them."""
        return self.original != np.arange(len(self.original))

    def groups(self) -> Iterator[np.ndarray]:
        """The views of every group of two or more, the first of each in the order of the index."""
        views = np.flatnonzero(self.size > 1)
        order = views[np.argsort(self.group[views], kind="stable")]
        found = np.split(order, np.flatnonzero(np.diff(self.group[order])) + 1) if len(order) else []
        return iter(sorted(found, key=lambda group: int(group[0])))

    def differing(self, column: np.ndarray) -> int:
        """Repeats that differ from what they repeat in this column: a camera, a subject, a label, a performance."""
        return int((column != column[self.original]).sum())


@dataclass(frozen=True, kw_only=True)
class Contamination:
    """One split and how many recordings are on both of its sides."""

    split: Split
    train: int
    held_out: int
    test: int
    copied: int  # test recordings of which a copy trains
    held_out_copied: int  # held-out recordings of which a copy trains while hyper-parameters are chosen
    test_twice: int  # test recordings that repeat another test recording: they count more than once

    @property
    def fraction(self) -> float:
        """The part of the test set that is known from training."""
        return self.copied / self.test if self.test else 0.0


def contaminations(views: Views, copies: Copies, splits: list[Split]) -> list[Contamination]:
    """Every split in turn. Copies that a split leaves out itself contaminate nothing."""
    out = []
    for split in splits:
        train, test, held_out = split.train(views), split.test(views), split.held_out(views)
        out.append(
            Contamination(
                split=split,
                train=int(train.sum()),
                held_out=int(held_out.sum()),
                test=int(test.sum()),
                copied=int(_known(copies, train, test).sum()),
                held_out_copied=int(_known(copies, split.fit(views), held_out).sum()),
                test_twice=int(test.sum()) - len(np.unique(copies.group[test])),
            )
        )
    return out


def splits_of(dataset: str, table: Table) -> list[Split]:
    """The splits of a known data set, or the splits that its recordings declare."""
    if dataset in SPLITS:
        return list(SPLITS[dataset].values())
    return [declared(dataset, name) for name in sorted(table.views.splits.names)]


def _known(copies: Copies, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """(n,) bool: test views whose content is among the training views'."""
    trained = np.bincount(copies.group[train], minlength=int(copies.group.max()) + 1) > 0
    return test & trained[copies.group]
