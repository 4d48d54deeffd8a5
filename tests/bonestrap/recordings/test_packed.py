"""The library's reader of packed shards: what the standard tar reader finds, and a sentence for what is damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bonestrap.options import UserError
from bonestrap.recordings.packed import PackedFolder
from shards.manifest import Manifest
from shards.reader import Resident
from tests.bonestrap.recordings.shards_by_hand import by_tarfile, packed
from tests.shards.test_hostile_shards import hashed, seal


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("packed") / "shards")


def test_facts_are_those_of_the_tar_files(folder: Path) -> None:
    found, wanted = PackedFolder.read(folder), by_tarfile(folder)
    assert len(found) == len(wanted) == 24
    assert list(found.key) == [performance["key"] for performance, *_ in wanted]
    assert [f"{view}.npy" for view in found.view] == [view["member"] for _, view, _ in wanted]
    for name in ("label", "subject"):
        assert getattr(found, name).tolist() == [performance[name] for performance, *_ in wanted]
    assert found.camera.tolist() == [view["camera"] for _, view, _ in wanted]
    assert -1 in found.label and found.classes == ("bow", "wave", "kick") and found.rate == 30


@pytest.mark.parametrize("size", [1, 5, 24, 100])
def test_joints_are_those_of_the_tar_files(folder: Path, size: int) -> None:
    wanted = by_tarfile(folder)
    batches = list(PackedFolder.read(folder).batches(size))
    assert [batch.size for batch in batches] == [min(size, 24 - first) for first in range(0, 24, size)]
    done = 0
    for batch in batches:
        bodies: list[list[torch.Tensor]] = [[] for _ in range(batch.size)]
        for owner, start, length in zip(batch.owner, batch.start, batch.length, strict=True):
            bodies[owner].append(batch.frames[start : start + length])
        for each in bodies:
            np.testing.assert_array_equal(torch.stack(each, 1).numpy(), wanted[done][2])
            done += 1


def test_it_agrees_with_the_reader_that_trains(folder: Path) -> None:
    ours, theirs = PackedFolder.read(folder), Resident.load(folder)
    batch = next(ours.batches(100))
    assert torch.equal(batch.frames, theirs.frames) and ours.digest == theirs.manifest.digest
    everything = theirs.recordings(np.arange(len(theirs)))
    assert all(torch.equal(getattr(batch, name), getattr(everything, name)) for name in ("start", "length", "owner"))
    assert ours.layout == theirs.layout and ours.label.tolist() == theirs.views.label.tolist()


def flipped(folder: Path) -> None:
    shard = sorted(folder.glob("*.tar"))[1]
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)


def cut(folder: Path) -> None:
    shard = sorted(folder.glob("*.tar"))[0]
    shard.write_bytes(shard.read_bytes()[:-512])


def renamed(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"kick"', '"sit"'))


def another_version(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"version": 2', '"version": 7'))


def outside(folder: Path) -> None:
    """A forged manifest, whose digest is right."""
    fields = json.loads((folder / "manifest.json").read_text())
    fields["shards"][0]["file"] = "../elsewhere.tar"
    seal(folder, fields)


def of_another(folder: Path) -> None:
    table = dict(np.load(folder / "index.npz"))
    np.savez(folder / "index.npz", **{**table, "offset": table["offset"] + 10**7})
    seal(folder, json.loads((folder / "manifest.json").read_text()) | {"index": hashed(folder / "index.npz")})


def no_index(folder: Path) -> None:
    (folder / "index.npz").write_bytes(b"PK")
    seal(folder, json.loads((folder / "manifest.json").read_text()) | {"index": hashed(folder / "index.npz")})


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (flipped, "is damaged: its SHA-256 differs"),
        (cut, "is truncated"),
        (renamed, "manifest.json was altered"),
        (another_version, "format bonestrap-shards 7 is not bonestrap-shards 2"),
        (outside, "leads out of the folder"),
        (of_another, "a recording lies outside its shard"),
        (no_index, "not an index of these shards"),
        (lambda folder: (folder / "index.npz").write_bytes(b"PK"), "index.npz is truncated"),
        (lambda folder: (folder / "index.npz").unlink(), "index.npz is missing"),
        (lambda folder: sorted(folder.glob("*.tar"))[2].unlink(), "is missing though the manifest lists it"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json does not exist"),
        (lambda folder: (folder / "manifest.json").write_text("[" * 9000), "not a readable manifest"),
    ],
)
def test_damage_is_one_sentence(folder: Path, tmp_path: Path, harm: Callable[[Path], object], said: str) -> None:
    copy = tmp_path / "shards"
    shutil.copytree(folder, copy)
    harm(copy)
    with pytest.raises(UserError, match=said) as raised:
        list(PackedFolder.read(copy).batches(4))
    assert str(tmp_path) in str(raised.value) and "\n" not in str(raised.value)


def test_an_address_is_refused() -> None:
    with pytest.raises(UserError, match="is an address"):
        PackedFolder.read("s3://bucket/shards")


def test_the_format_has_one_name() -> None:
    """The packer and this reader take it from one module."""
    from bonestrap.recordings import format

    assert Manifest.__dataclass_fields__["version"].default is format.VERSION
