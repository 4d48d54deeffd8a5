"""What holds for every protocol: sides that never meet, and held-out recordings that are training recordings."""

from __future__ import annotations

import dataclasses
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from shards.columns import Strings
from shards.errors import DataError
from shards.index import Splits, Views
from shards.reader import Resident
from shards.splits import SBU_FOLDS, SPLITS, Split, find, labelled, untested

EVERY = [(dataset, name) for dataset, protocols in SPLITS.items() for name in protocols]
PEOPLE = (*range(1, 110), *(pair for fold in SBU_FOLDS for pair in fold))
SUBJECT, CAMERA, SETUP, COPY = np.array([*product([-1, *PEOPLE], [-1, 1, 2, 3], [-1, *range(1, 33)], [0, 1])]).T
KNOWN = np.ones_like(SUBJECT)
NONE = Splits.of([""] * len(KNOWN))
VIEWS = Views(0 * KNOWN, SUBJECT, CAMERA, SETUP, KNOWN, COPY == 1, Strings.of(["key"] * len(KNOWN)), NONE)


@pytest.mark.parametrize(("dataset", "name"), EVERY)
def test_no_view_is_on_both_sides(dataset: str, name: str) -> None:
    rule = find(dataset, name)
    train, test, held_out, fit = (part(VIEWS) for part in (rule.train, rule.test, rule.held_out, rule.fit))
    assert {part.dtype for part in (train, test, held_out, fit)} == {np.dtype(bool)}
    assert not (train & test).any() and not (train & VIEWS.copy).any() and not (held_out & ~train).any()
    np.testing.assert_array_equal(fit, train & ~held_out)
    assert held_out.any() and fit.any() and test.any()


@pytest.mark.parametrize(("dataset", "name"), EVERY)
def test_a_view_is_judged_alone(dataset: str, name: str) -> None:
    """By its own facts, whatever stands beside it: some of the views give the same answers as all of them."""
    rule, some = find(dataset, name), np.random.default_rng(0).permutation(VIEWS.size)[:50]
    for part in (rule.train, rule.test, rule.held_out, rule.fit):
        np.testing.assert_array_equal(part(VIEWS.take(some)), part(VIEWS)[some])


@pytest.mark.parametrize(("dataset", "name"), EVERY)
def test_what_decides_must_be_known(dataset: str, name: str) -> None:
    rule = find(dataset, name)
    nothing = Views(*(np.full_like(KNOWN, -1),) * 5, COPY == 1, VIEWS.key, NONE)
    assert not rule.train(nothing).any() and not rule.test(nothing).any()


@pytest.mark.parametrize(("dataset", "name"), EVERY)
def test_held_out_people_do_not_fit(dataset: str, name: str) -> None:
    rule = find(dataset, name)
    assert set(SUBJECT[rule.held_out(VIEWS)]).isdisjoint(SUBJECT[rule.fit(VIEWS)])


def test_random_folds() -> None:
    """Five folds of about the same size that share no performance; another seed deals anew; cameras stay together."""
    keys = [f"recording {number // 3}" for number in range(3000)]
    views = VIEWS.take(np.zeros(3000, np.int64))._replace(key=Strings.of(keys), copy=np.arange(3000) % 7 == 0)
    folds = [find("any", f"random-fold-{fold}-seed-1") for fold in range(1, 6)]
    tests = np.array([fold.test(views) for fold in folds])
    assert (tests.sum(0) == 1).all() and (np.abs(tests.sum(1) - 600) < 120).all()
    assert (tests[:, ::3] == tests[:, 1::3]).all()
    for number, fold in enumerate(folds):
        np.testing.assert_array_equal(fold.train(views), ~tests[number] & ~views.copy)
        np.testing.assert_array_equal(fold.held_out(views), tests[(number + 1) % 5] & ~views.copy)
    some = np.random.default_rng(0).permutation(3000)[:50]
    np.testing.assert_array_equal(folds[0].test(views.take(some)), tests[0][some])
    assert (find("any", "random-fold-1").test(views) != tests[0]).any()
    with pytest.raises(DataError, match="has no split random-fold-6"):
        find("nw-ucla", "random-fold-6")


