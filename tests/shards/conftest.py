"""Small sources whose every number is known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from bonestrap.layout import Layout
from bonestrap.layouts import KINECT20
from shards.packing.pack import pack
from shards.packing.preprocess import Step
from shards.sources.datasets.nw_ucla import NWUCLA
from shards.sources.source import Performance, Source, View


@dataclass
class People(Source):
    """Performances given as a list, as a source."""

    performances: list[Performance]
    name: str = "people"
    layout: Layout = KINECT20
    classes: tuple[str, ...] = ("bow", "wave", "kick")
    cleaning: tuple[Step, ...] = ()
    dropped: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.performances)

    def key(self, number: int) -> str:
        return self.performances[number].key

    def stamp(self, number: int) -> str:
        views = self.performances[number].views
        return hashlib.sha256(b"".join(view.joints.tobytes() for view in views)).hexdigest()

    def __getitem__(self, number: int) -> Performance:
        return self.performances[number]


def joints(rng: np.random.Generator, frames: int, bodies: int = 1, layout: Layout = KINECT20) -> np.ndarray:
    """Random joints (T, M, V, 3) of the size of people, float32."""
    return rng.normal(0, 0.4, (frames, bodies, len(layout.joints), 3)).astype(np.float32)


@pytest.fixture(scope="session")
def people() -> Callable[..., People]:
    """Make a source of `count` performances: p has 1 + p % 3 views and label p % 3; every fourth is by two persons."""

    def make(count: int = 7, seed: int = 0) -> People:
        rng = np.random.default_rng(seed)
        performances = []
        for p in range(count):
            views = tuple(
                View(
                    camera=camera,
                    joints=joints(rng, int(rng.integers(3, 9)), 2 if p % 4 == 3 else 1),
                    origin=f"p{p:02}_c{camera}",
                    splits=((), ("split/test",), ("split/train", "other/test"))[p % 3],
                )
                for camera in range(1, 2 + p % 3)
            )
            performances.append(
                Performance(key=f"p{p:02}", label=p % 3, subject=1 + p % 4, setup=None, replication=p, views=views)
            )
        return People(performances)

    return make


@pytest.fixture
def folder(people: Callable[..., People], tmp_path: Path) -> Path:
    """Packed shards of the default source: several shards of a few samples each."""
    pack(people(), tmp_path / "shards", shard_bytes=4000)
    return tmp_path / "shards"


@pytest.fixture(scope="session")
def ucla(recordings_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real NW-UCLA recordings, packed once."""
    folder = tmp_path_factory.mktemp("nw-ucla") / "shards"
    pack(NWUCLA(recordings_root / "nw_ucla"), folder)
    return folder
