"""How good a classifier is on recordings whose labels its training has not read: what the best of several is chosen by.

Those are the recordings of the held-out training subjects, without the performances of which a label was read by the
run or by one that it came from. They may have been trained on without their labels, as in pretraining. The test
recordings are not opened.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bonestrap.model import Model
from bonestrap.protocols.features import extract
from bonestrap.protocols.scores import Scores, score
from evaluation import trained
from evaluation.features import adaptation
from shards import splits
from shards.reading import Reading

LIMIT = 1000  # recordings, evenly spaced over those that there are
FEWEST = 20  # an accuracy of less says nothing
CHUNK = 128


@torch.no_grad()
def scores(run: Path, model: Model, reading: Reading, split: str) -> Scores | None:
    """The figures of a run's classifier; None where no such recording is left, or where that is not known."""
    labelled = trained.read(run, trained.LABELLED)
    if labelled is None or model.head is None:
        return None
    select = splits.labelled(splits.find(reading.manifest.name, split).held_out)
    if not all(reading.counts(select)):
        return None
    data = reading.open(select, "cpu")
    read = np.isin(trained.fingerprints(data), labelled)
    rows = np.flatnonzero(~np.isin(data.view_performance, data.view_performance[read]))
    if len(rows) < FEWEST:
        return None
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(LIMIT, len(rows))).round().astype(np.int64))]
    adapt = adaptation(model, data)
    parts = [torch.from_numpy(rows[begin : begin + CHUNK]) for begin in range(0, len(rows), CHUNK)]
    features = extract(model.encoder, model.pipeline, (adapt(data.recordings(part)) for part in parts))
    return score(model.head(features), data.labels(rows).cpu())
