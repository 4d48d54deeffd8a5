"""The recordings that a model was trained on, and their known faults.

Everything comes from the manifest and the index: no frame is read. `launch/preview.py` looks at the frames as well.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from shards.index import Table
from shards.manifest import Manifest
from shards.packing.duplicates import Contamination, Copies, contaminations
from shards.packing.losses import whole
from shards.reading import Reading
from shards.splits import find
from shards.storage.folder import open_folder

REASONS = 3  # for dropping files that are named


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """A folder of shards under one split."""

    manifest: Manifest
    sides: Contamination  # sizes of training, held-out and test set, and how much they overlap
    performances: int  # that train
    subjects: int  # whose recordings train; 0 where nobody is known
    cameras: int
    copies: int  # recordings that repeat another camera's of the same performance bit for bit
    unlabelled: int  # of those that train

    @classmethod
    def of(cls, reading: Reading, name: str) -> DatasetFacts:
        """Count. Raises DataError where the data set has no such split."""
        from shards import catalogue

        manifest, table = catalogue.read(open_folder(reading.data, reading.store), hashed=False)
        views, split = table.views, find(manifest.name, name)
        (sides,) = contaminations(views, _noted(table), [split])
        train = split.train(views)
        return cls(
            manifest=manifest,
            sides=sides,
            performances=len(np.unique(table.performance[train])),
            subjects=_known(views.subject[train]),
            cameras=_known(views.camera[train]),
            copies=int(views.copy.sum()),
            unlabelled=int((views.label[train] < 0).sum()),
        )

    @property
    def faults(self) -> list[str]:
        """What is known to be wrong, a sentence each, from the manifest and the index."""
        out, sides = [], self.sides
        if self.copies:
            out.append(
                f"{self.copies:,} of {self.manifest.views:,} recordings are exact duplicates of another camera's "
                "recording of the same performance; they are excluded from training"
            )
        if sides.copied:
            out.append(
                f"split {sides.split.name} is contaminated: {sides.copied:,} of {sides.test:,} test recordings "
                f"({sides.fraction:.1%}) are duplicates of training recordings"
            )
        if dropped := whole(self.manifest.dropped):
            reasons = Counter(reason for _, reason in dropped).most_common(REASONS)
            why = "; ".join(f"{count:,} x {reason}" for reason, count in reasons)
            out.append(f"{len(dropped):,} source files were dropped while packing: {why}")
        if self.unlabelled:
            out.append(f"{self.unlabelled:,} training recordings are unlabelled")
        return out


def _noted(table: Table) -> Copies:
    """The duplicates that packing noted in the index."""
    rows = np.arange(len(table.copy_of), dtype=np.int64)
    original = np.where(table.copy_of >= 0, table.first_view[table.performance] + table.copy_of, rows)
    return Copies.of(original[:, None])


def _known(column: np.ndarray) -> int:
    return len(np.unique(column[column >= 0]))
