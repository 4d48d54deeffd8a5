"""Reading: what a batch sees, that nothing else is read, and that every kind of damage is named."""

from __future__ import annotations

import dataclasses
import io
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bonestrap.layouts import KINECT20, NTU25
from shards import columns, index, reader
from shards.errors import DataError
from shards.index import Views
from shards.manifest import Manifest, sha256
from shards.packing.pack import pack
from shards.reader import Resident


def odd_subject(views: Views) -> np.ndarray:
    return views.subject % 2 == 1


def nothing(views: Views) -> np.ndarray:
    return np.zeros(views.size, dtype=bool)


def facts(data: Resident) -> list[tuple]:
    """What is known of every view."""
    return list(zip(*tuple(data.views), strict=True))


def first(folder: Path) -> Path:
    return min(folder.glob("*.tar"))


def reseal(folder: Path, **changes: Any) -> None:
    """Make the manifest vouch for whatever the folder now holds: what an attacker or a faulty packer would do."""

    def current(stored: Any) -> Any:
        path = folder / stored.file
        return dataclasses.replace(stored, bytes=path.stat().st_size, sha256=sha256(path))

    manifest = Manifest.read(folder)
    shards = tuple(current(shard) for shard in manifest.shards)
    dataclasses.replace(manifest, shards=shards, index=current(manifest.index), **changes).write(folder)


