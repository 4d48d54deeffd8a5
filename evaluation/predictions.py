"""Features and predictions of several models on the same test recordings, which are read once.

They are read only to be shown: by then everything has been chosen and evaluated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from bonestrap.options import UserError
from bonestrap.protocols.bootstrap import Bootstrap, bootstrap
from bonestrap.protocols.scores import confusion
from evaluation.features import adaptation, features_of
from evaluation.run_record import RunRecord
from evaluation.scoring import dependent
from shards import splits
from shards.reading import Reading, Recorded

MAPPED = 1000  # recordings of an embedding map, evenly spaced over the test recordings
TOLERANCE = 0.005  # accuracies differ by less between machines that round differently


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One model. Rows are the test recordings."""

    features: torch.Tensor  # (R, D) float32
    table: np.ndarray | None = None  # counts (classes, classes), rows are true classes; None without a classifier
    predicted: torch.Tensor | None = None  # (R,) int64; None without a classifier


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """All models on the same recordings."""

    data: Recorded
    truth: np.ndarray  # (R,)
    each: tuple[Prediction, ...]

    @property
    def mapped(self) -> np.ndarray:
        """The recordings that an embedding map shows."""
        return np.unique(np.linspace(0, len(self.truth) - 1, min(MAPPED, len(self.truth))).astype(np.int64))

    def neighbours(self, number: int) -> float:
        """The fraction of mapped recordings whose nearest one of another performance is of the same class."""
        rows = self.mapped
        x = F.normalize(self.each[number].features[torch.from_numpy(rows)], dim=1)
        owner = torch.from_numpy(self.data.view_performance[rows].astype(np.int64))
        similar = (x @ x.T).masked_fill(owner[:, None] == owner, -2.0)
        truth = torch.from_numpy(self.truth[rows])
        return (truth[similar.argmax(1)] == truth).float().mean().item()

    def difference(self, one: int, other: int) -> tuple[float, Bootstrap | None] | None:
        """The accuracy of one model less that of another, and the 95 % interval of a paired bootstrap.

        Both are right or wrong on the same recordings, so that their differences are drawn, in whole groups that depend
        on each other. None where one of them has no classifier; no interval of fewer than five groups.
        """
        first, second = self.each[one].predicted, self.each[other].predicted
        if first is None or second is None:
            return None
        truth = torch.from_numpy(self.truth)
        gained = (first == truth).double() - (second == truth).double()
        return gained.mean().item(), bootstrap(gained, dependent(self.data.views))


def predictions(reading: Reading, records: Sequence[RunRecord], split: str) -> Predictions:
    """Read the test recordings once and show them to every model.

    UserError where there are none, or where a model does not do on them what its evaluation says.
    """
    manifest = reading.manifest
    data = reading.open(splits.labelled(splits.find(manifest.name, split).test), "cpu")
    if not len(data):
        raise UserError(f"split {split} leaves no labelled test recording of {manifest.name}; choose another one")
    truth = data.labels(range(len(data)))
    each = []
    for record in records:
        model = record.model
        adapt = adaptation(model, data)
        rows = features_of(model.encoder, model.pipeline, adapt, data)
        table = predicted = None
        if model.head is not None:
            with torch.no_grad():
                predicted = model.head(rows).argmax(1)
            table = confusion(predicted, truth, len(manifest.classes)).numpy()
            _check(record, table, split)
        each.append(Prediction(features=rows, table=table, predicted=predicted))
    return Predictions(data=data, truth=truth.numpy(), each=tuple(each))


def _check(record: RunRecord, table: np.ndarray, split: str) -> None:
    stored, count = record.shown.model, int(table.sum())
    right = table.trace() / count
    if stored.recordings != count or abs(stored.accuracy - right) > TOLERANCE:
        raise UserError(
            f"{record.folder / 'evaluation.json'} says {stored.accuracy:.1%} of {stored.recordings:,} recordings, but "
            f"the model gets {right:.1%} of {count:,} of split {split}: evaluate it again"
        )
