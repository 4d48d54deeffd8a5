"""Figures of untrimmed recordings against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evaluation.streams.metrics import Detection, delays, frame_accuracy, mean_average_precision
from evaluation.streams.untrimmed import NOTHING, Segment, Untrimmed

RATE = 10.0


def stream(name: str, frames: int, *segments: tuple[int, int, int]) -> Untrimmed:
    return Untrimmed(name, np.zeros((frames, 1, 1, 1), np.float32), RATE, [Segment(*each) for each in segments])


def random_streams(seed: int) -> tuple[list[Untrimmed], list[Detection]]:
    """Random actions of three classes, and detections near them or anywhere, some of them twice."""
    random = np.random.default_rng(seed)
    streams, found = [], []
    for number in range(6):
        first, segments = 0, []
        for _ in range(5):
            first += int(random.integers(0, 20))
            end = first + int(random.integers(5, 40))
            label = int(random.integers(3))
            segments.append((first, end, label))
            for _ in range(int(random.integers(0, 3))):
                start, stop = (np.array([first, end]) + random.normal(0, 6, 2)) / RATE
                guess = label if random.random() < 0.8 else int(random.integers(3))
                found.append(Detection(number, guess, start, max(start + 0.1, stop), float(random.random())))
            first = end
        streams.append(stream(f"s{number}", first, *segments))
    return streams, found


def plain_map(streams: list[Untrimmed], found: list[Detection], threshold: float) -> float:
    """Precision at every rank, from the beginning each time; the area under its upper envelope over recall."""
    values = []
    for label in {segment.label for each in streams for segment in each.segments}:
        ranked = sorted((d for d in found if d.label == label), key=lambda d: d.score, reverse=True)
        wanted = [
            (n, s.first / RATE, s.end / RATE)
            for n, each in enumerate(streams)
            for s in each.segments
            if s.label == label
        ]
        used: list[int] = []
        precisions, recalls, hits = [], [], 0
        for rank, d in enumerate(ranked, 1):
            best, which = 0.0, None
            for index, (n, start, end) in enumerate(wanted):
                if n != d.stream:
                    continue
                inner = max(0.0, min(end, d.end) - max(start, d.start))
                outer = (end - start) + (d.end - d.start) - inner
                if inner / outer > best:
                    best, which = inner / outer, index
            if which is not None and best >= threshold and which not in used:
                used.append(which)
                hits += 1
            precisions.append(hits / rank)
            recalls.append(hits / len(wanted))
        area, before = 0.0, 0.0
        for index, recall in enumerate(recalls):
            area += (recall - before) * max(precisions[index:])
            before = recall
        values.append(area)
    return sum(values) / len(values)


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5])
def test_mean_average_precision_is_that_of_a_plain_loop(threshold: float) -> None:
    for seed in range(5):
        streams, found = random_streams(seed)
        ours = mean_average_precision(streams, found, threshold)
        assert ours == pytest.approx(plain_map(streams, found, threshold), abs=1e-12)
        assert 0.05 < ours < 0.95


def test_of_two_detections_of_one_action_one_is_wrong() -> None:
    streams = [stream("a", 20, (0, 10, 0), (10, 20, 0)), stream("b", 10, (0, 10, 1))]
    found = [Detection(0, 0, 0.0, 1.0, 0.9), Detection(0, 0, 0.1, 1.0, 0.8), Detection(0, 0, 1.0, 2.0, 0.7)]
    # Of class 0: right, wrong, right: 1/2 * 1 + 1/2 * 2/3; of class 1 nothing was found.
    assert mean_average_precision(streams, found, 0.5) == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert mean_average_precision(streams, [], 0.5) == 0.0
    with pytest.raises(ValueError, match="not defined"):
        mean_average_precision([stream("c", 10)], found, 0.5)


def test_frames_are_counted_with_nothing_as_an_answer() -> None:
    truth = stream("a", 10, (0, 4, 2), (6, 8, 0)).truth
    assert truth.tolist() == [2, 2, 2, 2, NOTHING, NOTHING, 0, 0, NOTHING, NOTHING]
    answer = np.array([2, 2, 1, NOTHING, NOTHING, 0, 0, 0, NOTHING, NOTHING])
    assert frame_accuracy([truth], [answer]) == (0.7, 4 / 6, 3 / 4)


def test_delay_is_from_the_start_to_the_first_right_answer() -> None:
    one = stream("a", 40, (2, 10, 0), (12, 20, 1), (22, 30, 0), (33, 36, 1))
    answers = np.full(40, NOTHING)
    answers[5:9] = 0  # .3 s late
    answers[12:14], answers[21:24] = 0, 1  # after the end, within patience
    answers[38:] = 1
    assert delays(one, answers, patience=0.3) == [pytest.approx(0.3), pytest.approx(0.9), math.inf, pytest.approx(0.5)]
    assert delays(one, answers, patience=0.0) == [pytest.approx(0.3), math.inf, math.inf, math.inf]
