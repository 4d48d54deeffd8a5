"""Verification: whole shards pass, and every kind of damage is found and names its file."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shards import index
from shards.manifest import Manifest, Stored, sha256
from shards.packing.pack import pack
from shards.packing.parallel import Processes
from shards.packing.verification import verify_folder


def faults(folder: Path) -> tuple[str, ...]:
    return verify_folder(folder).faults


def rewrite(folder: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> None:
    """Change members of the second shard and make the manifest's hash and the index's places fit again."""
    path = folder / "shard-00001.tar"
    places, out = {}, io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            data = old.extractfile(member)
            assert data is not None
            changed = change(member.name, data.read())
            if changed:
                info = tarfile.TarInfo(changed[0])
                info.size = len(changed[1])
                new.addfile(info, io.BytesIO(changed[1]))
    path.write_bytes(out.getvalue())
    with tarfile.open(path) as tar:
        places = {member.name: (member.offset_data, member.size) for member in tar}
    entries = []
    for entry in index.read(folder):
        views = [
            dataclasses.replace(v, offset=places[name][0], bytes=places[name][1])
            if (name := f"{entry.key}.{v.member}") in places
            else v
            for v in entry.views
        ]
        entries.append(dataclasses.replace(entry, views=tuple(views)))
    index.write(folder, entries)
    manifest = Manifest.read(folder)
    shards = list(manifest.shards)
    shards[1] = dataclasses.replace(shards[1], bytes=path.stat().st_size, sha256=sha256(path))
    where = folder / index.FILE
    stored = Stored(file=where.name, bytes=where.stat().st_size, sha256=sha256(where))
    dataclasses.replace(manifest, shards=tuple(shards), index=stored).write(folder)


@pytest.mark.parametrize("workers", [1, 2])
def test_whole_shards_pass(folder: Path, workers: int) -> None:
    seen: list[tuple[int, int]] = []
    verdict = verify_folder(
        folder, spread=Processes(workers, eager=True), progress=lambda done, total: seen.append((done, total))
    )
    manifest = Manifest.read(folder)
    assert (verdict.manifest, verdict.faults) == (manifest, ())
    assert verdict.members == manifest.performances + manifest.views
    assert seen == [(n + 1, len(manifest.shards)) for n in range(len(manifest.shards))]


def test_float32_and_planar_joints_pass(people: Callable, tmp_path: Path) -> None:
    pack(people(), tmp_path / "out", dtype="float32")
    assert faults(tmp_path / "out") == ()


@pytest.mark.parametrize("name", ["shard-00001.tar", "index.npz"])
@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "gone"])
def test_a_damaged_file_is_named(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-600] if damage == "cut" else data + b"more")
    (fault,) = faults(folder)
    said = {"flip": "is damaged: its SHA-256", "cut": "is truncated", "grow": "is too long", "gone": "is missing"}
    assert fault.startswith(f"{path} {said[damage]}") and "repack it" in fault


def test_a_cut_at_a_member_border_says_what_is_lost(folder: Path) -> None:
    path = folder / "shard-00001.tar"
    with tarfile.open(path) as tar:
        border = tar.getmembers()[-1].offset
        last = tar.getmembers()[-1].name
    path.write_bytes(path.read_bytes()[:border])
    (fault,) = faults(folder)
    assert fault.startswith(f"{path} is truncated") and fault.endswith(
        f"(lost: member {last} and what follows it is missing)"
    )


def test_every_damaged_file_is_listed(folder: Path) -> None:
    for name in ("shard-00000.tar", "shard-00002.tar"):
        (folder / name).write_bytes(b"")
    assert [fault.split(" ")[0] for fault in faults(folder)] == [
        str(folder / "shard-00000.tar"),
        str(folder / "shard-00002.tar"),
    ]


def test_damaged_shards_are_found_without_an_index(folder: Path) -> None:
    (folder / index.FILE).unlink()
    (folder / "shard-00002.tar").unlink()
    assert [fault.split(" ")[0] for fault in faults(folder)] == [
        str(folder / "index.npz"),
        str(folder / "shard-00002.tar"),
    ]


def test_no_manifest_no_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "manifest.json").unlink()
    assert "manifest.json is missing" in faults(folder)[0]
    assert "no such folder of shards" in faults(tmp_path / "nowhere")[0]


def test_a_left_over_shard_is_named(folder: Path) -> None:
    (folder / "shard-00099.tar").write_bytes(b"")
    assert faults(folder) == (
        f"{folder / 'shard-00099.tar'} is none of these shards, perhaps of an interrupted append; append again, or "
        "remove it",
    )


def npy(array: np.ndarray, pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


def changed_array(make: Callable[[np.ndarray], bytes]) -> Callable[[str, bytes], tuple[str, bytes]]:
    def change(name: str, data: bytes) -> tuple[str, bytes]:
        return (name, make(np.load(io.BytesIO(data)))) if name.endswith("c1.npy") else (name, data)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed_array(lambda x: npy(x * np.float16(np.nan))), "holds NaN or infinite joints"),
        (changed_array(lambda x: npy(x[:-1])), "holds float16 ("),
        (changed_array(lambda x: npy(x.astype(np.float32))), "holds float32 ("),
        (changed_array(lambda x: npy(np.array([None]), pickled=True)), "not readable (an array of object"),
        (
            lambda name, data: (name, b"{}") if name.endswith("json") else (name, data),
            "says other things than the index",
        ),
        (lambda name, data: (name, b"{") if name.endswith("json") else (name, data), "not readable ("),
        (lambda name, data: (f"../{name}", data) if name.endswith("json") else (name, data), "member '../p"),
        (lambda name, data: None if name.endswith("c1.npy") else (name, data), "where 'p02.c1.npy' belongs"),
        (lambda name, data: None if name.endswith("json") else (name, data), "p02.json and what follows it is missing"),
        (lambda name, data: None, "member p02.c1.npy and what follows it is missing"),
    ],
)
def test_members_that_are_not_what_the_index_says(
    folder: Path, change: Callable[[str, bytes], tuple[str, bytes] | None], said: str
) -> None:
    rewrite(folder, change)
    found = faults(folder)
    assert found and all(fault.startswith(f"{folder / 'shard-00001.tar'}: ") and said in fault for fault in found)


def test_an_index_of_other_recordings_is_found(folder: Path) -> None:
    entries = [dataclasses.replace(entry, label=0) for entry in index.read(folder)]
    index.write(folder, entries)
    manifest, where = Manifest.read(folder), folder / index.FILE
    stored = Stored(file=where.name, bytes=where.stat().st_size, sha256=sha256(where))
    dataclasses.replace(manifest, index=stored).write(folder)
    assert len(faults(folder)) == sum(json_label != 0 for json_label in labels(folder))


def labels(folder: Path) -> list[int]:
    found = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    data = tar.extractfile(member)
                    assert data is not None
                    found.append(json.loads(data.read())["label"])
    return found