def fails(folder: Path, message: str, **options: Any) -> None:
    with pytest.raises(DataError) as caught:
        Resident.load(folder, **options)
    assert re.search(message, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


def test_recordings_name_the_rows_of_every_body(folder: Path) -> None:
    data = Resident.load(folder)
    views = [4, 0, 6, 6]
    got = data.recordings(views)
    assert got.size == 4 and got.frames.data_ptr() == data.frames.data_ptr()
    expected = [
        (data.view_start[view] + body * data.view_length[view], data.view_length[view], position)
        for position, view in enumerate(views)
        for body in range(data.view_bodies[view])
    ]
    assert list(zip(got.start.tolist(), got.length.tolist(), got.owner.tolist(), strict=True)) == expected
    assert 2 in data.view_bodies[views]
    tensor = data.recordings(torch.tensor(views))
    assert all(torch.equal(a, b) for a, b in zip(got[1:4], tensor[1:4], strict=True))


def test_tables_agree_with_one_another(folder: Path) -> None:
    data = Resident.load(folder)
    ends = data.view_start + data.view_length * data.view_bodies
    np.testing.assert_array_equal(data.view_start, [0, *ends[:-1]])
    assert ends[-1] == len(data.frames)
    for p in range(len(data.performance_key)):
        own = range(data.performance_first_view[p], data.performance_first_view[p + 1])
        assert [data.views.key[view] for view in own] == [data.performance_key[p]] * len(own)
    assert data.labels([0, 1, 3]).tolist() == [0, 1, 2]


def test_keeping_shares_the_frames(folder: Path) -> None:
    data = Resident.load(folder)
    part = data.keep(odd_subject)
    chosen = np.flatnonzero(odd_subject(data.views))
    assert facts(part) == [facts(data)[view] for view in chosen]
    assert part.frames.data_ptr() == data.frames.data_ptr()
    np.testing.assert_array_equal(part.view_start, data.view_start[chosen])
    assert part.performance_first_view[-1] == len(part) and len(part.performance_key) == 4
    one_camera = data.keep(lambda views: views.camera == 2)
    assert list(one_camera.performance_key) == ["p01", "p02", "p04", "p05"]
    with pytest.raises(DataError, match="no recording is left"):
        data.keep(nothing)


def test_selecting_while_loading_is_keeping_afterwards(folder: Path) -> None:
    part, kept = Resident.load(folder, select=odd_subject), Resident.load(folder).keep(odd_subject)
    assert len(part.frames) < len(kept.frames)
    assert facts(part) == facts(kept)
    for view in range(len(kept)):
        rows = part.view_length[view] * part.view_bodies[view]
        a, b = part.view_start[view], kept.view_start[view]
        assert torch.equal(part.frames[a : a + rows], kept.frames[b : b + rows])
    fails(folder, "the chosen split leaves no recording", select=nothing)


def test_frames_of_other_views_are_never_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The members of unselected views are overwritten with NaN; a load that touched one would stop."""
    everything = Resident.load(folder)
    manifest = Manifest.read(folder)
    for entry in index.read(folder):
        if entry.subject is not None and entry.subject % 2 == 0:
            with (folder / manifest.shards[entry.shard].file).open("r+b") as file:
                for view in entry.views:
                    file.seek(view.offset + 128)
                    file.write(b"\xff" * (view.bytes - 128))
    reseal(folder)
    fails(folder, "NaN")
    copied: list[int] = []
    gather = reader.gather

    def watched(target: np.ndarray, source: np.ndarray, places: list[list[int]], stride: int) -> None:
        copied.extend(begin for begin, _, _ in places)
        gather(target, source, places, stride)

    monkeypatch.setattr(reader, "gather", watched)
    part = Resident.load(folder, select=odd_subject)
    chosen = np.flatnonzero(odd_subject(everything.views))
    assert copied == [128 + index.read(folder).offset[row] for row in chosen]
    assert torch.isfinite(part.frames).all()


def test_missing_things_are_named(folder: Path, tmp_path: Path) -> None:
    fails(tmp_path / "nowhere", "nowhere: no such folder of shards; make one with launch/pack.py")
    (tmp_path / "empty").mkdir()
    fails(tmp_path / "empty", r"empty/manifest\.json is missing, so this is no finished folder")
    first(folder).unlink()
    fails(folder, r"shard-00000\.tar is missing though the manifest lists it; copy the folder again")


@pytest.mark.parametrize("name", ["shard-00000.tar", "index.npz"])
def test_a_flipped_byte_is_named(folder: Path, name: str) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)
    fails(folder, rf"{name} is damaged: its SHA-256 differs")


@pytest.mark.parametrize("verify", [True, False])
def test_a_truncated_shard_is_named(folder: Path, verify: bool) -> None:
    path = first(folder)
    path.write_bytes(path.read_bytes()[:-1])
    fails(folder, r"shard-00000\.tar is truncated \(\d+ of \d+ bytes\)", verify=verify)


def test_a_shard_cut_between_members_is_named(folder: Path) -> None:
    """Stock readers take such a file for a whole one."""
    path = first(folder)
    with tarfile.open(path) as tar:
        cut = tar.getmembers()[-1].offset
    path.write_bytes(path.read_bytes()[:cut])
    fails(folder, r"shard-00000\.tar is truncated")


def test_an_altered_manifest_is_named(folder: Path) -> None:
    path = folder / "manifest.json"
    text = path.read_text()
    for old, new, message in (
        ('"wave"', '"hop"', "was altered: its digest does not match"),
        ('"version": 2', '"version": 1', "format bonestrap-shards 1 is not bonestrap-shards 2; pack the recordings"),
        ('"root": "hip_center"', '"root": "hip"', "not a readable manifest .*kinect20: root speaks of joint hip"),
        ('"classes"', '"class"', "not a readable manifest"),
        (text, "[]", "not a readable manifest"),
        (text, text[:100], "not a readable manifest"),
    ):
        path.write_text(text.replace(old, new))
        fails(folder, rf"manifest\.json.*{message}")


def test_a_wrong_layout_is_named(folder: Path) -> None:
    reseal(folder, layout=NTU25)
    fails(folder, r"shard-00000\.tar: member p00\.c1\.npy holds float16 \(\d, 1, 20, 3\), the manifest says .* 25, 3\)")


def test_wrong_numbers_a_joint_are_named(folder: Path) -> None:
    planar = dataclasses.replace(KINECT20, coordinates=2)
    reseal(folder, layout=planar, coordinates=2, unit="torso")
    fails(folder, r"member p00\.c1\.npy holds float16 \(\d, 1, 20, 3\), the manifest says .* 20, 2\)")
    reseal(folder, layout=dataclasses.replace(planar, confidence=True), coordinates=2, confidence=True)
    assert Resident.load(folder).frames.shape[2] == 3
    reseal(folder, coordinates=3)
    fails(folder, r"manifest\.json: its coordinates, confidence or unit are not those of its layout")


def test_a_wrong_type_is_named(folder: Path) -> None:
    reseal(folder, dtype="float32")
    fails(folder, r"shard-00000\.tar: member p00\.c1\.npy holds float16")


def test_a_label_out_of_range_is_named(folder: Path) -> None:
    reseal(folder, classes=("bow", "wave"))
    fails(folder, r"index\.npz: label 2 of p02 is out of range for the 2 classes")


def test_a_path_out_of_the_folder_is_named(folder: Path) -> None:
    manifest = Manifest.read(folder)
    for name in ("../secret.tar", "/etc/passwd", ".hidden"):
        shard = dataclasses.replace(manifest.shards[0], file=name)
        dataclasses.replace(manifest, shards=(shard, *manifest.shards[1:])).write(folder)
        fails(folder, rf"manifest\.json: '{re.escape(name)}' leads out of the folder")


def replace_columns(folder: Path, **changes: np.ndarray) -> None:
    """Another index, sealed as if it were right."""
    path = folder / "index.npz"
    kept = {name: np.array(column) for name, column in columns.read(path).items()}
    columns.write(path, {name: changes.get(name, column) for name, column in kept.items()})
    reseal(folder)


def test_an_index_beside_the_truth_is_named(folder: Path) -> None:
    whole = {name: np.array(column) for name, column in columns.read(folder / "index.npz").items()}
    entries = list(index.read(folder))
    index.write(folder, entries[:-1])
    reseal(folder)
    fails(folder, r"index\.npz lists 6 performances and \d+ views")
    index.write(folder, entries)
    for name, change, message in (
        ("offset", -1, "p00 is outside these shards"),
        ("frames", 0, "p00 is outside these shards"),
        ("shard", 99, "p00 is outside these shards"),
        ("label", -2, "label -2 of p00 is out of range"),
        ("first_view", 1, "views and performances do not belong together"),
        ("member", 5, "views and performances do not belong together"),
        ("key.offsets", 1, "a text lies outside its column"),
    ):
        column = np.array(whole[name])
        replace_columns(folder, **{name: np.where(np.arange(len(column)) == 0, change, column).astype(column.dtype)})
        fails(folder, rf"index\.npz: {message}")
        replace_columns(folder, **{name: column})
    replace_columns(folder, bodies=whole["bodies"][:-1])
    fails(folder, r"index\.npz: column bodies has another length")
    columns.write(folder / "index.npz", {name: column for name, column in whole.items() if name != "frames"})
    reseal(folder)
    fails(folder, r"index\.npz: not an index of shards")
    (folder / "index.npz").write_bytes(b"not a zip")
    reseal(folder)
    fails(folder, r"index\.npz: not readable")


def rewrite(path: Path, change: Callable[[tarfile.TarInfo, bytes], tuple[str, bytes]]) -> None:
    """Write a shard again with changed names or contents of the same length, so that the index still fits."""
    with tarfile.open(path) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for member, data in members:
            member.name, content = change(member, data)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("name", ["../../evil.npy", "/etc/cron.d/evil", "p00.c9.npy"])
def test_a_member_that_is_not_what_the_index_says_is_named(folder: Path, name: str) -> None:
    rewrite(first(folder), lambda member, data: (name if member.name == "p00.c1.npy" else member.name, data))
    reseal(folder)
    fails(folder, rf"shard-00000\.tar: member '{re.escape(name)}' lies where 'p00\.c1\.npy' belongs")
    assert sorted(path.name for path in folder.parent.iterdir()) == ["shards"]


def npy(array: np.ndarray, size: int, *, pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=pickled)
    return buffer.getvalue().ljust(size, b"\0")[:size]


class Canary:
    """An object whose unpickling would be noticed."""

    touched = False

    def __reduce__(self) -> tuple:
        return (setattr, (Canary, "touched", True))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([Canary()], dtype=object), "is no plain array"),
        (np.full((2, 1, 20, 3), 1, dtype=np.int16), "is no plain array"),
        (np.zeros((9, 9, 20, 3), dtype=np.float16), r"holds float16 \(9, 9, 20, 3\)"),  # more than the member holds
        (np.asfortranarray(np.ones((1, 1, 20, 3), dtype=np.float16)), "is no plain array"),
    ],
)
def test_a_member_that_is_no_plain_array_is_named(folder: Path, array: np.ndarray, message: str) -> None:
    Canary.touched = False

    def change(member: tarfile.TarInfo, data: bytes) -> tuple[str, bytes]:
        pickled = array.dtype == object
        return member.name, npy(array, len(data), pickled=pickled) if member.name == "p00.c1.npy" else data

    rewrite(first(folder), change)
    reseal(folder)
    fails(folder, rf"shard-00000\.tar: member p00\.c1\.npy {message}")
    assert not Canary.touched


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_joints_are_named(folder: Path, value: float) -> None:
    def change(member: tarfile.TarInfo, data: bytes) -> tuple[str, bytes]:
        if member.name != "p00.c1.npy":
            return member.name, data
        joints = np.load(io.BytesIO(data))
        joints[-1, 0, 3, 1] = value
        return member.name, npy(joints, len(data))

    rewrite(first(folder), change)
    reseal(folder)
    fails(folder, r"shard-00000\.tar: member p00\.c1\.npy holds NaN or infinite joints")


def test_unverified_loading_skips_only_the_hash(folder: Path) -> None:
    assert torch.equal(Resident.load(folder, verify=False).frames, Resident.load(folder).frames)


def test_a_lone_sample_is_enough(people: Callable, tmp_path: Path) -> None:
    pack(people(1), tmp_path / "shards")
    assert len(Resident.load(tmp_path / "shards").recordings([0]).start) == 1
