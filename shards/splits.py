"""Splits of data sets as predicates over views. The data is packed once and read under each of them.

Every split names the training subjects that are held out for choosing hyper-parameters and epochs, so that the test
recordings are read once, at the end. The held-out subjects were fixed before any training, without looking at results:
the highest-numbered training subjects, as many as make about a tenth of the training recordings (a fifth in NW-UCLA),
in whose recordings every class occurs. NTU-120 was recorded with some people for its first 60 actions and with others
for the rest, so both give some; NW-UCLA's subject 5 is passed over because a third of their recordings is missing.

Views that repeat another view of their performance bit for bit never train: a multi-view pair of the two would show a
method the same recording twice as if it were two. As test recordings they stay, unless the split says otherwise,
because published figures contain them.

Other data sets declare splits of their own when they are packed: each is the split of its name, and its part "val"
is held out. Every data set has the split `all`, under which everything trains, and five random folds for every seed,
`random-fold-1-seed-0` and so on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bonestrap.options import did_you_mean
from shards.errors import DataError
from shards.index import Views

Predicate = Callable[[Views], np.ndarray]  # one bool a view
NAMED = 5  # classes that a sentence names


@dataclass(frozen=True)
class Side:
    """One side of a split: a predicate that says in messages what it is."""

    said: str
    rule: Predicate

    def __call__(self, views: Views) -> np.ndarray:
        return self.rule(views)


def said(select: Predicate | None) -> str:
    """What a predicate selects, as a message says it."""
    return select.said if isinstance(select, Side) else "the chosen split"


def nothing_left(folder: str, select: Predicate | None) -> DataError:
    """The error of a folder of which a predicate selects no recording."""
    return DataError(f"{folder}: {said(select)} leaves no recording; choose another split or other shards")


@dataclass(frozen=True, kw_only=True)
class Split:
    """One way to cut a data set. `train` and `test` never overlap; `held_out` is a part of `train`."""

    name: str
    description: str
    train: Predicate
    test: Predicate
    held_out: Predicate

    def __post_init__(self) -> None:
        for side, name in (("train", "training"), ("test", "test"), ("held_out", "held-out")):
            said = f"the {name} side of split {self.name}"
            object.__setattr__(self, side, Side(said, getattr(self, side)))

    def fit(self, views: Views) -> np.ndarray:
        """What trains while hyper-parameters are being chosen: training views of the subjects not held out."""
        return self.train(views) & ~self.held_out(views)


def _split(name: str, description: str, train: Predicate, test: Predicate, held_out: frozenset[int]) -> Split:
    def trains(views: Views) -> np.ndarray:
        return train(views) & ~views.copy

    return Split(
        name=name,
        description=description,
        train=trains,
        test=test,
        held_out=lambda views: trains(views) & np.isin(views.subject, list(held_out)),
    )


def _cameras(*cameras: int) -> Predicate:
    return lambda views: np.isin(views.camera, cameras)


def _subjects(subjects: frozenset[int]) -> Predicate:
    return lambda views: np.isin(views.subject, list(subjects))


def _other_subjects(subjects: frozenset[int]) -> Predicate:
    return lambda views: (views.subject >= 0) & ~np.isin(views.subject, list(subjects))


NTU60_SUBJECTS = frozenset((1, 2, 4, 5, 8, 9, *range(13, 20), 25, 27, 28, 31, 34, 35, 38))
NTU120_SUBJECTS = NTU60_SUBJECTS | frozenset(
    (45, 46, 47, 49, 50, *range(52, 60), 70, 74, 78, *range(80, 87), 89, *range(91, 96), 97, 98, 100, 103)
)
NTU60_HELD_OUT = frozenset((27, 28, 31, 34, 35, 38))
UCLA_SUBJECTS = frozenset(range(1, 6))

NW_UCLA = (
    _split(
        "cross-view",
        "train on cameras 2 and 3, test on camera 1: no recording is on both sides",
        _cameras(2, 3),
        _cameras(1),
        frozenset((9, 10)),
    ),
    _split(
        "cross-subject",
        "train on subjects 1 to 5, test on subjects 6 to 10",
        _subjects(UCLA_SUBJECTS),
        _other_subjects(UCLA_SUBJECTS),
        frozenset((4,)),
    ),
    _split(
        "cross-view-published",
        "train on cameras 1 and 2, test on camera 3, of which 95 recordings copy camera 2: for comparison only",
        _cameras(1, 2),
        _cameras(3),
        frozenset((9, 10)),
    ),
    _split(
        "cross-view-nodup",
        "train on cameras 1 and 2, test on camera 3 without its copies of camera 2, which leaves 8 of 10 classes",
        _cameras(1, 2),
        lambda views: (views.camera == 3) & ~views.copy,
        frozenset((9, 10)),
    ),
)
NTU60 = (
    _split(
        "cross-subject",
        "the 20 official training subjects against the other 20",
        _subjects(NTU60_SUBJECTS),
        _other_subjects(NTU60_SUBJECTS),
        NTU60_HELD_OUT,
    ),
    _split(
        "cross-view",
        "train on cameras 2 and 3, test on camera 1",
        _cameras(2, 3),
        _cameras(1),
        frozenset(range(31, 41)),
    ),
)
NTU120 = (
    _split(
        "cross-subject",
        "the 53 official training subjects against the other 53",
        _subjects(NTU120_SUBJECTS),
        _other_subjects(NTU120_SUBJECTS),
        NTU60_HELD_OUT | frozenset(range(89, 104)),
    ),
    _split(
        "cross-setup",
        "train on even setups, test on odd ones",
        lambda views: (views.setup >= 0) & (views.setup % 2 == 0),
        lambda views: (views.setup >= 0) & (views.setup % 2 == 1),
        frozenset((*range(33, 41), *range(93, 107))),
    ),
)
# Generated people, any number of them: four train, four test, and so on, so that every setup is on both sides. Of each
# four that train the last is held out.
SYNTHETIC_SUBJECTS = frozenset(subject for subject in range(1, 1000) if (subject - 1) // 4 % 2 == 0)
SYNTHETIC_HELD_OUT = frozenset(range(4, 1000, 8))
SYNTHETIC = (
    _split(
        "cross-subject",
        "train on subjects 1 to 4, 9 to 12, 17 to 20 ..., test on the others",
        _subjects(SYNTHETIC_SUBJECTS),
        _other_subjects(SYNTHETIC_SUBJECTS),
        SYNTHETIC_HELD_OUT,
    ),
    _split(
        "cross-view",
        "train on cameras 2 and 3, test on camera 1",
        _cameras(2, 3),
        _cameras(1),
        SYNTHETIC_HELD_OUT,
    ),
)

# Five folds of pairs (active and passive person), as published with the data set; see the source for the numbers.
SBU_FOLDS = (
    (102, 304, 502, 604),
    (203, 207, 305, 503),
    (103, 107, 701, 703),
    (201, 206, 302, 306),
    (402, 403, 406, 602, 603),
)
SBU = tuple(
    _split(
        f"fold-{number}",
        f"test on fold {number} of five, train on the others",
        _subjects(frozenset(pair for pairs in SBU_FOLDS if pairs != fold for pair in pairs)),
        _subjects(frozenset(fold)),
        frozenset(SBU_FOLDS[number % 5]),
    )
    for number, fold in enumerate(SBU_FOLDS, 1)
)

SPLITS: dict[str, dict[str, Split]] = {
    dataset: {split.name: split for split in splits}
    for dataset, splits in (
        ("nw-ucla", NW_UCLA),
        ("ntu60", NTU60),
        ("ntu120", NTU120),
        ("sbu", SBU),
        ("synthetic", SYNTHETIC),
    )
}


def labelled(select: Predicate) -> Predicate:
    """Those of the selected views whose label is known: what supervised learning and scores can use."""
    return Side(f"{said(select)}, of recordings with a label,", lambda views: select(views) & (views.label >= 0))


def untested(split: Split, views: Views) -> np.ndarray:
    """The classes of which a labelled recording trains and none tests, ascending; none where nothing tests."""
    tested = np.unique(views.label[labelled(split.test)(views)])
    if not len(tested):
        return tested
    return np.setdiff1d(views.label[labelled(split.train)(views)], tested)


def untested_said(part: str, absent: Sequence[str], classes: int) -> str:
    """That a part of a split has no recording of some classes, in words."""
    named = ", ".join(absent[:NAMED]) + (f" and {len(absent) - NAMED:,} more" if len(absent) > NAMED else "")
    return f"no {part} recording of {len(absent):,} of {classes:,} classes: {named}"


ALL = Split(
    name="all",
    description="everything trains, copies excepted; nothing is left to test",
    train=lambda views: ~views.copy,
    test=lambda views: np.zeros(views.size, dtype=bool),
    held_out=lambda views: views.splits.contains("split/val") & ~views.copy,
)


FOLD = re.compile(r"random-fold-([1-5])(?:-seed-(\d{1,9}))?")


def random_fold(name: str, fold: int, seed: int) -> Split:
    """One of five random folds tests, the next one is held out, and four train.

    A performance is in one fold with all its cameras. Which one follows from its key and the seed alone, so folds are
    of about the same size, and the same however the recordings are packed.
    """

    def folds(views: Views) -> np.ndarray:
        digests = (hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8] for key in views.key)
        return np.array([int.from_bytes(digest, "big") % 5 + 1 for digest in digests], dtype=np.int64)

    return Split(
        name=name,
        description=f"test on random fold {fold} of five (seed {seed}), train on the others",
        train=lambda views: (folds(views) != fold) & ~views.copy,
        test=lambda views: folds(views) == fold,
        held_out=lambda views: (folds(views) == fold % 5 + 1) & ~views.copy,
    )


def declared(dataset: str, name: str) -> Split:
    """The split of a split that the recordings declare. Its predicates raise DataError where they declare none."""

    def part(views: Views, which: str) -> np.ndarray:
        if name not in views.splits.names:
            there = ", ".join(sorted(views.splits.names)) or "none"
            raise DataError(f"{dataset} has no split {name}; its recordings declare {there}, and there is all")
        return views.splits.contains(f"{name}/{which}")

    return Split(
        name=name,
        description=f"the split {name} that the recordings declare",
        train=lambda views: (part(views, "train") | part(views, "val")) & ~views.copy,
        test=lambda views: part(views, "test"),
        held_out=lambda views: part(views, "val") & ~views.copy,
    )


def find(dataset: str, name: str) -> Split:
    """The split of this name for this data set; DataError listing the known ones otherwise.

    A data set that is not built in may declare any: what it does not declare is refused when its views are selected.
    """
    if name == ALL.name:
        return ALL
    if match := FOLD.fullmatch(name):
        return random_fold(name, int(match[1]), int(match[2] or 0))
    known = SPLITS.get(dataset)
    if known is None:
        return declared(dataset, name)
    if name not in known:
        meant = did_you_mean(name, known)
        raise DataError(f"{dataset} has no split {name}{meant}; there is {', '.join(known)}, all")
    return known[name]
