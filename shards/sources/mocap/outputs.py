"""What pipelines of several cameras leave behind: the folders of FreeMoCap and of Pose2Sim.

Legend: T frames, V joints, M bodies.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from bonestrap.files import check_size, opened, read_array
from bonestrap.layout import Layout
from bonestrap.layouts import LAYOUTS, MEDIAPIPE33
from shards.errors import DataError
from shards.sources.follow import bodies
from shards.sources.keypoints import joint_csv
from shards.sources.mocap import trc
from shards.sources.mocap.motion import Format, checked, common, mixed, readable, resampled
from shards.sources.names import find, fitting
from shards.sources.recorded import Clips
from shards.sources.source import file_stamp, listed
from shards.sources.units import UNITS

# FreeMoCap's body in space, in millimetres, the newest name first; the older ones hold hands and face behind it.
FREEMOCAP = (
    "mediapipe_body_3d_xyz.npy", "mediapipe_body_3d_xyz.csv", "mediapipe_skeleton_3d.npy",
    "mediaPipeSkel_3d_body_hands_face.npy",
)  # fmt: skip
TAKE = re.compile(r"(?P<take>.+?)(?:_P(?P<person>\d+))?_\d+-\d+(?P<filter>_filt_\w+?)?(?P<more>_LSTM.*)?")


class FreeMoCap(Clips):
    """Recordings of FreeMoCap: folders that hold `output_data`, each of one body as MediaPipe's 33 landmarks."""

    layout = MEDIAPIPE33

    def __init__(self, root: Path) -> None:
        found: dict[Path, Path] = {}
        for name in reversed(FREEMOCAP):
            found |= {path.parent: path for path in listed(root.rglob(name))}
        if not found:
            raise DataError(f"{root}: no {FREEMOCAP[0]} below it; give the folder of FreeMoCap's recordings as --input")
        self.root = root
        self.files: dict[str, Path] = {}
        for folder, path in found.items():
            recording = next((above for above in (folder, *folder.parents) if above.name == "output_data"), folder)
            home = recording.parent if recording.name == "output_data" else recording
            inside = home.is_relative_to(root) and home != root
            self.files[home.relative_to(root).as_posix() if inside else home.name] = path
        self.names = sorted(self.files)

    def stamp(self, name: str) -> str:
        return file_stamp(self.files[name])

    def read(self, name: str) -> np.ndarray:
        path = self.files[name]
        joints = checked(_csv if path.suffix == ".csv" else _npy, path)
        return (joints[:, None] * UNITS["millimetre"]).astype(np.float32)


def _csv(path: Path) -> np.ndarray:
    found = bodies(joint_csv.read(path, MEDIAPIPE33), 33)
    return found[:, 0, :, :3] if found.size else np.zeros((0, 33, 3))


def _npy(path: Path) -> np.ndarray:
    with opened(path) as file:
        joints = read_array(file, os.fstat(file.fileno()).st_size)
    if joints.ndim != 3 or joints.shape[1] < 33 or joints.shape[2] != 3 or joints.dtype.kind not in "fiu":
        raise ValueError(f"{joints.dtype} of {joints.shape}, and frames x 33 landmarks x 3 are expected")
    return np.array(joints[:, :33], dtype=np.float64)


class Pose2Sim(Clips):
    """Takes of Pose2Sim: the `.trc` files of the folders `pose-3d`, a file a person, all persons of a take together.

    Of the files of one person the filtered one is taken; augmented ones (LSTM) have other markers and are left out.
    """

    def __init__(self, root: Path, layout: Layout | None, rate: float | None = None) -> None:
        self.root, self.wanted = root, rate
        homes: dict[Path, dict[str, dict[int, Path]]] = {}
        for path in listed(root.rglob("*.trc")):
            match = TAKE.fullmatch(path.stem)
            if path.parent.name != "pose-3d" or not match or match["more"]:
                continue
            persons = homes.setdefault(path.parent.parent, {}).setdefault(match["take"], {})
            number = int(match["person"] or 0)
            if number not in persons or match["filter"]:
                persons[number] = path
        self.takes: dict[str, dict[int, Path]] = {}
        for home, takes in homes.items():
            name = home.relative_to(root).as_posix() if home != root else ""
            for take, persons in takes.items():
                self.takes[name if name and len(takes) == 1 else f"{name}/{take}".lstrip("/")] = persons
        if not self.takes:
            raise DataError(f"{root}: no pose-3d/*.trc below it; give the folder of Pose2Sim's takes as --input")
        self.names = sorted(self.takes)
        heads = [readable(trc.head, path) for persons in self.takes.values() for path in persons.values()]
        self.rate = rate or common(head.rate for head in heads if head)
        self.notices = [] if rate else mixed(head.rate for head in heads if head)
        names = next((head.names for head in heads if head), ())
        self.layout = layout or of_markers(names, str(root))

    def stamp(self, name: str) -> str:
        return file_stamp(*self.takes[name].values())

    def read(self, name: str) -> np.ndarray:
        tracks, first, last = [], 2**62, -1
        for _, path in sorted(self.takes[name].items()):
            head, found = checked(trc.head, path), checked(trc.track, path)
            unit = UNITS[head.unit or "metre"]
            tracks.append(
                (path, head.rate, found.frames, found.joints[:, find(self.layout, head.names, str(path))] * unit)
            )
            if len(found.frames):
                first, last = min(first, int(found.frames.min())), max(last, int(found.frames.max()))
        count = max(last - first + 1, 0)
        check_size((count, len(tracks), len(self.layout.joints), 3), 8)
        whole = np.full((count, len(tracks), len(self.layout.joints), 3), np.nan)
        for person, (_, _, frames, joints) in enumerate(tracks):
            whole[frames - first, person] = joints
        path, rate = tracks[0][:2]
        if {known for _, known, _, _ in tracks} != {rate}:
            raise DataError(
                f"{path}: the persons of a take differ in their frames a second; correct or remove the files"
            )
        if self.wanted:
            flat = resampled(whole.reshape(count, -1, 3), rate, self.wanted, str(path))
            whole = flat.reshape(len(flat), *whole.shape[1:])
        return whole.astype(np.float32)


def of_markers(names: tuple[str, ...], where: str) -> Layout:
    """The built-in layout, in space, with the most of these markers. DataError where none has all its joints there."""
    found = fitting(names, LAYOUTS.values())
    if found is None:
        shown = ", ".join(names[:5])
        raise DataError(
            f"{where}: its {len(names)} markers ({shown} ...) are those of no layout that is known; give --layout, a "
            "file with names of markers"
        )
    return replace(found, coordinates=3)


def of_file(form: Format, path: Path) -> Layout:
    """The built-in layout, in space, that fits the markers of a file."""
    return of_markers(checked(form.head, path).names, str(path))
