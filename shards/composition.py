"""Which of the recordings train, where their classes decide: classes left out for later, or a long tail of them.

Nothing else in pretraining reads labels, and these shape no weight: they choose recordings, as a collector might.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np

from bonestrap.bounds import COUNT, Bounded, Bounds
from bonestrap.protocols.few_shot import novel_classes
from bonestrap.protocols.long_tailed import long_tailed
from shards.catalogue import Catalogue
from shards.errors import DataError

Recorded = TypeVar("Recorded", bound=Catalogue)


@dataclass(frozen=True, kw_only=True)
class Composition(Bounded):
    """A part of the training recordings, chosen by class. The defaults choose everything."""

    leave_out: Literal["nothing", "novel"] = field(
        default="nothing", metadata={"help": "novel: without the classes that few-shot evaluation asks for"}
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

    def without(self, dataset: str, classes: int) -> tuple[int, ...]:
        """The classes that are left out."""
        return novel_classes(dataset, classes) if self.leave_out == "novel" else ()

    def chosen(self, data: Recorded, seed: int) -> Recorded:
        """The part of `data`, whole performances. Raises DataError where a label that is needed is unknown."""
        if self.whole:
            return data
        labels = data.performance_label
        if (labels < 0).any():
            raise DataError(f"{data.manifest.name}: some recordings have no label to choose by; choose labelled shards")
        kept = np.flatnonzero(~np.isin(labels, self.without(data.manifest.name, len(data.manifest.classes))))
        if self.imbalance > 1:
            kept = kept[long_tailed(labels[kept], self.imbalance, seed)]
        inside = np.isin(data.view_performance, kept)
        return data.keep(lambda views: inside)
