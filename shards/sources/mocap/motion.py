"""Motion capture: recordings of bodies in space, a file each, whose joints have names and which state their rate.

Legend: T frames, V joints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from bonestrap.files import check_size as check_bytes
from bonestrap.layout import Layout
from shards.errors import DataError
from shards.sources.names import find
from shards.sources.recorded import Clips
from shards.sources.source import file_stamp, listed
from shards.sources.units import UNITS, Unit, check_size

T = TypeVar("T")


class Head(NamedTuple):
    """What a file says of its recording before the numbers."""

    names: tuple[str, ...]  # of its joints or markers
    rate: float  # frames a second; 0 where the file does not say
    unit: Unit | None = None  # None where the file does not say


class Format(NamedTuple):
    """How the files of one format are read. Both functions raise ValueError without the file's name, or OSError."""

    ending: str
    head: Callable[[Path], Head]
    joints: Callable[[Path], np.ndarray]  # (T, V, 3) float64 in the file's unit; NaN where a joint is not seen


class Motion(Clips):
    """The recordings of a folder, each brought to the joints of a layout, to metres and, if given, to one rate.

    `unit` None takes each file's own, or `default` where it states none.
    """

    def __init__(
        self,
        root: Path,
        form: Format,
        layout: Layout | Callable[[Path], Layout],
        *,
        unit: Unit | None,
        default: Unit,
        rate: float | None = None,
    ) -> None:
        self.root, self.form, self.unit, self.default, self.wanted = Path(root), form, unit, default, rate
        paths = listed(path for path in self.root.rglob("*") if path.suffix.lower() == form.ending)
        if not paths:
            raise DataError(f"{self.root}: no {form.ending} files below it; give the folder that holds them as --input")
        self.names = [path.relative_to(self.root).as_posix() for path in paths]
        heads = [head for path in paths if (head := readable(form.head, path))]
        first = next((path for path in paths if readable(form.head, path)), paths[0])
        self.layout = layout if isinstance(layout, Layout) else layout(first)
        self.rate = rate or common(head.rate for head in heads)
        self.notices = [] if rate else mixed(head.rate for head in heads)

    def stamp(self, name: str) -> str:
        return file_stamp(self.root / name)

    def read(self, name: str) -> np.ndarray:
        path = self.root / name
        head, joints = checked(self.form.head, path), checked(self.form.joints, path)
        bodies = subjects(self.layout, head.names, str(path))
        joints = joints[:, [place for body in bodies for place in body]]
        if self.wanted:
            joints = resampled(joints, head.rate, self.wanted, str(path))
        unit = self.unit or head.unit or self.default
        placed = (joints * UNITS[unit]).astype(np.float32).reshape(len(joints), len(bodies), -1, 3)
        check_size(placed, unit, str(path))
        return placed


def readable(head: Callable[[Path], Head], path: Path) -> Head | None:
    """The head of a file; None of a broken one, which is reported when the whole file is read."""
    try:
        return head(path)
    except (ValueError, OSError):
        return None


def checked(read: Callable[[Path], T], path: Path) -> T:
    """What a function reads from a file. DataError naming the file where it cannot."""
    try:
        return read(path)
    except DataError:
        raise
    except (ValueError, OverflowError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a readable {path.suffix} file ({said}); repair or remove it") from None


def common(rates: Iterable[float]) -> float | None:
    """The frames a second that all recordings state, to a hundredth; None where they differ, or one states none."""
    known = {round(rate, 2) for rate in rates}
    return known.pop() or None if len(known) == 1 else None


def mixed(rates: Iterable[float]) -> list[str]:
    """A sentence where recordings differ in their frames a second."""
    known = sorted({round(rate, 2) for rate in rates if rate})
    if len(known) < 2:
        return []
    return [
        f"recordings have {known[0]:g} to {known[-1]:g} frames a second, and a frame counts the same in all; give "
        f"--rate {known[0]:g} to resample them"
    ]


def subjects(layout: Layout, names: Sequence[str], where: str) -> list[list[int]]:
    """The places of a layout's joints for each subject that has all of them: names before a colon tell them apart."""
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        groups.setdefault(name.rpartition(":")[0], []).append(place)
    found = []
    for places in groups.values() if len(groups) > 1 else ():
        try:
            found.append([places[at] for at in find(layout, [names[place] for place in places], where)])
        except DataError:  # a ball, or markers without a name
            continue
    return found or [find(layout, names, where)]


def resampled(joints: np.ndarray, rate: float, wanted: float, where: str) -> np.ndarray:
    """(T, V, 3) at `wanted` frames a second instead of `rate`, linear between frames; NaN beside a NaN stays NaN."""
    if not rate:
        raise DataError(f"{where}: it does not state its frames a second; leave out --rate, or remove the file")
    count = math.floor((len(joints) - 1) * wanted / rate + 1e-3) + 1 if len(joints) else 0
    check_bytes((count, *joints.shape[1:]), 8)
    place = np.minimum(np.arange(count) * rate / wanted, len(joints) - 1)
    place = np.where(np.abs(place - place.round()) < 1e-3, place.round(), place)
    before = np.floor(place).astype(int)
    part = (place - before)[:, None, None]
    after = np.minimum(before + 1, len(joints) - 1)
    return np.where(part > 0, joints[before] * (1 - part) + joints[after] * part, joints[before])
