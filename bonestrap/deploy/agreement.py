"""How much an ONNX file of fewer bits differs from its model, on recordings with labels."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bonestrap.deploy.precision import Precision
from bonestrap.model import Model
from bonestrap.protocols.bootstrap import Groups
from bonestrap.protocols.scores import Scores, score

ROUNDS, TIMED = 5, 30  # of timing, by turns; recordings of a round


class Agreement(NamedTuple):
    """One file beside its model."""

    precision: Precision
    megabytes: float
    equal: float  # fraction of the recordings whose likeliest class is the model's
    difference: float  # largest of a probability
    scores: Scores  # of the file
    milliseconds: float  # CPU time of a recording on one thread, raw joints to probabilities: the best round's mean


def agreement(
    model: Model,
    files: Mapping[Precision, Path],
    recordings: Sequence[np.ndarray],
    labels: Tensor,
    groups: Groups | None,
) -> list[Agreement]:
    """Every file's answers to the same recordings (T, M, V, C), beside `Model.predict`. Raises ImportError."""
    expected = model.predict(recordings).numpy()
    sessions = {precision: _session(file) for precision, file in files.items()}
    times = dict.fromkeys(files, np.inf)
    for _ in range(ROUNDS):
        for precision, session in sessions.items():
            began = time.process_time()
            _answers(session, recordings[:TIMED])
            times[precision] = min(times[precision], time.process_time() - began)
    found = []
    for precision, session in sessions.items():
        said = _answers(session, recordings)
        found.append(
            Agreement(
                precision,
                files[precision].stat().st_size / 1e6,
                float((said.argmax(1) == expected.argmax(1)).mean()),
                float(np.abs(said - expected).max()),
                score(torch.from_numpy(said), labels, groups),
                times[precision] * 1000 / min(TIMED, len(recordings)),
            )
        )
    return found


def _session(file: Path) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])


def _answers(session: Any, recordings: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([session.run(["probabilities"], {"joints": joints})[0] for joints in recordings])
