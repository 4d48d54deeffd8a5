"""The most frequent errors of a model as moving skeletons: a recording of each, beside one of the class predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from evaluation.predictions import Predictions
from reports.animation import encoded
from reports.figures import Confusion
from reports.samples import recorded

SHOWN = 3  # pairs of classes


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """Recordings of one class that are taken for another. Rows are those of the test recordings."""

    true: str
    predicted: str
    count: int
    of: int  # recordings of the true class
    row: int  # a recording that is taken for the other class
    beside: int | None  # one of the other class; None where it has no recordings
    recognised: bool  # that one is


def frequent(matrix: Confusion, truth: np.ndarray, predicted: np.ndarray, shown: int = SHOWN) -> list[Mistake]:
    """The most frequent errors, by their number of recordings; `truth` and `predicted` are classes, (R,)."""
    wrong = matrix.counts - np.diag(matrix.counts.diagonal())
    found = []
    for place in np.argsort(-wrong, axis=None, kind="stable")[:shown]:
        true, taken = (int(n) for n in np.unravel_index(place, wrong.shape))
        if not wrong[true, taken]:
            break
        others = np.flatnonzero(truth == taken)
        recognised = others[predicted[others] == taken]
        both = recognised if len(recognised) else others
        found.append(
            Mistake(
                true=matrix.classes[true],
                predicted=matrix.classes[taken],
                count=int(wrong[true, taken]),
                of=int(matrix.counts[true].sum()),
                row=int(np.flatnonzero((truth == true) & (predicted == taken))[0]),
                beside=int(both[0]) if len(both) else None,
                recognised=len(recognised) > 0,
            )
        )
    return found


def mistakes(matrix: Confusion, predicted: torch.Tensor, predictions: Predictions) -> dict[str, Any]:
    """The errors of a model that predicts these classes (R,), and for the page's script a scene of each."""
    found = frequent(matrix, predictions.truth, predicted.cpu().numpy())
    return {"pairs": found, "scenes": [_scene(one, predictions) for one in found]}


def _scene(one: Mistake, predictions: Predictions) -> dict[str, Any]:
    rows: Sequence[int | None] = (one.row, one.beside)
    clips = [
        encoded(recorded(predictions.data.recordings([n])), predictions.data.layout) for n in rows if n is not None
    ]
    return {"title": f"{one.true} taken for {one.predicted}", "clips": clips}
