"""PKU-MMD I and II: long Kinect v2 recordings, 25 joints, two persons, three cameras, cut by their label files.

Reads a folder that holds the skeletons (a folder `skeleton...`) and labels (`label...`) of one phase, and the split
files (`cross...subject...txt`, `cross...view...txt`) where they are. A skeleton file is named after its video and view,
`0002-L.txt` in phase I and `A01N01-L.txt` in phase II; a row is one frame, 2 x 25 x (x, y, z) in metres, a person who
is not there all zeros. A label row is class, first frame, last frame, confidence. Frames count from 1 and the last one
belongs to the action: rows first - 1 to last - 1. Widely used scripts take `rows[first:last]`: a frame too late.

A performance is one action in one video, seen from left (camera 1), middle (2) and right (3): the segments of one class
that overlap in time. Actions of one video are not independent of one another, so whole videos are held out.

Legend: C coordinates, T frames, V joints, M bodies.
"""

from __future__ import annotations

import functools
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bonestrap.files import content
from bonestrap.layouts import NTU25
from shards.errors import DataError
from shards.packing.preprocess import NTU_CLEANING
from shards.sources import declare
from shards.sources.source import Performance, Source, View, file_stamp, listed

NAME = re.compile(r"(\d{4}|A\d\dN\d\d)-([LMR])")
CAMERAS = {"L": 1, "M": 2, "R": 3}
JOINTS = len(NTU25.joints)
SPLITS = {"cross-subject": re.compile(r"cross.?subject.*\.txt"), "cross-view": re.compile(r"cross.?view.*\.txt")}

# In the order of their numbers; phase II has 41 of them and keeps the numbers.
ACTIONS = (
    "bow", "brushing hair", "brushing teeth", "check time (from watch)", "cheer up", "clapping",
    "cross hands in front (say stop)", "drink water", "drop", "eat meal/snack", "falling",
    "giving something to other person", "hand waving", "handshaking", "hopping (one foot jumping)",
    "hugging other person", "jump up", "kicking other person", "kicking something", "make a phone call/answer phone",
    "pat on back of other person", "pickup", "playing with phone/tablet", "point finger at the other person",
    "pointing to something with finger", "punching/slapping other person", "pushing other person", "put on a hat/cap",
    "put something inside pocket", "reading", "rub two hands together", "salute", "sitting down", "standing up",
    "take off a hat/cap", "take off glasses", "take off jacket", "take out something from pocket", "taking a selfie",
    "tear up paper", "throw", "touch back (backache)", "touch chest (stomachache/heart pain)", "touch head (headache)",
    "touch neck (neckache)", "typing on a keyboard", "use a fan (with hand or paper)/feeling warm", "wear jacket",
    "wear on glasses", "wipe face", "writing",
)  # fmt: skip


class Segment(NamedTuple):
    """One action in one view: rows `first` to `end - 1` of its skeleton file, from 0."""

    first: int
    end: int
    view: str  # L, M or R
    label: int  # from 0


