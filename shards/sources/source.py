"""What every format adapter yields: performances, each seen by one or more cameras.

Legend: C coordinates, T frames, V joints, M bodies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bonestrap.layouts import Layout
from shards.preprocess import Step


@dataclass(frozen=True, kw_only=True)
class View:
    """One recording of a performance. A body that is absent in a frame is NaN in all its joints there."""

    camera: int | None  # None where the source does not say
    joints: np.ndarray  # (T, M, V, C) float32, metres
    origin: str  # the file, relative to the source's folder: for messages and reports


@dataclass(frozen=True, kw_only=True)
class Performance:
    """One action by one person or pair. What the source does not know is None."""

    key: str  # [A-Za-z0-9_-]+, unique in the source
    label: int | None
    subject: int | None
    setup: int | None
    replication: int | None
    views: tuple[View, ...]  # at least one


class Source(Protocol):
    """An adapter: the same folder gives the same performances, sorted by key."""

    name: str
    layout: Layout
    classes: tuple[str, ...]
    cleaning: tuple[Step, ...]  # what this format needs before the common preprocessing
    dropped: list[tuple[str, str]]  # (file, reason); complete once the source was iterated

    def __iter__(self) -> Iterator[Performance]:
        """Read performances one at a time. Raises `DataError` naming the file that cannot be read."""
        ...

    def __len__(self) -> int:
        """Performances by name; iteration may yield fewer where files are dropped."""
        ...
