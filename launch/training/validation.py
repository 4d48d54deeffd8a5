"""The validation curve of a classifier that is being trained: its accuracy on held-out training recordings.

They are those by which the best of several models is chosen at the end (`evaluation/held_out.py`), or some of them: no
label of theirs, nor of another view of the same performance, is read by the run or by what it comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from bonestrap.augment.pipeline import Pipeline
from evaluation import held_out, trained
from evaluation.held_out import FEWEST, HeldOut

if TYPE_CHECKING:
    from bonestrap.model import Model
    from distributed.strategy import Strategy
    from launch.training.data import TrainingData
    from launch.training.options import Options
    from launch.training.training import Training

VALIDATED = 300  # recordings: the accuracy has a standard error of at most 2.9 points
METRIC = "validation_accuracy"


class Validation:
    """Called on a cadence by the loop: the classifier's accuracy, 0..1."""

    def __init__(self, encoder: nn.Module, head: nn.Module, pipeline: Pipeline, recordings: HeldOut) -> None:
        self.encoder, self.head, self.pipeline, self.recordings = encoder, head, pipeline, recordings

    def __call__(self) -> dict[str, float]:
        return {METRIC: self.recordings.scores(self.encoder, self.head, self.pipeline).accuracy}


def validation(
    training: Training,
    options: Options,
    data: TrainingData,
    source: Model,
    classifier: tuple[nn.Module, nn.Module],
    pipeline: Pipeline,
    strategy: Strategy,
) -> Validation | None:
    """Measures a `classifier`, an encoder and a head, on the first rank, which says why where nothing can be measured.

    Each recording is prepared by `pipeline`; its joints are those of `source`, which the run starts or learns from.
    """
    if not strategy.first:
        return None
    labelled = read(training.parents, data.fingerprints if training.method.input.labels else data.fingerprints[:0])
    if labelled is None:
        strategy.screen.message("No validation curve: which labels its source has read was not kept.")
        return None
    found = held_out.unread(options, training.split, labelled, source, strategy.device, VALIDATED)
    if found is None:
        strategy.screen.message(
            f"No validation curve: of the held-out training subjects fewer than {FEWEST} recordings are left whose "
            "labels are not trained on; fewer --labels, or --hold-out, leave more."
        )
        return None
    return Validation(*classifier, pipeline, found)


def read(parents: Sequence[Path], own: np.ndarray) -> np.ndarray | None:
    """The fingerprints of all recordings whose labels a run and its parents read; None where that is not known."""
    parts = [own]
    for parent in parents:
        known = trained.read(parent, trained.LABELLED)
        if known is None:
            return None
        parts.append(known)
    return np.concatenate(parts)
