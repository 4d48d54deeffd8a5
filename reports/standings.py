"""Which models of a page are the most accurate, and which of them cannot be told apart.

Models with a classifier are compared recording by recording: the interval is that of a paired bootstrap of the
difference. Where there is none, because encoders have no predictions or groups are too few, two models are told apart
when the accuracy of the better one lies above the stored interval of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bonestrap.protocols.bootstrap import Bootstrap
    from evaluation.predictions import Predictions
    from evaluation.run_record import RunRecord


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A model beside the most accurate one."""

    record: RunRecord
    gap: float  # the accuracy of the most accurate one less this one's, 0..1
    paired: Bootstrap | None  # of the gap
    level: bool  # the interval includes no difference

    @property
    def how(self) -> str:
        """Where `level` comes from."""
        return f"paired bootstrap over {self.paired.units:,} {self.paired.unit}" if self.paired else "Wilson interval"


def standings(records: Sequence[RunRecord], predictions: Predictions) -> list[Standing]:
    """The models that compare, the most accurate first: classifiers, or of encoders those evaluated like the best."""
    rivals = [number for number, one in enumerate(records) if one.classifies] or list(range(len(records)))
    rivals.sort(key=lambda number: -records[number].shown.model.accuracy)
    best = rivals[0]
    alike = [number for number in rivals if records[number].shown.name == records[best].shown.name]
    return [_standing(records, predictions, best, number) for number in alike]


def _standing(records: Sequence[RunRecord], predictions: Predictions, best: int, number: int) -> Standing:
    one, top = records[number], records[best].shown.model.accuracy
    gap, paired = top - one.shown.model.accuracy, None
    if number == best:
        return Standing(record=one, gap=0.0, paired=None, level=True)
    if found := predictions.difference(best, number):
        gap, paired = found
    if paired is not None and paired.low == paired.high and gap:
        paired = None  # all groups differ alike, and their number says nothing of how far to trust that
    level = paired.low <= 0 <= paired.high if paired else one.shown.model.reach >= top
    return Standing(record=one, gap=gap, paired=paired, level=level)
