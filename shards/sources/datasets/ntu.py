"""NTU RGB+D 60 and 120: raw `.skeleton` text files as the Kinect v2 SDK wrote them, 25 joints, metres, three cameras.

Legend: C coordinates, T frames, V joints, M bodies.

A file `SsssCcccPpppRrrrAaaa.skeleton` holds one camera's recording: frames, in each frame the bodies that the tracker
saw, for each body its id and 25 joints. A performance is one (setup, subject, replication, action). Bodies are told
apart by the tracker's id and kept in the order in which they appear.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bonestrap.files import check_size, content
from bonestrap.layouts import NTU25
from shards.errors import DataError
from shards.packing.preprocess import NTU_CLEANING
from shards.sources.datasets.skeleton_scan import Scanned, scanned
from shards.sources.source import Performance, Source, View, file_stamp, listed

NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
NTU60_ACTIONS = 60
MANY = 4000  # files from which the compiled scan pays: every process that reads loads numba, which takes a second
JOINTS = len(NTU25.joints)

# The 120 actions in the order of their numbers; the first 60 are NTU RGB+D 60.
ACTIONS = (
    "drink water", "eat meal/snack", "brushing teeth", "brushing hair", "drop", "pick up", "throw", "sitting down",
    "standing up (from sitting position)", "clapping", "reading", "writing", "tear up paper", "wear jacket",
    "take off jacket", "wear a shoe", "take off a shoe", "wear on glasses", "take off glasses", "put on a hat/cap",
    "take off a hat/cap", "cheer up", "hand waving", "kicking something", "reach into pocket",
    "hopping (one foot jumping)", "jump up", "make a phone call/answer phone", "playing with phone/tablet",
    "typing on a keyboard", "pointing to something with finger", "taking a selfie", "check time (from watch)",
    "rub two hands together", "nod head/bow", "shake head", "wipe face", "salute", "put the palms together",
    "cross hands in front (say stop)", "sneeze/cough", "staggering", "falling", "touch head (headache)",
    "touch chest (stomachache/heart pain)", "touch back (backache)", "touch neck (neckache)",
    "nausea or vomiting condition", "use a fan (with hand or paper)/feeling warm", "punching/slapping other person",
    "kicking other person", "pushing other person", "pat on back of other person", "point finger at the other person",
    "hugging other person", "giving something to other person", "touch other person's pocket", "handshaking",
    "walking towards each other", "walking apart from each other", "put on headphone", "take off headphone",
    "shoot at the basket", "bounce ball", "tennis bat swing", "juggling table tennis balls", "hush (quiet)",
    "flick hair", "thumb up", "thumb down", "make ok sign", "make victory sign", "staple book", "counting money",
    "cutting nails", "cutting paper (using scissors)", "snapping fingers", "open bottle", "sniff (smell)", "squat down",
    "toss a coin", "fold paper", "ball up paper", "play magic cube", "apply cream on face", "apply cream on hand back",
    "put on bag", "take off bag", "put something into a bag", "take something out of a bag", "open a box",
    "move heavy objects", "shake fist", "throw up cap/hat", "hands up (both hands)", "cross arms", "arm circles",
    "arm swings", "running on the spot", "butt kicks (kick backward)", "cross toe touch", "side kick", "yawn",
    "stretch oneself", "blow nose", "hit other person with something", "wield knife towards other person",
    "knock over other person (hit with body)", "grab other person's stuff", "shoot at other person with a gun",
    "step on foot", "high-five", "cheers and drink", "carry something with other person",
    "take a photo of other person", "follow other person", "whisper in other person's ear",
    "exchange things with other person", "support somebody with hand", "rock-paper-scissors",
)  # fmt: skip


class Name(NamedTuple):
    """What a file name says; numbers as written, from 1."""

    setup: int
    camera: int
    subject: int
    replication: int
    action: int

    @property
    def key(self) -> str:
        """The performance: the name without the camera."""
        return f"S{self.setup:03}P{self.subject:03}R{self.replication:03}A{self.action:03}"


def parse_name(name: str) -> Name:
    """Read SsssCcccPpppRrrrAaaa. Raises DataError for anything else."""
    match = NAME.fullmatch(name)
    if not match:
        raise DataError(f"{name}: NTU recordings are named SsssCcccPpppRrrrAaaa.skeleton; rename or remove the file")
    return Name(*map(int, match.groups()))


class NTU(Source):
    """The performances of all `.skeleton` files below a folder.

    `missing` is a text file of names without usable skeletons, such as the official lists; those files are dropped, as
    are files in which no body appears. `name` and `classes` are NTU-60's unless a file's action is above 60; other data
    in this format bring their own. Raises DataError for an empty folder, and for names, actions and contents that are
    not NTU's.
    """

    layout = NTU25
    cleaning = NTU_CLEANING

    def __init__(
        self,
        root: Path,
        *,
        missing: Path | None = None,
        name: str | None = None,
        classes: tuple[str, ...] | None = None,
    ) -> None:
        self.root = Path(root)
        left_out = read_missing(missing) if missing else frozenset()
        files: dict[str, Path] = {}
        for path in listed(self.root.rglob("*.skeleton")):
            if files.setdefault(path.stem, path) != path:
                raise DataError(f"{path}: the same recording as {files[path.stem]} by its name; remove one of them")
        if not files:
            raise DataError(f"{self.root}: no .skeleton files; give the folder that holds them as --input")
        names = {stem: parse_name(stem) for stem in sorted(files)}
        large = max(parsed.action for parsed in names.values()) > NTU60_ACTIONS
        self.name = name or ("ntu120" if large else "ntu60")
        self.classes = classes or (ACTIONS if large else ACTIONS[:NTU60_ACTIONS])
        self._performances: dict[str, list[tuple[Name, Path]]] = {}
        self.dropped = [(self._origin(files[stem]), "listed as missing") for stem in names if stem in left_out]
        for stem, parsed in names.items():
            if not 1 <= parsed.action <= len(self.classes):
                raise DataError(
                    f"{files[stem]}: action {parsed.action} is out of range for the {len(self.classes)} classes of "
                    f"{self.name}; remove the file or correct its name"
                )
            if stem not in left_out:
                self._performances.setdefault(parsed.key, []).append((parsed, files[stem]))
        self._keys = sorted(self._performances)
        self._compiled = len(files) >= MANY

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, number: int) -> str:
        return self._keys[number]

    def stamp(self, number: int) -> str:
        return file_stamp(*(path for _, path in self._performances[self._keys[number]]))

    def __getitem__(self, number: int) -> Performance:
        key = self._keys[number]
        recordings = self._performances[key]
        views, empty = [], []
        for name, path in recordings:
            joints = read_skeleton(path, compiled=self._compiled)
            if joints.shape[1]:
                views.append(View(camera=name.camera, joints=joints, origin=self._origin(path)))
            else:
                empty.append((self._origin(path), "no body in any frame"))
        name = recordings[0][0]
        return Performance(
            key=key,
            label=name.action - 1,
            subject=name.subject,
            setup=name.setup,
            replication=name.replication,
            views=tuple(views),
            dropped=tuple(empty),
        )

    def _origin(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def read_missing(path: Path) -> frozenset[str]:
    """The names in a list of samples to leave out, one a line; other lines, such as headings, are passed over.

    Raises DataError where the file is absent or holds no name at all.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: no such list of missing samples; correct --missing or leave it out")
    lines = content(path).decode(errors="replace").split()
    names = frozenset(line for line in lines if NAME.fullmatch(line))
    if not names:
        raise DataError(
            f"{path}: no line of this list is a name SsssCcccPpppRrrrAaaa; give the list of missing samples"
        )
    return names