class PKUMMD(Source):
    """The actions of one phase of PKU-MMD.

    Raises DataError where the folder holds no skeletons or labels, a file of one has none of the other, a name is none
    of theirs, or a label row cannot be read.
    """

    layout = NTU25
    classes = ACTIONS
    cleaning = NTU_CLEANING

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._skeletons = self._files("skeleton")
        labels = self._files("label")
        for one, other, what in ((self._skeletons, labels, "label"), (labels, self._skeletons, "skeleton")):
            lonely = next((name for name in one if name not in other), None)
            if lonely:
                raise DataError(f"{one[lonely]}: there is no {what} file {lonely}.txt; fetch it, or remove this one")
        phases = {"1" if name[0].isdigit() else "2" for name in labels}
        if len(phases) > 1:
            raise DataError(f"{self.root}: files of both phases; pack them one by one, from folders of their own")
        self.name = f"pku-mmd-{phases.pop()}"
        self._splits = self._declared()
        videos: dict[str, list[Segment]] = {}
        self.dropped: list[tuple[str, str]] = []
        for name, path in labels.items():
            video, view = name.split("-")
            videos.setdefault(video, []).extend(self._segments(path, view))
        self._performances: dict[str, list[tuple[str, Segment]]] = {}
        for video, segments in videos.items():
            for key, views in _performances(video, segments):
                self._performances[key] = [(f"{video}-{segment.view}", segment) for segment in views]
        self._keys = sorted(self._performances)

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, number: int) -> str:
        return self._keys[number]

    def stamp(self, number: int) -> str:
        views = self._performances[self._keys[number]]
        said = " ".join(f"{name} {segment} {self._splits.get(name, ())}" for name, segment in views)
        return f"{file_stamp(*(self._skeletons[name] for name, _ in views))} {said}"

    def __getitem__(self, number: int) -> Performance:
        key = self._keys[number]
        found = self._performances[key]
        views = [self._view(name, segment) for name, segment in found]
        return Performance(
            key=key,
            label=found[0][1].label,
            subject=None,
            setup=None,
            replication=None,
            views=tuple(view for view in views if len(view.joints)),
            dropped=tuple((view.origin, "beyond the end of the recording") for view in views if not len(view.joints)),
        )

    def untrimmed(self) -> Iterator[tuple[str, np.ndarray, list[Segment], tuple[str, ...]]]:
        """The whole recordings in the order of their names, each with its joints as they were recorded (T, 2, 25, 3),
        its actions in the order of their beginnings, and its parts of splits.
        """
        segments: dict[str, list[Segment]] = {name: [] for name in self._skeletons}
        for views in self._performances.values():
            for name, segment in views:
                segments[name].append(segment)
        for name, path in sorted(self._skeletons.items()):
            joints = _read(path, Segment(0, sys.maxsize, name[-1], 0))
            yield name, joints, sorted(segments[name]), self._splits.get(name, ())

    def _view(self, name: str, segment: Segment) -> View:
        path = self._skeletons[name]
        return View(
            camera=CAMERAS[segment.view],
            joints=_read(path, segment),
            origin=f"{self._origin(path)} {segment.first + 1}-{segment.end}",
            splits=self._splits.get(name, ()),
        )

    def _files(self, kind: str) -> dict[str, Path]:
        """The files NAME.txt in the folders whose name begins with `kind`, by their names."""
        folders = [path for path in sorted(self.root.iterdir()) if path.is_dir() and path.name.lower().startswith(kind)]
        files: dict[str, Path] = {}
        for path in listed(path for folder in folders for path in folder.rglob("*.txt")):
            if not NAME.fullmatch(path.stem):
                raise DataError(f"{path}: names are 0002-L.txt or A01N01-L.txt in PKU-MMD; rename or remove the file")
            if files.setdefault(path.stem, path) != path:
                raise DataError(f"{path}: the same recording as {files[path.stem]} by its name; remove one of them")
        if not files:
            raise DataError(f"{self.root}: no folder {kind}... with .txt files in it; give the folder of one phase")
        return files

    def _segments(self, path: Path, view: str) -> Iterator[Segment]:
        for number, line in enumerate(_text(path).splitlines(), 1):
            if not line.strip():
                continue
            try:
                label, first, last = (int(float(field)) for field in line.replace(",", " ").split()[:3])
            except (ValueError, OverflowError):  # of what is no number, or infinity
                raise DataError(
                    f"{path}: line {number} is not class,first,last,confidence; fetch the file again"
                ) from None
            if not 1 <= label <= len(ACTIONS):
                raise DataError(f"{path}: line {number}: PKU-MMD has no class {label}; correct or remove the line")
            if 1 <= first <= last:
                yield Segment(first - 1, last, view, label - 1)
            else:
                self.dropped.append((self._origin(path), f"no frames from {first} to {last} in line {number}"))

    def _declared(self) -> dict[str, tuple[str, ...]]:
        """The parts of every recording, from the split files that are there; drawn by videos where there are none."""
        names = sorted(self._skeletons)
        members: dict[str, list[str]] = {}
        for split, pattern in SPLITS.items():
            file = next((path for path in sorted(self.root.iterdir()) if pattern.fullmatch(path.name.lower())), None)
            if file:
                part = _lists(file)
                members[split] = [part.get(name, "") for name in names]
        videos = [name.partition("-")[0] for name in names]
        if not members:
            every = sorted(set(videos))
            drawn = dict(zip(every, declare.drawn(every, [None] * len(every), [None] * len(every)), strict=True))
            members[declare.DEFAULT] = [drawn[video] for video in videos]
        return dict(zip(names, declare.complete(members, videos), strict=True))

    def _origin(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _performances(video: str, segments: list[Segment]) -> Iterator[tuple[str, list[Segment]]]:
    """Segments of one class that overlap in time, at most one a view, under a key each."""
    groups: list[list[Segment]] = []
    for segment in sorted(segments, key=lambda segment: (segment.label, segment.first, segment.view)):
        last = groups[-1] if groups else []
        if (
            last
            and last[0].label == segment.label
            and segment.first < min(other.end for other in last)
            and segment.view not in [other.view for other in last]
        ):
            last.append(segment)
        else:
            groups.append([segment])
    count: Counter[int] = Counter()
    for group in groups:
        label = group[0].label
        count[label] += 1
        yield f"{video}_a{label + 1:02}_{count[label]:02}", sorted(group, key=lambda segment: segment.view)


def _lists(path: Path) -> dict[str, str]:
    """train or test of each name in a split file: a line of heading, a line of names, twice."""
    part, parts = "", {}
    for line in _text(path).splitlines():
        names = [match[0] for match in NAME.finditer(line)]
        if names and not part:
            raise DataError(f"{path}: names before any heading; a split file has Training videos: and then the others")
        parts.update(dict.fromkeys(names, part))
        if not names and line.strip():
            part = "train" if "train" in line.lower() else "test"
    if set(parts.values()) != {"train", "test"}:
        raise DataError(f"{path}: it lists no training or no other videos; fetch the file again or remove it")
    return parts


def _text(path: Path) -> str:
    try:
        return content(path).decode(errors="replace")
    except ValueError as error:
        raise DataError(f"{path}: not a readable text ({error}); fetch the file again") from None


@functools.lru_cache(maxsize=6)
def _lines(path: Path, stamp: str) -> list[bytes]:
    """The rows of a long recording, unread: its actions come one after the other, three views at a time."""
    return content(path).splitlines()


def _read(path: Path, segment: Segment) -> np.ndarray:
    """One action's joints, (T, 2, 25, 3) float32 metres; rows beyond the end of the recording are not there."""
    lines = _lines(path, file_stamp(path))[segment.first : segment.end]
    numbers = b" ".join(lines).split()
    width = 2 * JOINTS * 3
    if len(numbers) != width * len(lines):
        raise DataError(f"{path}: rows without {width} numbers from {segment.first + 1} on; fetch the file again")
    try:
        values = np.fromiter(map(float, numbers), dtype=np.float32, count=len(numbers))
    except ValueError:
        raise DataError(f"{path}: no numbers from row {segment.first + 1} on; fetch the file again") from None
    joints = values.reshape(-1, 2, JOINTS, 3)
    joints[(joints == 0).all(axis=(2, 3))] = np.nan
    return joints
