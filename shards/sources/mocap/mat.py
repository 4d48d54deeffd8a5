"""MATLAB files with joints: UTD-MHAD's skeletons and others like them, and the annotations of JHMDB and Penn Action.

Legend: C coordinates, T frames, V joints.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bonestrap.files import content
from shards.errors import DataError
from shards.sources import declare
from shards.sources.recorded import Clips
from shards.sources.source import file_stamp, listed
from shards.sources.table import Table, tabled
from shards.sources.units import UNITS, Unit, check_size

UTD_NAME = re.compile(r"a(\d+)_s(\d+)_t(\d+)_skeleton")
# UTD-MHAD's joints begin with head, shoulder centre, spine and hip centre; those of kinect20 with these four reversed.
UTD_ORDER = [3, 2, 1, 0, *range(4, 20)]
UTD_CLASSES = (
    "swipe left", "swipe right", "wave", "clap", "throw", "arm cross", "basketball shoot", "draw x",
    "draw circle clockwise", "draw circle counter clockwise", "draw triangle", "bowling", "boxing", "baseball swing",
    "tennis swing", "arm curl", "tennis serve", "push", "knock", "catch", "pickup and throw", "jog", "walk",
    "sit to stand", "stand to sit", "lunge", "squat",
)  # fmt: skip
JHMDB_FILE = "joint_positions.mat"
JHMDB_LISTS = range(1, 4)
FAULTS = (ValueError, TypeError, KeyError, IndexError, NotImplementedError, EOFError, OverflowError, zlib.error)


class Mat(Clips):
    """Recordings of a MATLAB file each; `read` makes (T, 1, V, C) of its variables, in `unit` if in space."""

    def __init__(
        self,
        files: Mapping[str, Path],
        variables: Sequence[str],
        read: Callable[[dict[str, Any]], np.ndarray],
        unit: Unit | None = None,
    ) -> None:
        self.files, self.variables, self._read, self.unit = files, list(variables), read, unit
        self.names = sorted(files)

    def stamp(self, name: str) -> str:
        return file_stamp(self.files[name])

    def read(self, name: str) -> np.ndarray:
        path = self.files[name]
        held = load(path, self.variables)
        try:
            joints = np.asarray(self._read(held), dtype=np.float32)
        except FAULTS as error:
            raise DataError(f"{path}: {error}; repair or remove the file, or choose what fits it") from None
        if self.unit:
            joints *= np.float32(UNITS[self.unit])
            check_size(joints, self.unit, str(path))
        return joints


def load(path: Path, variables: Sequence[str]) -> dict[str, Any]:
    """Variables of a MATLAB file. DataError naming it where it is none, or lacks one."""
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ModuleNotFoundError:
        raise DataError(f"{path}: reading MATLAB files needs the scipy package; pip install scipy") from None
    try:
        data = io.BytesIO(content(path))
    except ValueError as error:
        raise DataError(f"{path}: {error}; remove it") from None
    try:
        found: dict[str, Any] = loadmat(data, variable_names=list(variables))
    except NotImplementedError:
        raise DataError(f"{path}: MATLAB's format 7.3 is not read; save it again with -v7") from None
    except (MatReadError, OSError, *FAULTS) as error:  # OSError where the bytes end too early
        raise DataError(f"{path}: not a readable MATLAB file ({error!s:.100}); repair or remove it") from None
    if lost := [name for name in variables if name not in found]:
        raise DataError(f"{path}: it holds no variable {lost[0]}; remove the file, or name the right one")
    return found


def files(root: Path) -> dict[str, Path]:
    """All `.mat` files below a folder, by their names. DataError where there are none."""
    found = {path.relative_to(root).as_posix(): path for path in listed(root.rglob("*.mat"))}
    if not found:
        raise DataError(f"{root}: no .mat files below it; give the folder that holds them as --input")
    return found


def utd_table(names: Sequence[str]) -> Table | None:
    """What names like `a1_s1_t1_skeleton.mat` say; None where one is different. Odd subjects train, as published."""
    matches = [UTD_NAME.fullmatch(Path(name).stem) for name in names]
    if not all(match and 1 <= int(match[1]) <= len(UTD_CLASSES) for match in matches):
        return None
    actions, subjects, times = zip(*(map(int, match.groups()) for match in matches if match), strict=True)
    columns = {
        "file": list(names),
        "label": [UTD_CLASSES[action - 1] for action in actions],
        "subject": list(map(str, subjects)),
        "replication": list(map(str, times)),
        declare.DEFAULT: ["train" if subject % 2 else "test" for subject in subjects],
    }
    return tabled(columns, "UTD-MHAD", UTD_CLASSES)


def array(held: dict[str, Any], name: str, axes: str, joints: int, order: Sequence[int] | None = None) -> np.ndarray:
    """(T, 1, V, C) of the variable `name`, whose axes are those letters in this order; NaN where a body is all zero."""
    found = held[name]
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu" or found.ndim != 3:
        raise ValueError(f"{name} is not an array of numbers with three axes")
    moved = np.einsum(f"{axes}->TVC", found)
    if moved.shape[1] != joints:
        raise ValueError(f"{name} has {moved.shape[1]} joints where the layout has {joints}")
    moved = moved[:, order] if order is not None else moved
    empty = ~np.isfinite(moved).any((1, 2)) | (moved == 0).all((1, 2))
    return np.where(empty[:, None, None], np.nan, moved)[:, None]


def jhmdb(root: Path) -> tuple[dict[str, Path], Table]:
    """The annotations of JHMDB by CLASS/CLIP, and its classes and three splits, as far as their lists are there."""
    paths = listed(root.rglob(JHMDB_FILE))
    found = {"/".join(path.parts[-3:-1]): path for path in paths}
    if not found:
        raise DataError(f"{root}: no CLASS/CLIP/{JHMDB_FILE} below it; give JHMDB's folder as --input")
    names = sorted(found)
    columns = {"file": names, "label": [name.partition("/")[0] for name in names]}
    for number in JHMDB_LISTS:
        parts: dict[str, str] = {}
        for path in listed(root.rglob(f"*_test_split{number}.txt")):
            folder = path.name.removesuffix(f"_test_split{number}.txt")
            for line in content(path).decode("utf-8", "replace").splitlines():
                clip, _, part = line.strip().rpartition(" ")
                parts[f"{folder}/{Path(clip).stem}"] = {"1": "train", "2": "test"}.get(part, "")
        if parts:
            columns[f"{declare.DEFAULT}{number}"] = [parts.get(name, "") for name in names]
    return found, tabled(columns, str(root), tuple(sorted(set(columns["label"]))))


def jhmdb_joints(held: dict[str, Any]) -> np.ndarray:
    """(T, 1, 15, 3) of `pos_img`, (2, 15, T) pixels; all are annotated, so confidence is 1."""
    places = array(held, "pos_img", "CVT", 15)
    return np.concatenate([places, np.where(np.isnan(places[..., :1]), np.nan, 1)], axis=-1)


def penn(root: Path) -> tuple[dict[str, Path], Table]:
    """The annotations of Penn Action, `labels/NNNN.mat`, and what they say of classes and of the published split."""
    found = files(root)
    names = sorted(found)
    held = [load(found[name], ("action", "train")) for name in names]
    labels = [str(np.asarray(one["action"]).reshape(-1)[0]) for one in held]
    parts = ["train" if float(np.asarray(one["train"]).reshape(-1)[0]) > 0 else "test" for one in held]
    columns = {"file": names, "label": labels, declare.DEFAULT: parts}
    return found, tabled(columns, str(root), tuple(sorted(set(labels))))


def penn_joints(held: dict[str, Any]) -> np.ndarray:
    """(T, 1, 13, 3) of `x`, `y` and `visibility`, each (T, 13)."""
    joints = np.stack([np.asarray(held[name], dtype=np.float32) for name in ("x", "y", "visibility")], axis=-1)
    if joints.ndim != 3 or joints.shape[1] != 13:
        raise ValueError(f"x of {joints.shape[:-1]} where frames x 13 joints are expected")
    return joints[:, None]
