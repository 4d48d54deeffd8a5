"""A stream gives what resident recordings give, holds what it may hold, and never gives less because of damage."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from bonestrap.clips import Batch
from shards.errors import DataError
from shards.loader import Loader, Plan
from shards.manifest import Manifest, sha256
from shards.packing.pack import pack
from shards.reader import Resident
from shards.shelf import Shelf
from shards.stream import Stream

PLAN = Plan(batch=8, group=4, seed=3, window=2)


@pytest.fixture(scope="module")
def packed(people: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty performances in shards of about three."""
    folder = tmp_path_factory.mktemp("stream") / "shards"
    pack(people(30), folder, shard_bytes=6000)
    return folder


@pytest.fixture
def shards(packed: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(packed, tmp_path / "shards"))


@pytest.fixture
def opened() -> Iterator[Callable[..., Stream]]:
    """Open streams that are closed at the end."""
    streams: list[Stream] = []

    def make(*words: Any, **options: Any) -> Stream:
        streams.append(Stream.open(*words, **options))
        return streams[-1]

    yield make
    for stream in streams:
        stream.shelf.close()


def clips(batch: Batch) -> list[list[torch.Tensor]]:
    """The joints of every body of every view."""
    return [
        [r.frames[start : start + length] for start, length in zip(r.start, r.length, strict=True)] for r in batch.views
    ]


def same(a: Batch, b: Batch) -> bool:
    joints = all(len(x) == len(y) and all(map(torch.equal, x, y)) for x, y in zip(clips(a), clips(b), strict=True))
    rest = all(torch.equal(x.owner, y.owner) and x.size == y.size for x, y in zip(a.views, b.views, strict=True))
    labels = torch.equal(a.labels, b.labels) if a.labels is not None and b.labels is not None else a.labels is b.labels
    return joints and rest and labels and a.seed == b.seed


@pytest.mark.parametrize("unit", ["performance", "view"])
def test_a_stream_gives_what_resident_recordings_give(
    packed: Path, opened: Callable, unit: Literal["performance", "view"]
) -> None:
    stream, resident = opened(packed), Resident.load(packed)
    subset = np.arange(0, 30, 2)
    a, b = (
        Loader(data, PLAN, unit=unit, pairs=unit == "performance", labels=True, subset=subset)
        for data in (stream, resident)
    )
    assert a.epoch_length == b.epoch_length
    for step in (*range(8), 100, 3):
        for group in range(2):
            assert same(a.group(step, group), b.group(step, group))


def test_single_precision_streams(people: Callable, tmp_path: Path, opened: Callable) -> None:
    pack(people(5), tmp_path / "shards", dtype="float32")
    stream, resident = opened(tmp_path / "shards"), Resident.load(tmp_path / "shards")
    assert torch.equal(stream.recordings(range(len(stream))).frames, resident.frames)


def test_any_views_in_any_order(packed: Path, opened: Callable) -> None:
    stream, resident = opened(packed), Resident.load(packed)
    for views in ([5], [40, 0, 0, 17], range(len(resident)), torch.tensor([3, 2])):
        a, b = stream.recordings(views), resident.recordings(views)
        assert a.size == b.size and torch.equal(a.owner, b.owner) and torch.equal(a.length, b.length)
        for n in range(len(a.start)):
            rows = (x.frames[x.start[n] : x.start[n] + x.length[n]] for x in (a, b))
            assert torch.equal(*rows)
    assert torch.equal(stream.labels([0, 4, 9]), resident.labels([0, 4, 9]))


def test_a_selection_streams(packed: Path, opened: Callable) -> None:
    stream = opened(packed, select=lambda views: views.subject % 2 == 1)
    resident = Resident.load(packed, select=lambda views: views.subject % 2 == 1)
    assert len(stream) == len(resident) and list(stream.performance_key) == list(resident.performance_key)
    a, b = (Loader(data, PLAN, unit="view", pairs=False, labels=False) for data in (stream, resident))
    assert all(same(a.group(step, 1), b.group(step, 1)) for step in range(6))
    part = stream.keep(lambda views: views.camera == 1)
    assert part.view_length.tolist() == resident.keep(lambda views: views.camera == 1).view_length.tolist()
    assert len(part.recordings([2]).frames) == part.view_length[2] * part.view_bodies[2]
    with pytest.raises(DataError, match="the chosen split leaves no recording"):
        opened(packed, select=lambda views: views.camera == 9)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 8])
