"""Shards of random recordings, any number of them, made at the speed of the disk.

Every recording has one body and one length, so a shard is one sample repeated, with another key in every place where
the key stands: what packing would write, without packing.
"""

from __future__ import annotations

import dataclasses
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from bonestrap.layouts import NTU25
from shards import index
from shards.columns import Strings
from shards.index import Entry, StoredView, Table
from shards.manifest import Manifest, Shard, Stored, sha256
from shards.packing.samples import description, located, npy

DIGITS = 7
KEY = "p" + "0" * DIGITS
BLOCK, CHECKSUM = 512, slice(148, 154)  # of a tar header
POWERS = 10 ** np.arange(DIGITS)[::-1]
BANK = 64  # different recordings
FRAMES = 300  # of 25 joints in half precision: 45 kB


def make(folder: Path, count: int, *, frames: int = FRAMES, shard_bytes: int = 64 * 2**20) -> Manifest:
    """Write a folder of `count` performances, each one view of `frames` frames."""
    folder.mkdir(parents=True)
    joints = np.random.default_rng(0).normal(0, 0.4, (BANK, frames, 1, 25, 3)).astype(np.float16)
    view = StoredView(member="c1.npy", camera=1, frames=frames, bodies=1, copy_of=None, origin="made")
    entry = Entry(key=KEY, label=0, subject=1, setup=None, replication=None, views=(view,))
    sample = archived(KEY, {"json": description(entry), "c1.npy": npy(joints[0])})
    placed = located(entry, sample).views[0]
    template = np.tile(np.frombuffer(sample, np.uint8), (BANK, 1))
    end = placed.offset + placed.bytes
    template[:, end - joints[0].nbytes : end] = joints.reshape(BANK, -1).view(np.uint8)
    each = max(1, shard_bytes // len(sample))
    shards = []
    for number, first in enumerate(range(0, count, each)):
        numbers = np.arange(first, min(first + each, count))
        path = folder / f"shard-{number:05d}.tar"
        with path.open("wb") as file:
            for part in np.array_split(numbers, max(1, len(numbers) * len(sample) // 2**24)):  # 16 MiB at a time
                file.write(_named(template[part % BANK], sample, part).tobytes())
            file.write(bytes(2 * BLOCK))
        size = path.stat().st_size
        shards.append(
            Shard(file=path.name, bytes=size, sha256=sha256(path), performances=len(numbers), views=len(numbers))
        )
    index.write(folder, _table(count, each, len(sample), frames, placed))
    where = folder / index.FILE
    manifest = Manifest(
        name="made",
        layout=NTU25,
        classes=("anything",),
        dtype="float16",
        preprocessing=(),
        shards=tuple(shards),
        index=Stored(file=where.name, bytes=where.stat().st_size, sha256=sha256(where)),
        performances=count,
        views=count,
        frames=count * frames,
        dropped=(),
        created_by="a benchmark",
    )
    manifest.write(folder)
    return manifest


def archived(key: str, members: dict[str, bytes]) -> bytes:
    """The members of one sample without the blocks that end an archive, as packing writes it with webdataset."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(members.items()):
            member = tarfile.TarInfo(f"{key}.{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        end = archive.offset
    return buffer.getvalue()[:end]


def _named(samples: np.ndarray, sample: bytes, numbers: np.ndarray) -> np.ndarray:
    """The samples with their own keys, and with the checksums of the tar headers that hold them."""
    digits = (numbers[:, None] // POWERS % 10).astype(np.uint8)
    at = sample.find(KEY.encode())
    while at >= 0:
        samples[:, at + 1 : at + 1 + DIGITS] += digits
        if at % BLOCK == 0:
            base = int(sample[at:][CHECKSUM], 8)
            octal = (base + digits.sum(1))[:, None] // 8 ** np.arange(6)[::-1] % 8
            samples[:, at + CHECKSUM.start : at + CHECKSUM.stop] = octal + ord("0")
        at = sample.find(KEY.encode(), at + 1)
    return samples


def _table(count: int, each: int, size: int, frames: int, placed: StoredView) -> Table:
    numbers = np.arange(count)
    one = index.table([Entry(key="", label=0, subject=1, setup=None, replication=None, views=(placed,))])
    keys = np.full((count, 1 + DIGITS), ord("p"), dtype=np.uint8)
    keys[:, 1:] = numbers[:, None] // POWERS % 10 + ord("0")
    same: dict[str, Any] = {name: np.repeat(getattr(one, name), count) for name in _columns(one)}
    return Table(
        **{
            **same,
            "shard": (numbers // each).astype(np.int32),
            "first_view": np.arange(count + 1),
            "offset": numbers % each * size + placed.offset,
            "key": Strings(keys.reshape(-1), np.arange(count + 1) * (1 + DIGITS)),
            "origin": Strings(np.tile(one.origin.blob, count), np.arange(count + 1) * len(one.origin.blob)),
            "members": one.members,
            "split_sets": one.split_sets,
        }
    )


def _columns(table: Table) -> list[str]:
    return [f.name for f in dataclasses.fields(table) if isinstance(getattr(table, f.name), np.ndarray)]
