"""The most frequent errors of a model as moving skeletons: a recording of each, beside one of the class predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from evaluation.predictions import Predictions
from reports.animation import encoded
from reports.data.samples import recorded
from reports.figures import Confusion, Error, errors

SHOWN = 3  # pairs of classes


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """An error with recordings to show. Rows are those of the test recordings."""

    error: Error
    row: int  # a recording that is taken for the other class
    beside: int | None  # one of the other class; None where it has no recordings
    recognised: bool  # that one is


def frequent(matrix: Confusion, truth: np.ndarray, predicted: np.ndarray) -> list[Mistake]:
    """The most frequent errors; `truth` and `predicted` are classes, (R,)."""
    found = []
    for error in errors(matrix, SHOWN):
        others = np.flatnonzero(truth == error.predicted)
        right = others[predicted[others] == error.predicted]
        beside = right if len(right) else others
        found.append(
            Mistake(
                error=error,
                row=int(np.flatnonzero((truth == error.true) & (predicted == error.predicted))[0]),
                beside=int(beside[0]) if len(beside) else None,
                recognised=len(right) > 0,
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
    return {"title": " taken for ".join(one.error.names), "clips": clips}
