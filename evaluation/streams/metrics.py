"""How good answers about untrimmed recordings are: frames, actions with their borders, and delay.

Mean average precision is that of temporal action detection (Heilbron et al., 2015, ActivityNet; Liu et al., 2017,
PKU-MMD, arXiv:1703.07475, section 4): the detections of a class, of all recordings, by descending score; each one takes
the action of its class and recording that it overlaps most, and is right where the intersection over union reaches the
threshold and no detection before it has taken that action. The precision is interpolated: at each recall the best at
that recall or a higher one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evaluation.streams.untrimmed import NOTHING, Untrimmed

THRESHOLDS = (0.1, 0.3, 0.5)  # of the temporal intersection over union


class Detection(NamedTuple):
    """An action that was recognised. Times in seconds."""

    stream: int
    label: int
    start: float
    end: float
    score: float


class Frames(NamedTuple):
    """Fractions of frames whose answer is right."""

    all: float
    action: float  # of those that show an action
    nothing: float  # of those that do not; NaN where every frame shows one


def frame_accuracy(truths: Sequence[np.ndarray], answers: Sequence[np.ndarray]) -> Frames:
    """Over all frames of all recordings; each of `truths` and `answers` is (T,)."""
    truth, answer = np.concatenate(truths), np.concatenate(answers)
    right, shows = truth == answer, truth != NOTHING
    parts = (right[part].mean() if part.any() else np.nan for part in (shows | True, shows, ~shows))
    return Frames(*(float(part) for part in parts))


def mean_average_precision(streams: Sequence[Untrimmed], detections: Sequence[Detection], threshold: float) -> float:
    """Over the classes that occur. Raises ValueError where none does."""
    actions: dict[int, list[tuple[int, float, float]]] = {}
    for number, stream in enumerate(streams):
        for first, end, label in stream.segments:
            actions.setdefault(label, []).append((number, first / stream.rate, end / stream.rate))
    if not actions:
        raise ValueError("no recording holds an action that the model knows: average precision is not defined")
    each = [
        average_precision(wanted, [found for found in detections if found.label == label], threshold)
        for label, wanted in actions.items()
    ]
    return float(np.mean(each))


def average_precision(
    wanted: Sequence[tuple[int, float, float]], found: Sequence[Detection], threshold: float
) -> float:
    """Of one class: `wanted` are its actions, (recording, start, end)."""
    order = sorted(found, key=lambda detection: -detection.score)
    taken, right = set(), np.zeros(len(order))
    for rank, detection in enumerate(order):
        overlaps = [
            (overlap(detection.start, detection.end, start, end), place)
            for place, (stream, start, end) in enumerate(wanted)
            if stream == detection.stream
        ]
        best, place = max(overlaps, default=(0.0, -1))
        if best >= threshold and best > 0 and place not in taken:
            taken.add(place)
            right[rank] = 1
    hits = right.cumsum()
    precision = hits / np.arange(1, len(order) + 1)
    best_after = np.maximum.accumulate(precision[::-1])[::-1]
    return float((best_after * right).sum() / len(wanted))


def overlap(start: float, end: float, other_start: float, other_end: float) -> float:
    """Intersection over union of two spans of time."""
    inner = min(end, other_end) - max(start, other_start)
    union = max(end, other_end) - min(start, other_start)
    return max(0.0, inner) / union if union > 0 else 0.0


def delays(stream: Untrimmed, answers: np.ndarray, patience: float) -> list[float]:
    """Of each action the seconds from its start to the first frame with the right answer; inf where there is none.

    An answer counts until `patience` seconds after the action's end, or until the next action of its class.
    """
    out = []
    for first, end, label in stream.segments:
        last = end + round(patience * stream.rate)
        same = [other.first for other in stream.segments if other.label == label and other.first >= end]
        right = np.flatnonzero(answers[first : min([last, *same])] == label)
        out.append(right[0] / stream.rate if len(right) else np.inf)
    return out
