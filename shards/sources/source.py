"""What every format adapter yields: performances, each seen by one or more cameras.

Legend: C coordinates, T frames, V joints, M bodies.

A source is a sequence: it knows its performances by name once it is open and reads any one of them on its own. That is
what lets many processes pack one source, and what lets an interrupted pack resume.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bonestrap import files
from bonestrap.layout import Layout
from shards.errors import DataError
from shards.packing.preprocess import Step


@dataclass(frozen=True, kw_only=True)
class View:
    """One recording of a performance. A body that is absent in a frame is NaN in all its joints there."""

    camera: int | None  # None where the source does not say
    joints: np.ndarray  # (T, M, V, C) float32, in the source's unit
    origin: str  # the file, relative to the source's folder: for messages and reports
    splits: tuple[str, ...] = ()  # parts of splits that the source declares; see `shards.index.Splits`


@dataclass(frozen=True, kw_only=True)
class Performance:
    """One action by one person or pair. What the source does not know is None."""

    key: str  # [A-Za-z0-9_-]+, unique in the source
    label: int | None
    subject: int | None
    setup: int | None
    replication: int | None
    views: tuple[View, ...]  # empty where every file of it was dropped
    dropped: tuple[tuple[str, str], ...] = ()  # (file, reason): files of it that hold nothing to pack


class Source(ABC):
    """An adapter: the same folder gives the same performances. It is pickled to the processes that read it."""

    name: str
    layout: Layout
    classes: tuple[str, ...]
    rate: float | None = None  # frames a second, where it is told with the recordings
    licence: str = ""  # their terms, where these are told with them
    cleaning: tuple[Step, ...] = ()  # what this format needs before the common preprocessing
    dropped: Sequence[tuple[str, str]] = ()  # (file, reason): files left out by their names, known without reading
    notices: Sequence[str] = ()  # what is doubtful about the recordings as a whole, in sentences, known without reading

    @abstractmethod
    def __len__(self) -> int:
        """Performances by name; some may turn out to hold nothing when they are read."""

    @abstractmethod
    def key(self, number: int) -> str:
        """The key of one performance, without reading it. Keys ascend with the number."""

    @abstractmethod
    def stamp(self, number: int) -> str:
        """What changes when the files of one performance change, without reading them; see `file_stamp`."""

    @abstractmethod
    def __getitem__(self, number: int) -> Performance:
        """Read one performance. Raises `DataError` naming the file that cannot be read."""

    def __iter__(self) -> Iterator[Performance]:
        """Read all of them, one at a time."""
        return (self[number] for number in range(len(self)))


def listed(paths: Iterable[Path]) -> list[Path]:
    """These files in the order of their names. DataError where one is a folder, a FIFO, a link that leads nowhere, or
    has a name that is not UTF-8: manifests and indexes are.
    """
    found = sorted(paths)
    for path in found:
        try:
            os.fsencode(path).decode()
            fault = files.strange(path.stat())
        except UnicodeDecodeError:
            fault = "its name is not UTF-8"
        except OSError as error:
            fault = (error.strerror or str(error)).lower()
        if fault:
            raise DataError(f"{os.fsencode(path).decode(errors='replace')}: {fault}; remove it or correct its name")
    return found


def file_stamp(*paths: Path) -> str:
    """Names, sizes and times of change of these files, as a short text."""
    parts = []
    for path in paths:
        status = path.stat()
        parts.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
