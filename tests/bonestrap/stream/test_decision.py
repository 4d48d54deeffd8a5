"""Answers of windows to actions: averages, a threshold with hysteresis, and times."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from bonestrap.stream.config import FILE, StreamConfig, read, write
from bonestrap.stream.decision import Decider, Event, fit_threshold

PLAIN = StreamConfig(window=1.0, smoothing=0.0, threshold=0.6, release=0.5, start_after=2, end_after=2, lag=0.5)


def logits(best: int, probability: float) -> np.ndarray:
    """Of three classes, one with this probability and two that share the rest."""
    out = np.full(3, math.log((1 - probability) / 2))
    out[best] = math.log(probability)
    return out


def events(config: StreamConfig, said: list[tuple[int, float]]) -> list[Event]:
    decider = Decider(config, "p")
    found = [event for step, each in enumerate(said) for event in decider.update(step / 10, logits(*each)).events]
    return [*found, *decider.absent(len(said) / 10)]


def times(found: list[Event]) -> list[tuple[str, int, float, float, float | None]]:
    return [
        (e.kind, e.action, round(e.time, 6), round(e.start, 6), None if e.end is None else round(e.end, 6))
        for e in found
    ]


def test_an_action_begins_above_the_threshold_and_ends_below_the_release() -> None:
    said = [(0, 0.55), (0, 0.9), (1, 0.9), (1, 0.9), (1, 0.55), (1, 0.52), (1, 0.45), (1, 0.9), (1, 0.4), (1, 0.4)]
    found = events(PLAIN, said)
    # One answer for 0 is not enough; .55 keeps 1 going and one .45 does not end it; two below the release do.
    assert times(found) == [("start", 1, 0.3, -0.3, None), ("end", 1, 0.9, -0.3, 0.2)]
    assert found[0].probability == pytest.approx(0.9)
    assert found[1].probability == pytest.approx(np.mean([0.9, 0.9, 0.55, 0.52, 0.9]))


def test_another_action_takes_over() -> None:
    found = events(PLAIN, [(0, 0.8), (0, 0.8), (0, 0.8), (2, 0.8), (2, 0.8), (2, 0.8)])
    assert times(found) == [
        ("start", 0, 0.1, -0.5, None),
        ("end", 0, 0.4, -0.5, -0.3),
        ("start", 2, 0.4, -0.2, None),
        ("end", 2, 0.6, -0.2, 0.0),
    ]


def test_no_action_begins_before_its_person_came() -> None:
    decider = Decider(PLAIN, appeared=0.05)
    found = [event for step in range(4) for event in decider.update(step / 10, logits(1, 0.9)).events]
    assert times(found) == [("start", 1, 0.1, 0.05, None)]


def test_doubt_is_nothing() -> None:
    assert not events(PLAIN, [(0, 0.59)] * 20)


def test_probabilities_and_energy_are_averaged_over_time() -> None:
    """Against a float64 loop over windows at uneven times."""
    random = np.random.default_rng(0)
    rows, gaps = random.normal(0, 3, (30, 4)), random.uniform(0.05, 0.3, 30)
    for score in ("probability", "energy"):
        config = dataclasses.replace(PLAIN, smoothing=0.4, score=score, threshold=1e6, release=0.0)
        decider, time, average, energy = Decider(config), 0.0, np.zeros(4), 0.0
        for number, (row, gap) in enumerate(zip(rows, gaps, strict=True)):
            time += gap
            decision = decider.update(time, row)
            odds = [math.exp(x) for x in row]
            now = np.array(odds) / sum(odds)
            keep = math.exp(-gap / 0.4) if number else 0.0
            average = keep * average + (1 - keep) * now
            energy = keep * energy + (1 - keep) * math.log(sum(odds))
            np.testing.assert_allclose(decision.probabilities, average, rtol=1e-9)
            assert decision.score == pytest.approx(max(average) if score == "probability" else energy)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.1, 0.37, 1.0])
def test_a_threshold_lets_no_more_pass_than_asked(rate: float) -> None:
    scores = np.random.default_rng(0).normal(size=200).round(1)  # with ties
    threshold = fit_threshold(scores, rate)
    assert np.mean(scores >= threshold) <= rate
    lower = [other for other in np.unique(scores) if other < threshold]
    assert not lower or np.mean(scores >= lower[-1]) > rate  # the next score as a threshold would let more pass
    with pytest.raises(ValueError, match="shows nothing"):
        fit_threshold(np.array([]), 0.1)


def test_settings_come_back_from_their_file(tmp_path: Path) -> None:
    config = dataclasses.replace(PLAIN, score="energy", threshold=3.25, release=-1.5, lag=None, persons="together")
    assert read(write(tmp_path, config, {"seed": 0})) == config
    for text, said in (
        ('{"format": 2}', "another version"),
        ('{"format": 1, "windows": 2}', "unknown setting 'windows'; did you mean window"),
        ('{"format": 1, "window": 0}', "window must lie in"),
        ('{"format": 1, "window": 0.01}', "window must hold from 2"),
        ('{"format": 1, "score": "margin"}', "probability or energy"),
        ('{"format": 1, "threshold": 0.1}', "release must be at most"),
    ):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(ValueError, match=said):
            read(tmp_path / FILE)
