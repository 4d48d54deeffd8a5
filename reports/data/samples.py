"""Training recordings, and the clips that each run's augmentations make of them, for a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bonestrap.augment import PLAIN, View
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Recordings
from bonestrap.config import from_json
from bonestrap.methods import METHODS, MethodConfig
from bonestrap.options import UserError
from evaluation.run_record import RunRecord
from reports.animation import encoded
from shards import splits
from shards.reading import Reading

SHOWN = 3  # recordings, of different classes where there are
TRIED = 24  # recordings from which they are taken


def samples(reading: Reading, records: Sequence[RunRecord], split: str) -> list[dict[str, Any]]:
    """A scene for the page's script: each recording as stored, and beside it one sample of every pipeline."""
    train = splits.find(reading.manifest.name, split).train
    data = reading.sample(splits.labelled(train), TRIED, "cpu")
    draws = pipelines(records)
    out = []
    _, first = np.unique(data.labels(range(len(data))).numpy(), return_index=True)
    for row in sorted(first.tolist())[:SHOWN]:
        recording = data.recordings([row])
        joints = recorded(recording)
        clips = [{"name": "original", **encoded(joints, data.layout)}]
        for number, (name, augment) in enumerate(draws.items()):
            pipeline = Pipeline(data.layout, records[0].description.clip, augment)
            seen = pipeline(recording, torch.Generator().manual_seed(row * len(draws) + number)).joints
            view = seen[..., : data.layout.coordinates].permute(1, 0, 2, 3).numpy()
            # A clip is played in the time that its recording takes.
            slow = {"total": len(joints), "every": max(1.0, len(joints) / len(view))}
            clips.append({"name": name, **encoded(view, data.layout), **slow})
        label = int(data.labels([row])[0])
        out.append({"title": data.manifest.classes[label], "clips": clips})
    return out


def pipelines(records: Sequence[RunRecord]) -> dict[str, View]:
    """The augmentations by name, as each run's record has them; equal ones once.

    A method without views adds none. UserError where a run's own method cannot be imported.
    """
    out: dict[str, View] = {}
    for record in records:
        if "kind" not in (told := record.result.get("method", {})):
            continue
        try:
            views = from_json(MethodConfig, METHODS, told).views
        except (TypeError, ValueError) as error:
            raise UserError(f"the method in {record.folder / 'run.json'} cannot be read: {error}") from None
        for name, view in views.items():
            if view not in out.values():
                out[f"{record.name}, {name}"] = view
    return out if len(out) > 1 else {**out, "at test time": PLAIN}


def recorded(recording: Recordings) -> np.ndarray:
    """The joints (T, M, V, C) of one recording."""
    bodies = [recording.frames[a : a + n] for a, n in zip(recording.start, recording.length, strict=True)]
    return torch.stack(bodies, 1).float().numpy()
