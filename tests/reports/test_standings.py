"""Which models are level: against a paired bootstrap as a plain loop, and in the words of the page."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bonestrap.protocols.bootstrap import Bootstrap
from evaluation.predictions import Prediction, Predictions
from reports import summaries
from reports.figures import Confusion
from reports.mistakes import frequent
from reports.standings import Standing, standings

CLASSES = 4


def predicted(accuracies: tuple[float, ...], people: int = 12, each: int = 30) -> Predictions:
    """Models that are right on nested recordings: what a worse one recognises, a better one does too."""
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(people), each)
    truth = rng.integers(0, CLASSES, len(owner))
    hard = rng.uniform(size=len(owner)) + rng.normal(0, 0.1, people)[owner]
    order = hard.argsort().argsort() / len(hard)
    made = [np.where(order < share, truth, (truth + 1) % CLASSES) for share in accuracies]
    views = SimpleNamespace(subject=owner, key=[f"{row}" for row in range(len(owner))])
    found = tuple(Prediction(features=torch.zeros(len(owner), 1), predicted=torch.from_numpy(one)) for one in made)
    return Predictions(data=SimpleNamespace(views=views), truth=truth, each=found)  # type: ignore[arg-type]


def records(predictions: Predictions, *, classify: bool = True) -> list[Any]:
    """Stand-ins with what a comparison reads of a run; their intervals are ten points to either side."""
    out = []
    for number, one in enumerate(predictions.each):
        assert one.predicted is not None
        accuracy = float((one.predicted.numpy() == predictions.truth).mean())
        measured = SimpleNamespace(
            accuracy=accuracy, low=accuracy - 0.1, high=accuracy + 0.1, reach=accuracy + 0.1, bootstrap=None
        )
        shown = SimpleNamespace(name="test" if classify else "linear", model=measured, missed=[], floors={})
        out.append(
            SimpleNamespace(
                name="abc"[number], classifies=classify, shown=shown, parameters=1000 - number, latency_ms=None
            )
        )
    return out


def test_a_difference_is_that_of_a_plain_paired_bootstrap() -> None:
    predictions = predicted((0.6, 0.5))
    found = predictions.difference(0, 1)
    assert found is not None
    gap, interval = found
    assert interval is not None
    right = [one.predicted.numpy() == predictions.truth for one in predictions.each if one.predicted is not None]
    owner, rng, means = predictions.data.views.subject, np.random.default_rng(1), []
    for _ in range(2000):
        rows = np.concatenate([np.flatnonzero(owner == person) for person in rng.integers(0, 12, 12)])
        means.append(right[0][rows].mean() - right[1][rows].mean())
    low, high = np.quantile(means, (0.025, 0.975))
    assert gap == pytest.approx(0.1) and (interval.unit, interval.units) == ("subjects", 12)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.006)


def test_pairing_tells_apart_what_single_intervals_do_not() -> None:
    predictions = predicted((0.6, 0.5))
    best, other = standings(records(predictions), predictions)
    assert best.record.name == "a" and best.record.shown.model.low < other.record.shown.model.high
    assert not other.level and other.paired is not None and other.gap == pytest.approx(0.1)
    assert summaries.headline([best, other]) == "a is the most accurate of 2 models: 60.0%."


def test_level_models_are_called_equal_and_the_smallest_is_named() -> None:
    predictions = predicted((0.5, 0.5, 0.2))
    truth, swapped = torch.from_numpy(predictions.truth), predictions.each[1].predicted
    assert swapped is not None
    half = len(truth) // 2  # the second model is right where the first is wrong, in half of the recordings
    swapped[:half] = torch.where(swapped[:half] == truth[:half], (truth[:half] + 1) % CLASSES, truth[:half])
    found = standings(records(predictions), predictions)
    level = [one.record.name for one in found if one.level]
    assert sorted(level) == ["a", "b"] and found[2].record.name == "c"
    assert "are equal within the 95 % interval" in summaries.headline(found)
    said = summaries.choice(records(predictions), found)
    assert "b is the smallest of the equal ones: 999 parameters" in said
    assert "paired bootstrap over 12 subjects" in said and "c is not: 35.6 points below the most accurate" in said


def test_encoders_are_compared_by_their_stored_intervals() -> None:
    predictions = predicted((0.5, 0.45, 0.2))
    without = Predictions(
        data=predictions.data,
        truth=predictions.truth,
        each=tuple(Prediction(features=one.features) for one in predictions.each),
    )
    found = standings(records(predictions, classify=False), without)
    assert [one.level for one in found] == [True, True, False] and found[1].how == "Wilson interval"


def test_a_gap_is_written_from_below() -> None:
    one: Any = SimpleNamespace(name="b")
    paired = Bootstrap(low=-0.012, high=0.05, unit="subjects", units=9)
    assert summaries.gap(Standing(record=one, gap=0.02, paired=paired, level=True)) == "−2.0 (−5.0 to +1.2)"
    assert summaries.signed(-0.0004) == "0.0"


def test_the_most_frequent_errors_have_recordings_to_show() -> None:
    truth, made = np.array([0, 0, 0, 1, 1, 2, 2]), np.array([1, 1, 0, 1, 2, 0, 2])
    found = frequent(Confusion.from_labels(truth, made, ("a", "b", "c")), truth, made)
    first = found[0].error
    assert (first.names, first.count, first.of) == (("a", "b"), 2, 3)
    for one in found:
        assert truth[one.row] == one.error.true and made[one.row] == one.error.predicted
        assert one.beside is not None and truth[one.beside] == made[one.beside] == one.error.predicted
    never = frequent(Confusion.from_labels(truth[:3], made[:3], ("a", "b", "c")), truth[:3], made[:3])
    assert [one.beside for one in never] == [None], "nothing of the other class among the test recordings"
