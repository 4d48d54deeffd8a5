"""What packing writes: the same bytes every time, readable by stock clients, and all of it or nothing."""

from __future__ import annotations

import dataclasses
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bonestrap.layouts import KINECT20
from shards import index
from shards.errors import DataError
from shards.manifest import Manifest
from shards.packing.pack import pack
from shards.packing.preprocess import prepare
from shards.reader import Resident
from shards.sources.source import Performance, Source, View


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_what_went_in_comes_out(people: Callable, tmp_path: Path) -> None:
    source = people()
    manifest = pack(source, tmp_path / "shards", dtype="float32", shard_bytes=4000)
    data = Resident.load(tmp_path / "shards")
    assert len(manifest.shards) > 2 and sum(shard.views for shard in manifest.shards) == manifest.views == len(data)
    view = 0
    for p, performance in enumerate(source):
        assert data.performance_key[p] == performance.key
        for original in performance.views:
            frames, bodies = original.joints.shape[:2]
            expected = prepare(original.joints, (), KINECT20, "")
            start = data.view_start[view]
            for body in range(bodies):
                rows = data.frames[start + body * frames : start + (body + 1) * frames].numpy()
                np.testing.assert_array_equal(rows, expected[:, body])
            found = [column[view] for column in data.views]
            known = [performance.label, performance.subject, original.camera, -1, performance.replication]
            assert found == [*known, False, performance.key, " ".join(original.splits)]
            view += 1
    assert view == len(data)
    assert manifest.frames == sum(len(v.joints) for performance in source for v in performance.views)


def test_half_precision_errs_by_half_a_millimetre_at_a_metre(people: Callable, tmp_path: Path) -> None:
    pack(people(), tmp_path / "half")
    pack(people(), tmp_path / "full", dtype="float32")
    half, full = (Resident.load(tmp_path / name).frames.double() for name in ("half", "full"))
    near = full.abs() < 1
    assert 0 < (half - full)[near].abs().max() < 0.0005


def test_the_same_input_gives_the_same_bytes(people: Callable, tmp_path: Path) -> None:
    first = pack(people(), tmp_path / "a", shard_bytes=4000)
    second = pack(people(), tmp_path / "b", shard_bytes=4000)
    other = pack(people(seed=1), tmp_path / "c", shard_bytes=4000)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert first.digest == second.digest != other.digest


def test_the_digest_speaks_for_the_whole_manifest(people: Callable, tmp_path: Path) -> None:
    manifest = pack(people(), tmp_path / "shards")
    assert Manifest.read(tmp_path / "shards") == manifest
    assert dataclasses.replace(manifest, classes=("bow", "wave", "hop")).digest != manifest.digest
    assert dataclasses.replace(manifest, created_by="another version").digest == manifest.digest


def test_stock_webdataset_reads_the_shards(folder: Path, people: Callable) -> None:
    webdataset = pytest.importorskip("webdataset")
    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    assert [sample["__key__"] for sample in samples] == [performance.key for performance in people()]
    data = Resident.load(folder)
    view = 0
    for sample in samples:
        for described in sample["json"]["views"]:
            joints = sample[described["member"]]
            assert joints.shape == (described["frames"], described["bodies"], 20, 3) and joints.dtype == np.float16
            start = data.view_start[view]
            np.testing.assert_array_equal(data.frames[start : start + len(joints)].numpy(), joints[:, 0])
            view += 1
    assert view == len(data)


