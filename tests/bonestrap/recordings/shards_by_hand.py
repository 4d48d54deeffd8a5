"""Shards of a few people, and what lies in them by the standard library's own reader of tar files."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from bonestrap.layouts import KINECT20
from shards.packing.pack import pack
from shards.sources.source import Performance, Source, View

SPLITS = (("own/train",), ("own/test", "other/train"))
LENGTHS = (3, 9, 20, 41, 2)


class People(Source):
    """Twelve performances before one or two cameras, alone or by two; every fifth has no label and no subject."""

    name = "nw-ucla"
    layout = KINECT20
    classes = ("bow", "wave", "kick")

    def __len__(self) -> int:
        return 12

    def key(self, number: int) -> str:
        return f"p{number:02}"

    def stamp(self, number: int) -> str:
        return ""

    def __getitem__(self, number: int) -> Performance:
        rng = np.random.default_rng(number)
        shape = (LENGTHS[number % 5], 1 + number % 2, len(self.layout.joints), 3)
        bodies = [(rng.normal(0, 0.4, shape[1:]) + rng.normal(0, 0.02, shape).cumsum(0)) for _ in range(1 + number % 3)]
        return Performance(
            key=self.key(number),
            label=None if number % 5 == 4 else number % 3,
            subject=None if number % 5 == 4 else 1 + number % 4,
            setup=None,
            replication=0,
            views=tuple(
                View(
                    camera=1 + camera,
                    joints=joints.astype(np.float32),
                    origin=f"{number}.{camera}",
                    splits=SPLITS[camera % 2],
                )
                for camera, joints in enumerate(bodies)
            ),
        )


def packed(folder: Path) -> Path:
    """The folder, which now holds them in several shards."""
    pack(People(), folder, shard_bytes=30_000)
    assert len(list(folder.glob("*.tar"))) > 2
    return folder


def by_tarfile(folder: Path) -> list[tuple[dict[str, Any], dict[str, Any], np.ndarray]]:
    """Of every recording: the description of its performance, its own, and its joints (T, M, V, C)."""
    found = []
    for shard in sorted(folder.glob("*.tar")):
        with tarfile.open(shard) as archive:
            content = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
        for name in [name for name in content if name.endswith(".json")]:
            performance = json.loads(content[name])
            for view in performance["views"]:
                data = content[f"{performance['key']}.{view['member']}"]
                found.append((performance, view, np.load(io.BytesIO(data))))
    return found
