"""How good a classifier is on recordings whose labels its training has not read: what the best of several is chosen by.

Those are the recordings of the held-out training subjects, without the performances of which a label was read by the
run or by one that it came from. They may have been trained on without their labels, as in pretraining. The test
recordings are not opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Recordings
from bonestrap.model import Model
from bonestrap.protocols.features import evaluating, extract
from bonestrap.protocols.scores import Scores, score
from evaluation import trained
from evaluation.features import adaptation
from shards import splits
from shards.reading import Reading

LIMIT = 1000  # recordings, evenly spaced over those that there are
FEWEST = 20  # an accuracy of less says nothing
CHUNK = 128


class HeldOut(NamedTuple):
    """Recordings in chunks, and their labels (R,) on the CPU."""

    chunks: Sequence[Recordings]
    labels: Tensor

    @torch.no_grad()
    def scores(self, encoder: nn.Module, head: nn.Module, pipeline: Pipeline) -> Scores:
        """The figures of a classifier on the device of the chunks; its modes are put back afterwards."""
        features = extract(encoder, pipeline, self.chunks).to(self.chunks[0].frames.device)
        with evaluating(head):
            return score(head(features).float().cpu(), self.labels)


def scores(run: Path, model: Model, reading: Reading, split: str) -> Scores | None:
    """The figures of a run's classifier; None where no such recording is left, or where that is not known."""
    labelled = trained.read(run, trained.LABELLED)
    if labelled is None or model.head is None:
        return None
    found = unread(reading, split, labelled, model, "cpu")
    return None if found is None else found.scores(model.encoder, model.head, model.pipeline)


def unread(
    reading: Reading,
    split: str,
    labelled: np.ndarray,
    model: Model,
    device: torch.device | str,
    limit: int = LIMIT,
) -> HeldOut | None:
    """Up to `limit` recordings of performances of which no label is among `labelled`, by their fingerprints, in the
    layout of `model`. None where they are too few for an accuracy."""
    select = splits.labelled(splits.find(reading.manifest.name, split).held_out)
    if not all(reading.counts(select)):
        return None
    data = reading.open(select, device)
    read = np.isin(trained.fingerprints(data), labelled)
    rows = np.flatnonzero(~np.isin(data.view_performance, data.view_performance[read]))
    if len(rows) < FEWEST:
        return None
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(limit, len(rows))).round().astype(np.int64))]
    adapt = adaptation(model, data)
    parts = [torch.from_numpy(rows[begin : begin + CHUNK]) for begin in range(0, len(rows), CHUNK)]
    return HeldOut([adapt(data.recordings(part)) for part in parts], data.labels(rows).cpu())