def test_classes_that_train_and_are_never_tested() -> None:
    """Class 1 is done by a training subject alone, class 2 by both sides, and class 3 by a test subject alone."""
    rows = np.array([(1, 1), (1, 2), (6, 2), (6, 3), (2, -1)])
    views = VIEWS.take(np.arange(len(rows)))._replace(subject=rows[:, 0], label=rows[:, 1], copy=np.zeros(5, bool))
    assert untested(find("nw-ucla", "cross-subject"), views).tolist() == [1]
    assert untested(find("nw-ucla", "all"), views).tolist() == []  # nothing is meant to be tested


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(DataError, match="nw-ucla has no split cross-veiw; did you mean cross-view"):
        find("nw-ucla", "cross-veiw")
    with pytest.raises(DataError, match="mine has no split cross-view; its recordings declare none, and there is all"):
        find("mine", "cross-view").train(VIEWS)


def test_a_side_without_recordings_is_named(folder: Path) -> None:
    nothing = dataclasses.replace(find("people", "all"), name="mine", test=lambda views: views.subject < 0)
    for select, said in (
        (nothing.test, "the test side of split mine leaves no recording; choose another split"),
        (labelled(nothing.test), "the test side of split mine, of recordings with a label, leaves no recording"),
        (find("people", "all").test, "the test side of split all leaves no recording"),
    ):
        with pytest.raises(DataError, match=said):
            Resident.load(folder, select=select)


def test_declared_splits_are_splits() -> None:
    sets = ["split/train", "split/val", "split/test fold2/train", "fold2/test", "", "split/train"]
    n = np.arange(len(sets))
    views = Views(n, n, n, n, n, n == 5, Strings.of(map(str, n)), Splits.of(sets))
    for name, train, test, held_out in (
        ("split", [0, 1], [2], [1]),
        ("fold2", [2], [3], []),
        ("all", [0, 1, 2, 3, 4], [], [1]),
    ):
        rule = find("mine", name)
        found = [np.flatnonzero(part(views)).tolist() for part in (rule.train, rule.test, rule.held_out, rule.fit)]
        assert found == [train, test, held_out, [row for row in train if row not in held_out]]
    with pytest.raises(DataError, match="mine has no split fold3; its recordings declare fold2, split, and there is"):
        find("mine", "fold3").test(views)


@pytest.fixture(scope="module")
def recordings(ucla: Path) -> Resident:
    return Resident.load(ucla)


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("cross-view", 1484 - 516 - 95, 516),
        ("cross-view-published", 1020, 464),
        ("cross-view-nodup", 1020, 369),
        ("cross-subject", 703, 730),
    ],
)
def test_nw_ucla_counts(recordings: Resident, name: str, train: int, test: int) -> None:
    rule: Split = find("nw-ucla", name)
    assert (len(recordings.keep(rule.train)), len(recordings.keep(rule.test))) == (train, test)
    for part in (rule.held_out, rule.fit, rule.test):
        # Camera 3 has nothing but copies of two classes.
        missing = {1, 2} if name == "cross-view-nodup" and part is rule.test else set()
        assert set(recordings.keep(part).performance_label) == set(range(10)) - missing


def test_honest_nw_ucla_protocols_share_no_recording(recordings: Resident) -> None:
    for name in ("cross-view", "cross-subject", "cross-view-nodup"):
        rule = find("nw-ucla", name)
        train, test = (np.flatnonzero(part(recordings.views)) for part in (rule.train, rule.test))
        seen = {bytes_of(recordings, int(view)) for view in train}
        assert not any(bytes_of(recordings, int(view)) in seen for view in test)


def bytes_of(data: Resident, view: int) -> bytes:
    start = data.view_start[view]
    return data.frames[start : start + data.view_length[view] * data.view_bodies[view]].numpy().tobytes()
