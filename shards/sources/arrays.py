"""Any folder of `.npy` and `.npz` files: a data set of one's own without a line of Python.

Each array is one recording, (T, V, C) of one person or (T, M, V, C) of several, or in any other order of these axes. An
`.npz` of several arrays holds several recordings, named FILE/ARRAY. A body is absent from a frame in which all its
coordinates are zero or NaN; a single joint at exactly zero is missing, as one that is NaN.

Legend: C numbers a joint, T frames, V joints, M bodies.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Literal

import numpy as np

from bonestrap import files
from bonestrap.layout import Layout
from shards.errors import DataError
from shards.packing.preprocess import detected
from shards.sources.recorded import Clips, Recorded
from shards.sources.source import file_stamp, listed
from shards.sources.table import Table
from shards.sources.units import UNITS, Unit, check_scores, check_size

Confidence = Literal["none", "hide", "keep"]
ORDERS = ("TVC", "CTV", "TCV", "VTC", "VCT", "CVT", "CTVM", "MTVC", "MCTV", "TVCM", "TVMC", "TMVC", "CVTM", "TMCV")


class Arrays(Clips):
    """The arrays of a folder. `axes` is the order of their axes, such as "CTVM"; None: T V C or T M V C.

    `scored`: whether the last number of a joint is its confidence. `unit` is that of coordinates in space.
    """

    def __init__(
        self, root: Path, layout: Layout, *, axes: str | None = None, unit: Unit = "metre", scored: bool = False
    ) -> None:
        self.root = Path(root)
        self.layout = layout
        self.axes = check_axes(axes) if axes else None
        self.unit: Unit = unit
        self.numbers = layout.coordinates + scored
        found = listed(path for path in self.root.rglob("*") if path.suffix in (".npy", ".npz"))
        if not found:
            raise DataError(f"{self.root}: no .npy or .npz files below it; give the folder that holds them as --input")
        self.names = [name for path in found for name in self._inside(path)]

    def stamp(self, name: str) -> str:
        return file_stamp(self._file(name)[0])

    def read(self, name: str) -> np.ndarray:
        path, member = self._file(name)
        try:
            joints = _array(path, member)
        except ValueError as error:
            raise DataError(f"{path}: not a readable array ({str(error).splitlines()[0]})") from None
        if joints.dtype.kind not in "fiu":
            raise DataError(f"{self._origin(path)}: an array of {joints.dtype}, not of numbers; save joints as numbers")
        return self._prepared(joints, name)

    def _prepared(self, joints: np.ndarray, name: str) -> np.ndarray:
        axes = self.axes or {3: "TVC", 4: "TMVC"}.get(joints.ndim, "TMVC")
        self._check_shape(joints.shape, axes, name)
        joints = np.einsum(f"{axes}->{''.join(axis for axis in 'TMVC' if axis in axes)}", joints)
        joints = joints if "M" in axes else joints[:, None]
        joints = np.array(joints, dtype=np.float32)  # a copy: what follows changes it
        places = joints[..., : self.layout.coordinates]
        if self.layout.coordinates == 3:
            check_scores(joints, self.layout, name)
            places *= np.float32(UNITS[self.unit])
            check_size(places, self.unit, name)
        joints[(np.isnan(places) | (places == 0)).all(axis=(2, 3))] = np.nan
        return joints

    def _check_shape(self, shape: tuple[int, ...], axes: str, name: str) -> None:
        """Raise DataError, naming the option that is meant, unless an array of this shape has the layout's joints."""
        count = len(self.layout.joints)
        size = dict(zip(axes, shape, strict=len(axes) == len(shape)))
        if len(axes) == len(shape) and (size["V"], size["C"]) == (count, self.numbers):
            return
        wanted = f"{name}: {shape} is not {axes} of {count} joints x {self.numbers} numbers (layout {self.layout.name})"
        flat = next((numbers for numbers in (self.numbers, 2, 3) if shape[1:] == (count * numbers,)), None)
        if flat:
            raise DataError(f"{wanted}, but flat; reshape each array to frames x joints x {flat} and save it again")
        other = next((order for order in ORDERS if len(order) == len(shape) and self._fits(shape, order)), None)
        if other:
            raise DataError(f"{wanted}; give --axes {other}")
        if len(axes) == len(shape) and size["V"] == count and size["C"] == self.layout.coordinates + 1:
            raise DataError(f"{wanted}; where the last number is a confidence, give --confidence hide (or keep)")
        if len(axes) == len(shape) and size["V"] == count and size["C"] in (2, 3):
            raise DataError(f"{wanted}; give --coordinates {size['C']}, or correct --confidence")
        raise DataError(f"{wanted}; correct --layout or --axes")

    def _fits(self, shape: tuple[int, ...], axes: str) -> bool:
        return (shape[axes.index("V")], shape[axes.index("C")]) == (len(self.layout.joints), self.numbers)

    def _inside(self, path: Path) -> list[str]:
        origin = self._origin(path)
        if path.suffix == ".npy":
            return [origin]
        try:
            with files.unzipped(path) as file:
                members = [member.removesuffix(".npy") for member in file.namelist()]
        except ValueError as error:
            raise DataError(f"{path}: not a readable .npz file ({error})") from None
        return [origin] if len(members) == 1 else [f"{origin}/{member}" for member in sorted(members)]

    def _file(self, name: str) -> tuple[Path, str]:
        file, ending, member = name.partition(".npz/")
        return self.root / (file + ending.rstrip("/")), member

    def _origin(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _array(path: Path, member: str) -> np.ndarray:
    """The array of an `.npy` file, or one of an `.npz` file: of no name, its only one."""
    if path.suffix == ".npz":
        with files.unzipped(path) as archive:
            return files.read_member(archive, member or archive.namelist()[0])
    with files.opened(path) as file:
        return files.read_array(file, os.fstat(file.fileno()).st_size)


def arrays(
    root: Path,
    *,
    name: str,
    layout: Layout,
    table: Table | None = None,
    axes: str | None = None,
    unit: Unit = "metre",
    confidence: Confidence = "none",
    min_confidence: float = 0.1,
) -> Recorded:
    """The source of a folder of arrays. Single missing joints, NaN or exactly zero, are interpolated.

    `confidence` says whether the last number of each joint is its detector's confidence: "hide" interpolates joints
    below `min_confidence`, "keep" hands it on to the encoder as well. `unit` is that of coordinates in space.
    """
    layout = dataclasses.replace(layout, confidence=confidence == "keep")
    cleaning = detected(layout, least=None if confidence == "none" else min_confidence)
    clips = Arrays(root, layout, axes=axes, unit=unit, scored=confidence != "none")
    return Recorded(clips, name=name, layout=layout, table=table, cleaning=cleaning)


def check_axes(axes: str) -> str:
    """ValueError unless these are the letters of time, bodies (if any), joints and coordinates in some order."""
    if sorted(axes) not in (sorted("TVC"), sorted("TMVC")):
        raise ValueError(f"axes must be the letters T, V, C and, of several bodies, M in some order, got {axes}")
    return axes
