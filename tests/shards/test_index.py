"""The index as columns: what goes in comes out, at the price of arrays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shards import columns, index
from shards.columns import Strings
from shards.errors import DataError
from shards.index import Entry, StoredView


def entries(count: int) -> Iterator[Entry]:
    """Entries with and without what may be unknown, of one to three views."""
    for p in range(count):
        known = p % 3 != 1
        views = tuple(
            StoredView(
                member=f"c{view}.npy" if known else f"v{view}.npy",
                camera=view if known else None,
                frames=10 + p,
                bodies=1 + view,
                copy_of="c0.npy" if known and view == 2 else None,
                origin=f"Aufnahme-ä{p}_{view}",
                splits=((), ("old/test",), ("old/train", "new/test"))[(p + view) % 3],
                offset=2**33 + p,
                bytes=100 + p,
            )
            for view in range(1 + p % 3)
        )
        facts = (p, p % 7, 3, 1) if known else (None, None, None, None)
        label, subject, setup, replication = facts
        yield Entry(
            key=f"key-{p}",
            label=label,
            subject=subject,
            setup=setup,
            replication=replication,
            views=views,
            shard=p // 4,
        )


def test_entries_come_back(tmp_path: Path) -> None:
    index.write(tmp_path, entries(30))
    assert list(index.read(tmp_path)) == list(entries(30))


def test_the_same_entries_give_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for form in (entries(9), list(entries(9)), index.table(entries(9))):
        index.write(tmp_path, form)
        contents.append((tmp_path / "index.npz").read_bytes())
    assert len(set(contents)) == 1
    mapped = index.read(tmp_path)
    index.write(tmp_path, mapped)  # over the file that is being read
    assert (tmp_path / "index.npz").read_bytes() == contents[0] and list(mapped) == list(entries(9))
    assert [path.name for path in tmp_path.iterdir()] == ["index.npz"]


def test_numpy_reads_the_columns(tmp_path: Path) -> None:
    index.write(tmp_path, entries(9))
    mapped = columns.read(tmp_path / "index.npz")
    with np.load(tmp_path / "index.npz", allow_pickle=False) as plain:
        assert set(plain) == set(mapped)
        for name, column in mapped.items():
            np.testing.assert_array_equal(column, plain[name])
            assert column.flags.aligned and not column.flags.writeable


def test_views_know_their_performance(tmp_path: Path) -> None:
    index.write(tmp_path, entries(30))
    views = index.read(tmp_path).views
    every = [(entry, view) for entry in entries(30) for view in entry.views]
    assert views.size == len(every)
    for row, (entry, view) in enumerate(every):
        expected = (entry.label, entry.subject, view.camera, entry.setup, entry.replication)
        assert tuple(column[row] for column in views[:5]) == tuple(-1 if v is None else v for v in expected)
        assert (views.copy[row], views.key[row]) == (view.copy_of is not None, entry.key)
    for part in ("old/train", "old/test", "new/test", "new/train", "old"):
        assert views.splits.contains(part).tolist() == [part in view.splits for _, view in every]
    assert views.splits.names == {"old", "new"}
    some = views.take(np.array([5, 2]))
    assert (some.size, list(some.key)) == (2, [views.key[5], views.key[2]])
    assert some.splits.contains("old/test").tolist() == views.splits.contains("old/test")[[5, 2]].tolist()


def test_strings_are_a_sequence() -> None:
    texts = ["", "a", "Übung", "b" * 100]
    strings = Strings.of(texts)
    assert list(strings) == texts and len(strings) == 4 and strings[-1] == texts[-1]
    assert list(strings.take(np.array([2, 0])).take(np.array([1, 0, 0]))) == ["", "Übung", "Übung"]
    with pytest.raises(IndexError):
        strings[4]


@pytest.mark.parametrize("column", [np.array(["a", None], dtype=object), np.zeros((2, 2), dtype=np.int32)])
def test_a_file_with_other_than_columns_of_numbers_is_named(tmp_path: Path, column: np.ndarray) -> None:
    path = tmp_path / "index.npz"
    np.savez(path, allow_pickle=True, key=column)
    with pytest.raises(DataError, match=r"index\.npz: not readable"):
        columns.read(path)
    np.savez_compressed(path, key=np.zeros(1000, dtype=np.int32))
    with pytest.raises(DataError, match=r"key\.npy is compressed"):
        columns.read(path)


MEASURED = """
import resource, sys, time
from pathlib import Path
from shards import catalogue, index
from shards.loader import Loader

def memory():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

before, began = memory(), time.perf_counter()
table = index.read(Path(sys.argv[1]))
columns = catalogue.selected(table, lambda views: views.camera != 1)
print(time.perf_counter() - began, (memory() - before) / 2**20)
"""


def test_a_million_performances_open_fast_and_small(tmp_path: Path) -> None:
    count = 1_000_000
    small = index.table(entries(3))
    performance = np.arange(count, dtype=np.int32)
    digits = np.char.zfill(performance.astype("S7"), 7)
    texts = Strings(digits.view(np.uint8), np.arange(count + 1) * 7)
    twice = Strings(np.repeat(digits, 2).view(np.uint8), np.arange(2 * count + 1) * 7)
    views = np.zeros(2 * count, dtype=np.int16)
    index.write(
        tmp_path,
        index.Table(
            **{name: performance for name in ("label", "subject", "setup", "replication", "shard")},
            **{name: np.arange(2 * count, dtype=np.int32) for name in ("frames", "bytes")},
            key=texts,
            origin=twice,
            members=small.members,
            first_view=np.arange(count + 1) * 2,
            offset=np.arange(2 * count),
            camera=(np.arange(2 * count) % 2).astype(np.int16),
            **{name: views for name in ("bodies", "copy_of", "member", "split")},
            split_sets=small.split_sets,
        ),
    )
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", MEASURED, str(tmp_path)]
    seconds, megabytes = map(float, subprocess.check_output(command, cwd=root, text=True).split())
    assert seconds < 2 and megabytes < 300