def read_skeleton(path: Path, *, compiled: bool = True) -> np.ndarray:
    """One raw file as joints (T, M, 25, 3) float32, metres in camera space; NaN where a body is not seen.

    M counts the bodies of the whole file, 0 where there is none. A body that the tracker lost has all joints at zero.
    `compiled` takes the scan where numba is installed; the result is the same. Raises DataError naming a file that
    is cut short or is no skeleton file.
    """
    try:
        data = content(path)
        file = scanned(data, JOINTS) if compiled else None
        return _tracked(file or _parsed(re.split(r"\r\n|\r|\n", data.decode("ascii"))))
    except (ValueError, IndexError):  # of a number that is none, a line that is missing, or bytes that are no text
        raise DataError(f"{path}: cut short or not an NTU .skeleton file; fetch the file again or remove it") from None


def _parsed(lines: list[str]) -> Scanned:
    """The lines of a file. Of a joint's twelve numbers only x, y and z are read; orientations may be NaN."""
    found: list[int] = []  # the frame of every 25 joints
    identities: list[str] = []
    numbers: list[str] = []
    frames, at = int(lines[0]), 1
    for frame in range(frames):
        count = int(lines[at])
        at += 1
        for _ in range(count):
            identity = lines[at].split()[0]
            if int(lines[at + 1]) != JOINTS:
                raise ValueError(f"{lines[at + 1]} joints")
            found.append(frame)
            identities.append(identity)
            for line in lines[at + 2 : at + 2 + JOINTS]:
                x, y, z, _ = line.split(None, 3)
                numbers += (x, y, z)
            at += 2 + JOINTS
    if any(line.strip() for line in lines[at:]):
        raise ValueError("text after the last frame")
    bodies = np.fromiter(map(float, numbers), np.float32, len(numbers)).reshape(len(found), JOINTS, 3)
    return Scanned(frames, np.array(found, dtype=np.int64), identities, bodies)


def _tracked(file: Scanned) -> np.ndarray:
    """The bodies of a file told apart by their ids, (T, M, 25, 3)."""
    slots: dict[tuple[str, int], int] = {}  # (tracking id, how many of that id came before in the frame): body
    before: Counter[tuple[int, str]] = Counter()
    body = np.zeros(len(file.frame), dtype=np.int64)
    for row, (frame, identity) in enumerate(zip(file.frame.tolist(), file.identity, strict=True)):
        body[row] = slots.setdefault((identity, before[frame, identity]), len(slots))
        before[frame, identity] += 1
    check_size((file.frames, len(slots), JOINTS, 3))
    joints = np.full((file.frames, len(slots), JOINTS, 3), np.nan, dtype=np.float32)
    lost = np.isnan(file.joints).all((1, 2), keepdims=True)
    joints[file.frame, body] = np.where(lost, np.float32(0), file.joints)
    return joints
