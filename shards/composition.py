"""Which of the recordings train, where their classes decide: classes left out for later, or a long tail of them.

Nothing else in pretraining reads labels, and these shape no weight: they choose recordings, as a collector might.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bonestrap.bounds import COUNT, Bounded, Bounds
from bonestrap.options import did_you_mean
from bonestrap.protocols.long_tailed import long_tailed
from bonestrap.zero_shot.splits import PUBLISHED_SPLITS
from shards.errors import DataError

if TYPE_CHECKING:
    from shards.catalogue import Catalogue

Recorded = TypeVar("Recorded", bound="Catalogue")


@dataclass(frozen=True, kw_only=True)
class Composition(Bounded):
    """A part of the training recordings, chosen by class. The defaults choose everything."""

    leave_out: str = field(
        default="nothing",
        metadata={
            "help": "novel: the classes that few-shot evaluation asks for; or the unseen ones of a published class "
            "split, such as 55/5; or numbers (from 0) or names of classes, separated by commas"
        },
    )
    imbalance: float = field(
        default=1.0,
        metadata={
            "help": "the commonest class has this many times the performances of the rarest",
            "bounds": Bounds(1, COUNT),
        },
    )

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self == Composition()

    def without(self, dataset: str, classes: Sequence[str]) -> tuple[int, ...]:
        """The classes that are left out. Raises DataError where one is unknown, or none is left."""
        from bonestrap.protocols.few_shot import novel_classes

        if self.leave_out == "nothing":
            return ()
        if self.leave_out == "novel":
            return novel_classes(dataset, len(classes))
        try:
            found = PUBLISHED_SPLITS.get(dataset, {}).get(self.leave_out) or numbers_of(self.leave_out, classes)
        except ValueError as error:
            raise DataError(f"--classes.leave-out: {error}") from None
        if len(found) == len(classes):
            raise DataError(
                f"--classes.leave-out names all {len(classes)} classes of {dataset}: leave some to train on"
            )
        return found

    def chosen(self, data: Recorded, seed: int) -> Recorded:
        """The part of `data`, whole performances. Raises DataError where a label that is needed is unknown."""
        if self.whole:
            return data
        labels = data.performance_label
        if (labels < 0).any():
            raise DataError(f"{data.manifest.name}: some recordings have no label to choose by; choose labelled shards")
        kept = np.flatnonzero(~np.isin(labels, self.without(data.manifest.name, data.manifest.classes)))
        if self.imbalance > 1:
            kept = kept[long_tailed(labels[kept], self.imbalance, seed)]
        inside = np.isin(data.view_performance, kept)
        return data.keep(lambda views: inside)


def numbers_of(text: str, classes: Sequence[str]) -> tuple[int, ...]:
    """Class numbers, ascending, from numbers (from 0) or names separated by commas. Raises ValueError for others."""
    found = set()
    for word in map(str.strip, text.split(",")):
        if word in classes:
            found.add(classes.index(word))
        elif word.isdecimal() and len(word) < 6 and int(word) < len(classes):
            found.add(int(word))
        else:
            raise ValueError(
                f"there is no class {word!r:.60}{did_you_mean(word, classes)}; give names, or numbers from 0 to "
                f"{len(classes) - 1}, separated by commas"
            )
    return tuple(sorted(found))
