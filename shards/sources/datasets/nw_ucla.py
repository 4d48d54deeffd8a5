"""Northwestern-UCLA Multiview Action3D: Kinect v1, 20 joints, three cameras, ten actions, ten subjects.

Reads a folder of `aAA_sSS_eEE_vVV.json` files (action, subject, event, camera), as published with CTR-GCN, directly or
in `all_sqe/`. A performance is one (action, subject, event). One person, seen in every frame.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np

from bonestrap.files import read_json
from bonestrap.layouts import KINECT20
from shards.errors import DataError
from shards.sources.source import Performance, Source, View, file_stamp, listed

NAME = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)")

# The files number the actions with gaps; labels follow this order.
ACTIONS = {
    1: "pick up with one hand",
    2: "pick up with two hands",
    3: "drop trash",
    4: "walk around",
    5: "sit down",
    6: "stand up",
    8: "donning",
    9: "doffing",
    11: "throw",
    12: "carry",
}
LABELS = {action: label for label, action in enumerate(ACTIONS)}
NEAREST = 0.4  # metres from the camera; a joint that the tracker puts nearer, or behind it, is there in the image
PLANAR = dataclasses.replace(KINECT20, name="kinect20-planar", coordinates=2)


class NWUCLA(Source):
    """The performances of a folder of NW-UCLA files. Raises DataError where the folder or a name is not theirs.

    With `planar`, joints are (x / z, -y / z) of the camera's coordinates: a pinhole image of unit focal length, y down.
    """

    name = "nw-ucla"
    layout = KINECT20
    classes = tuple(ACTIONS.values())

    def __init__(self, root: Path, *, planar: bool = False) -> None:
        self.root = Path(root)
        self.planar = planar
        if planar:
            self.layout = PLANAR
        folder = self.root / "all_sqe" if (self.root / "all_sqe").is_dir() else self.root
        self._files: dict[str, dict[int, Path]] = {}
        for path in listed(folder.glob("a*_s*_e*_v*.json")):
            match = NAME.fullmatch(path.stem)
            if not match:
                raise DataError(f"{path}: names are aAA_sSS_eEE_vVV.json in NW-UCLA; rename or remove the file")
            if int(match[1]) not in LABELS:
                raise DataError(f"{path}: NW-UCLA has no action {match[1]}; remove the file or correct its name")
            self._files.setdefault(path.stem.rpartition("_")[0], {})[int(match[4])] = path
        if not self._files:
            raise DataError(f"{self.root}: no aAA_sSS_eEE_vVV.json files; give the folder that holds them as --input")
        self._keys = sorted(self._files)

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, number: int) -> str:
        return self._keys[number]

    def stamp(self, number: int) -> str:
        return file_stamp(*self._files[self._keys[number]].values())

    def __getitem__(self, number: int) -> Performance:
        key = self._keys[number]
        action, subject, event = (int(part[1:]) for part in key.split("_"))
        return Performance(
            key=key,
            label=LABELS[action],
            subject=subject,
            setup=None,
            replication=event,
            views=tuple(
                View(camera=camera, joints=self._joints(path), origin=path.relative_to(self.root).as_posix())
                for camera, path in sorted(self._files[key].items())
            ),
        )

    def _joints(self, path: Path) -> np.ndarray:
        joints = _read(path)
        if not self.planar:
            return joints
        x, y, depth = np.moveaxis(joints, -1, 0)
        depth = np.maximum(depth, NEAREST)
        return np.stack((x / depth, -y / depth), -1).astype(np.float32)


def _read(path: Path) -> np.ndarray:
    """One file's joints, (T, 1, 20, 3) float32 metres."""
    try:
        joints = np.array(read_json(path)["skeletons"], dtype=np.float32)
        if joints.ndim != 3:
            raise ValueError(f"skeletons of the shape {joints.shape}, not frames x joints x 3")
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(f"{path}: not a readable NW-UCLA recording ({error}); fetch the file again") from None
    return joints[:, None]