def test_shards_are_what_webdatasets_writer_writes(folder: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    for path in folder.glob("*.tar"):
        again = io.BytesIO()
        with tarfile.open(path) as tar, webdataset.TarWriter(again, encoder=False, mtime=0) as writer:
            samples: dict[str, dict[str, bytes]] = {}
            for member in tar:
                key, _, extension = member.name.partition(".")
                data = tar.extractfile(member)
                assert data is not None
                samples.setdefault(key, {})[extension] = data.read()
            for key, sample in samples.items():
                writer.write({"__key__": key, **sample})
        assert again.getvalue() == path.read_bytes()


def test_members_are_plain_files(folder: Path) -> None:
    for path in folder.glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                assert member.isreg() and member.mtime == 0 and member.mode == 0o444
                if member.name.endswith(".npy"):
                    data = tar.extractfile(member)
                    assert data is not None
                    assert np.isfinite(np.load(io.BytesIO(data.read()), allow_pickle=False)).all()


def test_copies_are_found(people: Callable, tmp_path: Path) -> None:
    source = people(3)
    a, b, c = source.performances[2].views
    copy = dataclasses.replace(c, joints=a.joints.copy())
    source.performances[2] = dataclasses.replace(source.performances[2], views=(a, b, copy))
    pack(source, tmp_path / "shards")
    data = Resident.load(tmp_path / "shards")
    assert data.view_copy.tolist() == [False] * 5 + [True]
    assert index.read(tmp_path / "shards").entry(2).views[2].copy_of == "c1.npy"


def test_recordings_without_a_body_are_dropped_and_listed(people: Callable, tmp_path: Path) -> None:
    source = people(3)
    first, third = source.performances[0], source.performances[2]
    empty = dataclasses.replace(third.views[1], joints=np.full((4, 1, 20, 3), np.nan, dtype=np.float32))
    source.performances[2] = dataclasses.replace(third, views=(third.views[0], empty, third.views[2]))
    source.performances[0] = dataclasses.replace(first, views=(dataclasses.replace(empty, origin="gone"),))
    manifest = pack(source, tmp_path / "shards")
    assert manifest.dropped == (("gone", "no body in any frame"), ("p02_c2", "no body in any frame"))
    data = Resident.load(tmp_path / "shards")
    assert list(data.performance_key) == ["p01", "p02"]
    assert data.view_camera.tolist() == [1, 2, 1, 3]


def test_performances_that_turn_out_empty_are_listed_wherever_they_stand(people: Callable, tmp_path: Path) -> None:
    source = people(7)
    whole = list(source.performances)
    for p in (0, 3, 6):
        source.performances[p] = dataclasses.replace(whole[p], views=(), dropped=((f"file {p}", "cut"),))
    source.dropped = [("a name", "listed as missing")]
    manifest = pack(source, tmp_path / "shards", shard_bytes=1)
    assert manifest.dropped == (("a name", "listed as missing"), *((f"file {p}", "cut") for p in (0, 3, 6)))
    assert list(Resident.load(tmp_path / "shards").performance_key) == ["p01", "p02", "p04", "p05"]
    assert [shard.performances for shard in manifest.shards] == [1, 1, 1, 1]


def test_broken_performances_stop_the_work_or_are_dropped(people: Callable, tmp_path: Path) -> None:
    source = people(4)
    source.performances[2].views[1].joints[0, 0, 3] = np.nan
    with pytest.raises(DataError, match="p02_c2: body 0 has NaN"):
        pack(source, tmp_path / "stopped")
    manifest = pack(source, tmp_path / "dropped", broken="drop")
    ((file, reason),) = manifest.dropped
    assert file == "p02" and reason.startswith("broken: p02_c2: body 0 has NaN")
    assert list(Resident.load(tmp_path / "dropped").performance_key) == ["p00", "p01", "p03"]


def test_unknown_cameras_and_labels_stay_unknown(people: Callable, tmp_path: Path) -> None:
    source = people(3)
    source.performances[2] = Performance(
        key="p02",
        label=None,
        subject=None,
        setup=None,
        replication=None,
        views=tuple(dataclasses.replace(view, camera=None) for view in source.performances[2].views),
    )
    pack(source, tmp_path / "shards")
    data = Resident.load(tmp_path / "shards")
    assert [column[5] for column in data.views[:6]] == [-1, -1, -1, -1, -1, False]
    with pytest.raises(DataError, match="people: some of these recordings have no label"):
        data.labels([0, 5])


def broken(people: Callable, **changes: Any) -> Source:
    made = people(3)
    made.performances[1] = dataclasses.replace(made.performances[1], **changes)
    return made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 3}, "p01_c1: label 3 is out of range for the 3 classes of people"),
        ({"label": -1}, "p01_c1: label -1 is out of range"),
        ({"key": "p.01"}, "people: key 'p.01' may hold only"),
        ({"key": "../p01"}, "people: key '../p01' may hold only"),
        ({"key": "p" * 81}, "people: key 'pppp"),
        ({"key": "p00"}, "people: performance p00 comes twice"),
    ],
)
def test_bad_performances_are_named_and_leave_nothing(
    people: Callable, tmp_path: Path, changes: dict, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        pack(broken(people, **changes), tmp_path / "shards")
    assert str(caught.value).startswith(message)
    assert not list(tmp_path.iterdir())


def test_two_views_of_one_camera_are_named(people: Callable, tmp_path: Path) -> None:
    view = View(camera=1, joints=np.ones((3, 1, 20, 3), dtype=np.float32), origin="here")
    with pytest.raises(DataError, match="here: a second recording of p01 by camera 1"):
        pack(broken(people, views=(view, view)), tmp_path / "shards")


def test_an_output_with_something_in_it_is_left_alone(folder: Path, people: Callable, tmp_path: Path) -> None:
    before = files(folder)
    with pytest.raises(DataError, match="is already there and not empty; choose another --output"):
        pack(people(), folder)
    assert files(folder) == before
    (tmp_path / "empty").mkdir()
    pack(people(), tmp_path / "empty")
    assert (tmp_path / "empty" / "manifest.json").is_file()


def test_nothing_to_pack_is_named(people: Callable, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="people: no recording holds a body"):
        pack(people(0), tmp_path / "shards")
    assert not list(tmp_path.iterdir())


def test_progress_ends_at_the_whole(people: Callable, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    pack(people(3), tmp_path / "shards", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
