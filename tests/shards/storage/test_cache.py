"""The cache of files from elsewhere: within its bound, whole, and shared by processes that do not know each other."""

from __future__ import annotations

import hashlib
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shards.errors import DataError
from shards.manifest import Stored
from shards.storage import cache
from shards.storage.cache import Cache

SIZE = 1000


def content(name: str) -> bytes:
    return name.encode() * (SIZE // len(name))


def stored(name: str) -> Stored:
    return Stored(file=name, bytes=len(content(name)), sha256=hashlib.sha256(content(name)).hexdigest())


class Source:
    """Gives every file in pieces and counts how often."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def pieces(self, file: str) -> Iterator[bytes]:
        self.given.append(file)
        whole = content(file)
        yield whole[:300]
        yield whole[300:]

    def path(self, file: str) -> str:
        return f"somewhere/{file}"


def kept(folder: Path) -> set[str]:
    names = {stored(name).sha256: name for name in "abcdefgh"}
    return {names[path.name] for path in folder.iterdir() if path.name != ".lock"}


def test_a_file_is_fetched_once(tmp_path: Path) -> None:
    source = Source()
    for _ in range(3):
        with Cache(tmp_path / "deep" / "cache").open(stored("a"), source) as file:
            assert file.read() == content("a")
    assert source.given == ["a"]


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    store, source = Cache(tmp_path, 3 * SIZE), Source()
    for name in "abcad":
        store.open(stored(name), source).close()
    assert kept(tmp_path) == {"c", "a", "d"}
    for name in "bbbb":
        store.open(stored(name), source).close()
    assert kept(tmp_path) == {"a", "d", "b"}
    assert source.given == list("abcdb")


def test_what_is_read_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open file and one of which only a memory map is left stay, for this process and for others."""
    monkeypatch.setattr(cache, "WAIT", 0.3)
    store, source = Cache(tmp_path, 2 * SIZE), Source()
    held = store.open(stored("a"), source)
    with store.open(stored("b"), source) as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with pytest.raises(DataError, match=r"is full of files that are in use, and its 2000 bytes do not suffice"):
        Cache(tmp_path, 2 * SIZE).open(stored("c"), source)
    assert kept(tmp_path) == {"a", "b"} and mapped[:] == content("b")
    mapped.close()
    store.open(stored("c"), source).close()
    assert kept(tmp_path) == {"a", "c"}
    assert held.read() == content("a")
    held.close()


def test_one_waits_until_others_let_go(tmp_path: Path) -> None:
    store, source = Cache(tmp_path, SIZE), Source()
    held = store.open(stored("a"), source)
    release = threading.Timer(0.3, held.close)
    release.start()
    with store.open(stored("b"), source) as file:
        assert file.read() == content("b")
    assert kept(tmp_path) == {"b"}


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / (stored("a").sha256 + ".partial")).write_bytes(b"half of it")
    (tmp_path / (stored("b").sha256 + ".partial")).write_bytes(b"x" * 5 * SIZE)
    store, source = Cache(tmp_path, 2 * SIZE), Source()
    with store.open(stored("a"), source) as file:
        assert file.read() == content("a")
    assert kept(tmp_path) == {"a"}


def test_a_fetch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    class Broken(Source):
        def pieces(self, file: str) -> Iterator[bytes]:
            yield content(file)[:300]
            raise DataError("the server is gone")

    with pytest.raises(DataError, match="the server is gone"):
        Cache(tmp_path).open(stored("a"), Broken())
    assert kept(tmp_path) == set()
    Cache(tmp_path).open(stored("a"), Source()).close()
    assert kept(tmp_path) == {"a"}


def test_a_transfer_that_was_damaged_is_repeated(tmp_path: Path) -> None:
    class Noisy(Source):
        def pieces(self, file: str) -> Iterator[bytes]:
            if self.given:
                yield from super().pieces(file)
            else:
                self.given.append("noise")
                yield content("z")

    source = Noisy()
    with Cache(tmp_path).open(stored("a"), source) as file:
        assert file.read() == content("a")
    assert source.given == ["noise", "a"]


def test_a_damaged_copy_is_found_once_a_process(tmp_path: Path) -> None:
    source = Source()
    first, second = Cache(tmp_path), Cache(tmp_path)
    first.open(stored("a"), source).close()
    path = tmp_path / stored("a").sha256
    path.write_bytes(content("a")[:-1] + b"!")
    with second.open(stored("a"), source, hashed=False) as file:
        assert file.read() != content("a")
    with Cache(tmp_path).open(stored("a"), source) as file:
        assert file.read() == content("a")
    assert source.given == ["a", "a"]


def test_unused_for_others_is_unused(tmp_path: Path) -> None:
    """Reading brings a file to the front for all processes, and changes nothing else of it."""
    source = Source()
    for name in "ab":
        Cache(tmp_path, 2 * SIZE).open(stored(name), source).close()
    before = os.stat(tmp_path / stored("a").sha256).st_mtime_ns
    Cache(tmp_path, 2 * SIZE).open(stored("a"), source).close()
    assert os.stat(tmp_path / stored("a").sha256).st_mtime_ns == before
    Cache(tmp_path, 2 * SIZE).open(stored("c"), source).close()
    assert kept(tmp_path) == {"a", "c"}


CROWD = """
import hashlib, os, random, sys, time
from pathlib import Path
from shards.storage.cache import Cache
from shards.manifest import Stored

folder, log, limit, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

class Source:
    def pieces(self, file):
        with open(log, "a") as lines:
            lines.write(file + chr(10))
        yield file.encode() * 600
        time.sleep(0.005)
        yield file.encode() * 400
    def path(self, file):
        return file

def work(seed):
    cache, rng = Cache(folder, limit), random.Random(seed)
    for name in (rng.choice("abcdefgh") for _ in range(rounds)) if rounds else "abcdefgh":
        content = name.encode() * 1000
        with cache.open(Stored(file=name, bytes=1000, sha256=hashlib.sha256(content).hexdigest()), Source()) as file:
            assert file.read() == content
        sizes = {}  # by inode: a file may be renamed while one looks
        with cache._gate():
            for path in folder.iterdir():
                try:
                    sizes[path.stat().st_ino] = path.stat().st_size
                except FileNotFoundError:
                    pass
        assert sum(sizes.values()) <= limit, sizes

children = []
for seed in range(4):
    children.append(os.fork())
    if not children[-1]:
        try:
            work(seed)
            os._exit(0)
        finally:
            os._exit(1)
print(*(os.waitpid(child, 0)[1] for child in children))
"""


def crowd(folder: Path, limit: int, rounds: int) -> list[str]:
    """Four processes; returns the files that were fetched, in order."""
    root = Path(__file__).resolve().parents[3]
    words = [str(folder / "cache"), str(folder / "log"), str(limit), str(rounds)]
    said = subprocess.check_output([sys.executable, "-c", CROWD, *words], cwd=root, text=True)
    assert said.split() == ["0"] * 4
    assert not list((folder / "cache").glob("*.partial"))
    return (folder / "log").read_text().split()


def test_a_crowd_of_processes(tmp_path: Path) -> None:
    """They want eight files of which five fit, at random: always whole, never too much."""
    assert len(crowd(tmp_path, 5000, 40)) < 4 * 40


def test_processes_do_not_fetch_the_same_file_twice(tmp_path: Path) -> None:
    assert sorted(crowd(tmp_path, 9000, 0)) == list("abcdefgh")
