"""Keypoints of videos, a folder a video, made once: what an interrupted or repeated pack finds and does not do again.

A video is decoded as a stream and its keypoints are written clip by clip, so memory does not depend on its length. Its
folder has its name only when the whole video was read; a video that cannot be read to its end leaves the reason alone.
Persons are followed through `PART` clips, then the networks start anew: so where an earlier process of this machine
stopped inside a video, its finished parts are kept, and the result is the same as without the stop::

    <digest>/video.json  name, frames a second, size, frames of each clip, how many of them show a person; or the reason
    <digest>/00000.npz   frame (N,), track (N,) or -1, joints (N, V, 3), world (N, V, 4) or (N, 0, 4), frames ()

The digest is of the video's name, size and time of change, of the networks and of every option that counts.

Legend: N persons in frames, V joints.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bonestrap.files import read_member, read_object, unzipped, write_atomically
from shards.errors import DataError
from shards.sources.follow import Clip, Detection
from shards.sources.source import file_stamp
from shards.sources.video.frames import Video, VideoFault
from shards.sources.video.networks import Networks
from shards.sources.video.person import Person, lasting

VERSION = 2  # of what the files hold, and of how they are made
HEAD = "video.json"
PART = 30  # clips through which persons are followed, and after which an interrupted video goes on
TRACKS = 1 << 20  # more than the persons of a part: no two parts share a number


@dataclass(frozen=True, kw_only=True)
class Found:
    """What became of one video."""

    name: str
    folder: Path
    reason: str = ""  # why it is left out; then there is nothing else
    rate: float = 0.0
    width: int = 0
    height: int = 0
    clips: tuple[int, ...] = ()  # frames of each
    seen: tuple[int, ...] = ()  # of them, those with a person

    @property
    def paths(self) -> list[Path]:
        return [self.folder / f"{number:05d}.npz" for number in range(len(self.clips))]


@dataclass(frozen=True, kw_only=True)
class Extract:
    """Finds the keypoints of a video below `root`, in whatever process it is called."""

    root: Path
    home: Path  # of the folders of keypoints
    networks: Networks
    rate: float | None  # frames a second that are read; None: all
    seconds: float  # of a clip; the last one of a video has half of it to one and a half

    def __call__(self, name: str) -> Found:
        """What became of the video: made now, or found."""
        folder = self.home / self.digest(name)
        if not (folder / HEAD).is_file():
            self._make(name, folder)
        return _read_head(folder)

    def digest(self, name: str) -> str:
        """Of everything that the keypoints of a video depend on."""
        settings = [VERSION, name, file_stamp(self.root / name), self.networks.digest, self.rate, self.seconds]
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:24]

    def _make(self, name: str, folder: Path) -> None:
        partial = self._claimed(folder)
        try:
            head = self._found(self.root / name, partial)
        except VideoFault as fault:
            shutil.rmtree(partial)
            partial.mkdir()
            head = {"reason": str(fault)}
        write_atomically(partial / HEAD, json.dumps({"name": name, **head}, ensure_ascii=False) + "\n")
        shutil.rmtree(folder, ignore_errors=True)  # without a head: not of this program
        partial.rename(folder)

    def _claimed(self, folder: Path) -> Path:
        """This process's folder of an unfinished video: the one that a process which is no more has left, or new."""
        here = f".{folder.name}.{platform.node().replace('.', '-')}."
        partial = folder.with_name(f"{here}{os.getpid()}.partial")
        for left in sorted(folder.parent.glob(f"{here}*.partial")):
            if not _alive(int(left.name.removeprefix(here).removesuffix(".partial"))):
                with suppress(OSError):  # another process was faster
                    left.rename(partial)
        partial.mkdir(parents=True, exist_ok=True)
        return partial

    def _found(self, path: Path, folder: Path) -> dict[str, Any]:
        """Write the clips of a video; what its head says. VideoFault where it is left out."""
        with Video(path, self.rate) as video:
            length = max(2, round(self.seconds * video.rate))
            seen = _finished(folder)
            clips = [length] * len(seen)
            pending: list[list[Person]] = []
            for persons in self._persons(video, PART * length, len(seen) // PART):
                pending.append(persons)
                if len(pending) > length + length // 2:
                    seen.append(write_clip(folder / f"{len(clips):05d}.npz", pending[:length]))
                    clips.append(length)
                    del pending[:length]
            if not clips and len(pending) < 2:
                raise VideoFault("a single frame, and a clip has two or more" if pending else "no frames in it")
            seen.append(write_clip(folder / f"{len(clips):05d}.npz", pending))
            clips.append(len(pending))
        if not any(seen):
            raise VideoFault("nobody found in any frame")
        return {"rate": video.rate, "width": video.width, "height": video.height, "clips": clips, "seen": seen}

    def _persons(self, video: Video, frames: int, done: int) -> Iterator[list[Person]]:
        """The persons of every frame, in parts of so many frames that are found each by itself; without those done."""
        for part, images in itertools.groupby(enumerate(video), lambda one: one[0] // frames):
            if part < done:
                continue  # the frames are decoded and passed over: no container lets one start at a frame exactly
            estimator = self.networks.build(video.rate)
            for persons in lasting(estimator(image) for _, image in images):
                yield [
                    person if person.track is None else person._replace(track=person.track + part * TRACKS)
                    for person in persons
                ]


def _finished(folder: Path) -> list[int]:
    """How many frames of each clip of the finished parts in a folder show a person; what else lies there is removed."""
    kept = set(folder.glob("[0-9]*.npz"))
    whole = next(number for number in itertools.count() if folder / f"{number:05d}.npz" not in kept) // PART * PART
    paths = [folder / f"{number:05d}.npz" for number in range(whole)]
    for path in folder.iterdir():
        if path not in paths:
            path.unlink()
    return [len({one.frame for one in read_clip([path]).detections}) for path in paths]


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_clip(path: Path, frames: Sequence[Sequence[Person]]) -> int:
    """Write the persons of each frame of a clip; the number of frames that show one."""
    persons = [(number, person) for number, frame in enumerate(frames) for person in frame]
    joints = [person.joints for _, person in persons]
    world = [person.world for _, person in persons if person.world is not None]
    arrays: dict[str, Any] = {
        "frames": np.array(len(frames)),
        "frame": np.array([number for number, _ in persons], dtype=np.int32),
        "track": np.array([-1 if person.track is None else person.track for _, person in persons], dtype=np.int32),
        "joints": np.stack(joints) if joints else np.zeros((0, 0, 3), np.float32),
        "world": np.stack(world) if world else np.zeros((len(persons), 0, 4), np.float32),
    }
    write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **arrays))
    return sum(bool(frame) for frame in frames)


def read_clip(paths: Sequence[Path], kind: str = "joints") -> Clip:
    """The clip of a file, with the joints in the image ("joints") or in space ("world")."""
    with unzipped(paths[0]) as archive:
        frames, frame, track, joints = (read_member(archive, key) for key in ("frames", "frame", "track", kind))
    persons = [
        Detection((int(number),), int(one) if one >= 0 else None, body)
        for number, one, body in zip(frame, track, joints, strict=True)
    ]
    return Clip({(number,) for number in range(int(frames))}, persons)


def _read_head(folder: Path) -> Found:
    try:
        said = read_object(folder / HEAD)
        if "reason" in said:
            return Found(name=said["name"], folder=folder, reason=said["reason"])
        return Found(
            name=said["name"],
            folder=folder,
            rate=float(said["rate"]),
            width=int(said["width"]),
            height=int(said["height"]),
            clips=tuple(map(int, said["clips"])),
            seen=tuple(map(int, said["seen"])),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / HEAD}: damaged ({error!s:.100}); remove {folder} and start again") from None
