"""The figures of answers about untrimmed recordings, and their table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from evaluation.streams.answers import Answers
from evaluation.streams.metrics import THRESHOLDS, Frames, delays, frame_accuracy, mean_average_precision
from evaluation.streams.untrimmed import Untrimmed
from evaluation.text_table import Column, aligned

COLUMNS = (
    Column("", text=True),
    Column("frames", "% at once"), Column("", "actions"), Column("", "nothing"),
    Column("frames", "% later"), Column("", "actions"), Column("", "nothing"),
    *(Column("mAP", f"at {threshold:g}") for threshold in THRESHOLDS),
    Column("delay", "ms"), Column("found", "%"), Column("compute", "ms a frame"), Column("of a core", "% live"),
)  # fmt: skip


class Scores(NamedTuple):
    """Of one way of recognising. Fractions in 0..1."""

    at_once: Frames  # by the answers that were known when each frame had arrived
    afterwards: Frames  # by the borders of what was recognised
    precision: tuple[float, ...]  # mean average precision, at each of THRESHOLDS
    delay_ms: float  # median over the actions that were recognised, from their start to the first right answer
    found: float  # fraction of the actions that were
    cpu_ms: float  # of the process, a frame
    load: float  # fraction of a core at the recordings' frame rate


def score(streams: Sequence[Untrimmed], answers: Sequence[Answers], patience: float) -> Scores:
    """The figures; `patience` see `delays`."""
    truths = [stream.truth for stream in streams]
    detections = [found for answer in answers for found in answer.detections]
    waits = np.array(
        [
            wait
            for stream, answer in zip(streams, answers, strict=True)
            for wait in delays(stream, answer.at_once, patience)
        ]
    )
    came = waits[np.isfinite(waits)]
    lengths = np.array([len(truth) for truth in truths])
    cpu_ms = float(np.average([answer.cpu_ms for answer in answers], weights=lengths))
    return Scores(
        frame_accuracy(truths, [answer.at_once for answer in answers]),
        frame_accuracy(truths, [answer.afterwards for answer in answers]),
        tuple(mean_average_precision(streams, detections, threshold) for threshold in THRESHOLDS),
        1000 * float(np.median(came)) if len(came) else float("nan"),
        len(came) / len(waits) if len(waits) else float("nan"),
        cpu_ms,
        cpu_ms / 1000 * streams[0].rate,
    )


def table(rows: Mapping[str, Scores]) -> list[str]:
    """Lines to print, a row for each way of recognising."""
    cells = [
        [
            name,
            *(f"{100 * part:.1f}" for frames in (each.at_once, each.afterwards) for part in frames),
            *(f"{100 * part:.1f}" for part in each.precision),
            f"{each.delay_ms:.0f}",
            f"{100 * each.found:.1f}",
            f"{each.cpu_ms:.2f}",
            f"{100 * each.load:.1f}",
        ]
        for name, each in rows.items()
    ]
    return aligned(COLUMNS, cells).lines


def as_json(rows: Mapping[str, Scores]) -> dict[str, dict[str, Any]]:
    """Plain values; NaN as None."""

    def plain(value: Any) -> Any:
        if isinstance(value, Frames):
            return {name: plain(part) for name, part in value._asdict().items()}
        if isinstance(value, tuple):
            return {f"{threshold:g}": plain(part) for threshold, part in zip(THRESHOLDS, value, strict=True)}
        return None if np.isnan(value) else float(value)

    return {name: {field: plain(value) for field, value in each._asdict().items()} for name, each in rows.items()}
