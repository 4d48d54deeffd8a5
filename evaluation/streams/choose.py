"""Settings of a recogniser, chosen on streams of held-out training subjects.

The network looks at every window once for each length; what comes after it is tried on its answers. A threshold is set
so that a given fraction of the windows that show nothing reach it, and the settings with the best mean of frame
accuracy and mean average precision at an intersection over union of .5 are kept.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from bonestrap.model import Model
from bonestrap.stream.config import StreamConfig
from bonestrap.stream.decision import Decider, fit_threshold
from evaluation.streams.answers import Answers, Window, decide, windows
from evaluation.streams.metrics import frame_accuracy, mean_average_precision
from evaluation.streams.untrimmed import NOTHING, Untrimmed

SCORES: tuple[Literal["probability", "energy"], ...] = ("probability", "energy")
SMOOTHING = (0.0, 0.2, 0.4)  # seconds
START_AFTER = (1, 2)
LAGS = (0.35, 0.5, 0.65)  # of a window
MORE = 2  # times the false alarms at the threshold are those at which an action is over
CHOOSING_IOU = 0.5


class Candidate(NamedTuple):
    """Settings, and what they reach on the held-out streams."""

    config: StreamConfig
    false_alarms: float
    accuracy: float  # of frames
    precision: float  # mean average precision

    @property
    def mean(self) -> float:
        return (self.accuracy + self.precision) / 2


def choose(
    model: Model,
    streams: Sequence[Untrimmed],
    base: StreamConfig,
    lengths: Sequence[float],
    false_alarms: Sequence[float],
    report: Callable[[str], None],
) -> Candidate:
    """The best candidate; of equals the first. Raises ValueError where no stream shows nothing, or an action."""
    best: Candidate | None = None
    for seconds in lengths:
        config = dataclasses.replace(base, window=seconds)
        seen = [windows(model, config, stream) for stream in streams]
        found = [one for each in candidates(config) for one in scored(each, false_alarms, seen, streams)]
        top = max(found, key=lambda candidate: candidate.mean)
        report(f"window {seconds:g} s: frame accuracy {top.accuracy:.1%}, mAP at {CHOOSING_IOU} {top.precision:.1%}")
        if best is None or top.mean > best.mean:
            best = top
    assert best is not None
    return best


def candidates(config: StreamConfig) -> list[StreamConfig]:
    """The settings that are tried with one window, without their thresholds."""
    return [
        dataclasses.replace(config, score=score, smoothing=smoothing, start_after=after, lag=lag * config.window)
        for score, smoothing, after, lag in itertools.product(SCORES, SMOOTHING, START_AFTER, LAGS)
    ]


def scored(
    config: StreamConfig, false_alarms: Sequence[float], seen: Sequence[Sequence[Window]], streams: Sequence[Untrimmed]
) -> list[Candidate]:
    """Settings with the threshold that each rate of false alarms asks for, and what they reach."""
    scores, out = nothing_scores(config, seen, streams), []
    for alarms in false_alarms:
        threshold = fit_threshold(scores, alarms)
        release = min(threshold, fit_threshold(scores, min(1.0, MORE * alarms)))
        tried = dataclasses.replace(config, threshold=threshold, release=release)
        answers = [decide(tried, each, number, streams[number]) for number, each in enumerate(seen)]
        out.append(Candidate(tried, alarms, *reached(answers, streams)))
    return out


def reached(answers: Sequence[Answers], streams: Sequence[Untrimmed]) -> tuple[float, float]:
    """Frame accuracy and mean average precision."""
    accuracy = frame_accuracy([stream.truth for stream in streams], [answer.afterwards for answer in answers]).all
    detections = [found for answer in answers for found in answer.detections]
    return accuracy, mean_average_precision(streams, detections, CHOOSING_IOU)


def nothing_scores(config: StreamConfig, seen: Sequence[Sequence[Window]], streams: Sequence[Untrimmed]) -> np.ndarray:
    """The scores of the windows that are about a frame which shows nothing."""
    never = dataclasses.replace(config, threshold=1e6, release=1e6)
    out = []
    for stream, each in zip(streams, seen, strict=True):
        decider, truth = Decider(never), stream.truth
        for window in each:
            score = decider.update(window.time, window.logits).score
            frame = round((window.time - config.behind) * stream.rate)
            if 0 <= frame < len(truth) and truth[frame] == NOTHING:
                out.append(score)
    return np.array(out)