def test_global_batches_do_not_depend_on_the_ranks(packed: Path, opened: Callable, ranks: int) -> None:
    """Every rank has a stream of its own; in the middle all are stopped and other ones go on."""
    plan = Plan(batch=48, group=2, seed=1, window=2)
    resident = Loader(Resident.load(packed), plan, unit="performance", pairs=True, labels=False)
    for steps in (range(2), range(2, 4)):
        for rank in range(ranks):
            loader = Loader(opened(packed), plan, unit="performance", pairs=True, labels=False)
            for step in steps:
                for group in range(24 * rank // ranks, 24 * (rank + 1) // ranks):
                    assert same(loader.group(step, group), resident.group(step, group))


@pytest.mark.parametrize("limit", [1, 3, 8])
def test_no_more_is_open_than_is_allowed(packed: Path, opened: Callable, limit: int) -> None:
    """However much mixes, is announced, or is asked for at random; a smaller limit changes nothing but the time."""
    largest = max(shard.bytes for shard in Manifest.read(packed).shards)
    stream = opened(packed, ahead=1, limit=limit * largest)
    loader = Loader(stream, PLAN, unit="performance", pairs=True, labels=False)
    resident = Loader(Resident.load(packed), PLAN, unit="performance", pairs=True, labels=False)
    for step in range(12):
        for group in range(2):
            assert same(loader.group(step, group), resident.group(step, group))
            assert stream.shelf.bytes == sum(stream.manifest.shards[n].bytes for n in stream.shelf._open)
    stream.recordings(range(len(stream)))
    assert len(stream.manifest.shards) >= 10
    assert 0 < stream.shelf.peak <= limit * largest
    stream.shelf.close()
    assert stream.shelf.bytes == 0


def test_what_is_no_longer_needed_is_closed(packed: Path, opened: Callable) -> None:
    """Far below the limit too: of each group the window, what a group of clips uses up, and what is read ahead."""
    stream = opened(packed, ahead=1)
    loader = Loader(stream, Plan(batch=4, group=2, seed=3, window=2), unit="performance", pairs=True, labels=False)
    for step in range(40):
        for group in range(2):
            loader.group(step, group)
    assert stream.shelf.peak <= 2 * (2 + 1 + 1) * max(shard.bytes for shard in stream.manifest.shards)


def test_shards_are_read_ahead_on_threads(packed: Path, opened: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the first, a group finds the shards that it asks for open or on their way."""
    load, get = Shelf._load, Shelf.get
    threads: set[threading.Thread] = set()
    late: list[int] = []

    def watched(self: Shelf, shard: int) -> np.ndarray:
        threads.add(threading.current_thread())
        return load(self, shard)

    stream = opened(packed, ahead=3)
    loader = Loader(stream, Plan(batch=2, group=2, seed=0, window=2), unit="performance", pairs=False, labels=False)
    monkeypatch.setattr(Shelf, "_load", watched)
    for step in range(14):  # the first epoch
        known = set(stream.shelf._open)

        def asked(self: Shelf, shard: int, step: int = step, known: set[int] = known) -> np.ndarray:
            late.extend([step] * (shard not in known))
            return get(self, shard)

        monkeypatch.setattr(Shelf, "get", asked)
        loader.group(step, 0)
    assert set(late) == {0}
    assert threading.main_thread() not in threads and len(threads) > 1


def test_a_stream_needs_a_window(packed: Path, opened: Callable) -> None:
    with pytest.raises(ValueError, match="a stream needs a window"):
        Loader(opened(packed), Plan(batch=4, group=4, seed=0), unit="view", pairs=False, labels=False)


def walk(stream: Stream) -> int:
    """Read one epoch; returns the number of clips."""
    loader = Loader(stream, Plan(batch=6, group=3, seed=0, window=2), unit="performance", pairs=False, labels=False)
    return sum(loader.group(step, group).views[0].size for step in range(5) for group in range(2))


def second(folder: Path) -> Path:
    return sorted(folder.glob("*.tar"))[1]


def cut_inside(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-700])


def cut_between_members(path: Path) -> None:
    with tarfile.open(path) as tar:
        offset = tar.getmembers()[-1].offset
    path.write_bytes(path.read_bytes()[:offset])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_inside, r"shard-00001\.tar is truncated \(\d+ of \d+ bytes\)"),
        (cut_between_members, r"shard-00001\.tar is truncated \(\d+ of \d+ bytes\)"),
        (flip, r"shard-00001\.tar is damaged: its SHA-256 differs"),
        (Path.unlink, r"shard-00001\.tar is missing though the manifest lists it"),
    ],
)
@pytest.mark.parametrize("when", ["before", "while open"])
def test_damage_is_named(
    shards: Path, opened: Callable, damage: Callable[[Path], None], message: str, when: str
) -> None:
    stream = opened(shards) if when == "while open" else None
    damage(second(shards))
    with pytest.raises(DataError) as caught:
        walk(stream or opened(shards))
    assert re.search(message, str(caught.value)) and "\n" not in str(caught.value)


def test_a_shard_that_is_damaged_between_epochs_is_named(shards: Path, opened: Callable) -> None:
    """One that was verified, closed, and replaced by something else is not trusted again."""
    stream = opened(shards)
    assert walk(stream) == 30
    stream.expect(0, [])
    stream.expect(1, [])
    path = second(shards)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    flip(path)
    with pytest.raises(DataError, match=r"shard-00001\.tar is damaged"):
        walk(stream)
    path.write_bytes(content)
    assert walk(stream) == 30  # and once it is whole again, the same stream goes on


def test_every_view_is_checked_when_its_shard_is_opened(shards: Path, opened: Callable) -> None:
    """The hash fits, the content does not: what a faulty or malicious packer makes."""
    path = second(shards)
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        place = next(member.offset for member in tar if member.name.endswith(".c1.npy"))
    for offset, content, message in (
        (0, b"../../evil.npy\0", r"member '\.\./\.\./evil\.npy' lies where 'p\d+\.c1\.npy' belongs"),
        (0, b"/etc/cron.d/evil\0", r"member '/etc/cron\.d/evil' lies where 'p\d+\.c1\.npy' belongs"),
        (124, b"77777777777\0", r"member p\d+\.c1\.npy is not as long as the index says"),
        (124, b"\x80" + 11 * b"\xff", r"member p\d+\.c1\.npy is not as long as the index says"),
        (512, b"\x93NUMPX", r"member p\d+\.c1\.npy is no plain array"),
        (512 + 128, b"\xff" * 8, r"member p\d+\.c1\.npy holds NaN or infinite joints"),
    ):
        path.write_bytes(whole[: place + offset] + content + whole[place + offset + len(content) :])
        manifest = Manifest.read(shards)
        sealed = tuple(replace(shard, sha256=sha256(shards / shard.file)) for shard in manifest.shards)
        replace(manifest, shards=sealed).write(shards)
        with pytest.raises(DataError, match=message):
            walk(opened(shards))


BOUNDED = """
import sys
from pathlib import Path
from shards.loader import Loader, Plan
from shards.stream import Stream

def memory(field):
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024

stream = Stream.open(sys.argv[1], limit=int(sys.argv[2]))
loader = Loader(stream, Plan(batch=8, group=4, seed=0, window=2), unit="view", pairs=False, labels=False)
loader.group(0, 0)
stream.shelf.announce(0, [])
Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
before = memory("VmRSS")
for step in range(int(loader.epoch_length)):
    for group in range(2):
        loader.group(step, group)
print(memory("VmHWM") - before, stream.shelf.peak)
"""


def test_ten_times_the_memory_streams_inside_it(people: Callable, tmp_path: Path) -> None:
    source = people(1)
    (performance,) = source.performances
    long = np.random.default_rng(0).normal(0, 0.4, (1000, 1, 20, 3)).astype(np.float32)  # 240 kB as stored
    view = replace(performance.views[0], joints=long)
    source.performances = [replace(performance, key=f"p{p:03}", views=(view,)) for p in range(90)]
    pack(source, tmp_path / "shards", shard_bytes=2**19, dtype="float32")
    allowed = 2 * 2**20
    assert Manifest.read(tmp_path / "shards").total_bytes >= 10 * allowed
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", BOUNDED, str(tmp_path / "shards"), str(allowed)]
    grown, peak = map(int, subprocess.check_output(command, cwd=root, text=True).split())
    assert allowed / 2 < peak <= allowed
    assert grown <= allowed + 4 * 2**20, f"{grown / 2**20:.1f} MiB"  # a batch of one MiB, and what the allocator keeps
