"""Splits that sources declare: what names mean, that nobody is on both sides, and that every part has recordings."""

from __future__ import annotations

import pytest

from shards.errors import DataError
from shards.sources import declare


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("train", ("split", "train")),
        ("val", ("split", "val")),
        ("xsub_train", ("xsub", "train")),
        ("xview_val", ("xview", "val")),
        ("test1", ("split1", "test")),
        ("train3", ("split3", "train")),
        ("fold-2_testing", ("fold-2", "test")),
        ("validation", ("split", "val")),
        ("everything", None),
        ("", None),
    ],
)
def test_lists_say_by_their_names_what_they_are(name: str, meaning: tuple[str, str] | None) -> None:
    assert declare.named(name) == meaning


def test_parts_are_named_in_words_people_use() -> None:
    words = ("train", " Training", "VAL", "dev", "eval", "test", "", " ")
    meanings = ["train", "train", "val", "val", "test", "test", "", ""]
    assert [declare.check_part(word, "here") for word in words] == meanings
    with pytest.raises(DataError, match="here: 'tset' is no part of a split; there is train, val and test"):
        declare.check_part("tset", "here")


def parts(found: list[tuple[str, ...]], split: str) -> list[str]:
    return [next((name.partition("/")[2] for name in names if name.startswith(f"{split}/")), "") for names in found]


def test_a_whole_split_stays_as_it_is() -> None:
    given = ["train", "val", "test", "", "train"]
    assert parts(declare.complete({"s": given}, range(5)), "s") == given


@pytest.mark.parametrize("other", ["val", "test"])
def test_two_parts_are_train_and_test_and_a_tenth_is_held_out(other: str) -> None:
    given = ["train"] * 60 + [other] * 30 + [""] * 5
    people = [number % 20 for number in range(95)]
    found = parts(declare.complete({"s": given}, people), "s")
    assert found[60:] == ["test"] * 30 + [""] * 5 and set(found[:60]) == {"train", "val"}
    held_out = {person for person, part in zip(people, found, strict=True) if part == "val"}
    trained = {person for person, part in zip(people, found, strict=True) if part == "train"}
    assert len(held_out) == 2 and not held_out & trained
    assert parts(declare.complete({"s": given[::-1]}, people[::-1]), "s") == found[::-1]  # the order does not matter


def test_splits_are_apart() -> None:
    found = declare.complete({"a": ["train", "train", "test"], "b": ["test", "", "train"]}, ["x", "y", "z"])
    assert [len(names) for names in found] == [2, 1, 2]
    assert sorted(parts(found, "a")) == ["test", "train", "val"] and parts(found, "b") == ["test", "", "train"]


def test_people_are_on_one_side_where_they_are_known() -> None:
    subjects = [number % 11 for number in range(110)]
    found = declare.drawn([f"k{n}" for n in range(110)], [None] * 110, subjects)
    sides = {part: {s for s, p in zip(subjects, found, strict=True) if p == part} for part in ("train", "val", "test")}
    assert sides == {"train": {0, 1, 2, 5, 6, 7, 10}, "val": {3, 8}, "test": {4, 9}}


@pytest.mark.parametrize("subjects", [[None] * 300, [number % 4 for number in range(300)]])
def test_otherwise_every_class_is_on_every_side(subjects: list[int | None]) -> None:
    keys, labels = [f"clip-{n:03}" for n in range(300)], [n // 100 for n in range(300)]
    found = declare.drawn(keys, labels, subjects)
    for label in range(3):
        of_class = found[100 * label : 100 * label + 100]
        assert {part: of_class.count(part) for part in set(of_class)} == {"train": 70, "val": 10, "test": 20}
        assert of_class[:50].count("test") not in (0, 20)  # shuffled
    assert declare.drawn(keys[::-1], labels[::-1], subjects[::-1]) == found[::-1]
    assert declare.drawn(["a", "b"], [None, None], [None, None]) == ["train", "train"]
