"""SBU Kinect Interaction (clean): two persons in every frame, 15 joints each, eight interactions, seven people.

Reads `sXXsYY/CC/NNN/skeleton_pos.txt` (active and passive person, class, repetition): one line a frame, its number and
2 x 15 x (x, y, z). Coordinates are normalised; the data set's own formula gives them back in millimetres. The pair is
the subject: s01s02 is subject 102.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from bonestrap.files import content
from bonestrap.layouts import SBU15
from shards.errors import DataError
from shards.sources.source import Performance, Source, View, file_stamp, listed

FOLDERS = re.compile(r"s(\d\d)s(\d\d)/(\d\d)/(\d\d\d)")
FILE = "skeleton_pos.txt"
JOINTS = len(SBU15.joints)

# x = 1280 - 2560 x', y = 960 - 1920 y', z = 10000 z' / 7.8125 in millimetres: the README of the data set.
OFFSET = np.array([1.280, 0.960, 0.0])
SCALE = np.array([-2.560, -1.920, 10 / 7.8125])

ACTIONS = (
    "approaching", "departing", "kicking", "punching", "pushing", "hugging", "shaking hands", "exchanging",
)  # fmt: skip


class SBU(Source):
    """The interactions of a folder of SBU. Raises DataError where the folder or a class is not theirs."""

    name = "sbu"
    layout = SBU15
    classes = ACTIONS

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._files: dict[str, tuple[re.Match[str], Path]] = {}
        for path in listed(path for path in self.root.glob("s*/*/*/*") if path.name == FILE):
            folder = path.parent.relative_to(self.root).as_posix()
            match = FOLDERS.fullmatch(folder)
            if not match:
                raise DataError(f"{path}: SBU's folders are sXXsYY/CC/NNN; rename or remove the file")
            if not 1 <= int(match[3]) <= len(ACTIONS):
                raise DataError(f"{path}: SBU has no class {match[3]}; remove the file or correct its folder")
            self._files[folder.replace("/", "_")] = match, path
        if not self._files:
            raise DataError(
                f"{self.root}: no sXXsYY/CC/NNN/{FILE} below it; give the folder that holds them as --input"
            )
        self._keys = sorted(self._files)

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, number: int) -> str:
        return self._keys[number]

    def stamp(self, number: int) -> str:
        return file_stamp(self._files[self._keys[number]][1])

    def __getitem__(self, number: int) -> Performance:
        key = self._keys[number]
        match, path = self._files[key]
        active, passive, action, repetition = map(int, match.groups())
        return Performance(
            key=key,
            label=action - 1,
            subject=100 * active + passive,
            setup=None,
            replication=repetition,
            views=(View(camera=1, joints=_read(path), origin=path.relative_to(self.root).as_posix()),),
        )


def _read(path: Path) -> np.ndarray:
    """One file's joints, (T, 2, 15, 3) float32 metres."""
    try:
        lines = content(path).decode("ascii").split()
        rows = np.loadtxt(lines, delimiter=",", ndmin=2) if lines else np.zeros((0, 0))
    except ValueError:
        rows = np.zeros((0, 0))
    if rows.shape[1] != 1 + 2 * JOINTS * 3 or not len(rows):
        raise DataError(f"{path}: not lines of {1 + 2 * JOINTS * 3} numbers; fetch the file again or remove it")
    return (OFFSET + SCALE * rows[:, 1:].reshape(-1, 2, JOINTS, 3)).astype(np.float32)
