"""What holds for every protocol: sides that never meet, and held-out recordings that are training recordings."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from shards.errors import DataError
from shards.index import ViewInfo
from shards.reader import Resident
from shards.splits import PROTOCOLS, Protocol, protocol

EVERY = [(dataset, name) for dataset, protocols in PROTOCOLS.items() for name in protocols]
VIEWS = [
    ViewInfo("key", 0, subject, camera, setup, 1, copy)
    for subject, camera, setup, copy in product(
        [None, *range(1, 110)], [None, 1, 2, 3], [None, *range(1, 33)], [False, True]
    )
]


@pytest.mark.parametrize(("dataset", "name"), EVERY)
def test_no_view_is_on_both_sides(dataset: str, name: str) -> None:
    rule = protocol(dataset, name)
    for view in VIEWS:
        assert not (rule.train(view) and rule.test(view)), view
        assert not (rule.train(view) and view.copy), view
        assert not rule.held_out(view) or rule.train(view), view
        assert rule.fit(view) == (rule.train(view) and not rule.held_out(view)), view
    assert any(map(rule.held_out, VIEWS)) and any(map(rule.fit, VIEWS)) and any(map(rule.test, VIEWS))


@pytest.mark.parametrize(("dataset", "name"), EVERY)
def test_held_out_people_do_not_fit(dataset: str, name: str) -> None:
    rule = protocol(dataset, name)
    held_out = {view.subject for view in VIEWS if rule.held_out(view)}
    assert held_out.isdisjoint(view.subject for view in VIEWS if rule.fit(view))


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(DataError, match="nw-ucla has no protocol cross-veiw; did you mean cross-view"):
        protocol("nw-ucla", "cross-veiw")
    with pytest.raises(DataError, match="no protocol is known for the data set mine"):
        protocol("mine", "cross-view")


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
    rule: Protocol = protocol("nw-ucla", name)
    assert (len(recordings.keep(rule.train)), len(recordings.keep(rule.test))) == (train, test)
    for part in (rule.held_out, rule.fit, rule.test):
        # Camera 3 has nothing but copies of two classes.
        missing = {1, 2} if name == "cross-view-nodup" and part is rule.test else set()
        assert set(recordings.keep(part).performance_label) == set(range(10)) - missing


def test_honest_nw_ucla_protocols_share_no_recording(recordings: Resident) -> None:
    every = [(view, recordings.info(view)) for view in range(len(recordings))]
    for name in ("cross-view", "cross-subject", "cross-view-nodup"):
        rule = protocol("nw-ucla", name)
        seen = {bytes_of(recordings, view) for view, info in every if rule.train(info)}
        assert not any(bytes_of(recordings, view) in seen for view, info in every if rule.test(info))


def bytes_of(data: Resident, view: int) -> bytes:
    start = data.view_start[view]
    return data.frames[start : start + data.view_length[view] * data.view_bodies[view]].numpy().tobytes()
