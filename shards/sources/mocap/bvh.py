"""BVH: a tree of joints with offsets, and each frame's rotations (and positions), from which joints' places follow.

The format as Biovision defined it: a joint's channels are applied in the order in which they are written, positions
in place of the offset, rotations in degrees about the joint's own axes. Files have y up, what is read has z up: it is
the file's z, x, y.

Legend: T frames, V joints.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bonestrap.files import check_size, content, opened
from bonestrap.layout import Layout
from bonestrap.sides import named_sides
from shards.errors import DataError
from shards.sources.mocap.motion import Format, Head, checked
from shards.sources.names import plain

CHANNELS = re.compile(r"([XYZ])(position|rotation)")
AXES = "XYZ"
JOINTS = 1000
FRAMES = 4096  # of which matrices are held at once
HEAD = 2**20  # bytes that hold the hierarchy of any body
ARM = ("upper arm", "arm", "shoulder", "humerus")  # what the joint in the shoulder is called, the likeliest first
LEG = ("upper leg", "up leg", "thigh", "hip", "femur")


class Joint(NamedTuple):
    name: str
    parent: int  # -1 of the root
    offset: tuple[float, float, float]
    channels: tuple[tuple[str, int], ...]  # (position or rotation, axis) in the order of the file


def head(path: Path) -> Head:
    """Joint names, without what only places the body in the room (see `_body`), and the rate."""
    joints, rest = _hierarchy(_text(path, HEAD))
    return Head(tuple(joint.name for joint in joints[_body(joints) :]), 1 / _frame_time(rest))


def joints(path: Path) -> np.ndarray:
    """Places of the joints of `head`, (T, V, 3), in the file's unit; z up."""
    tree, rest = _hierarchy(_text(path))
    numbers = _numbers(rest, sum(len(joint.channels) for joint in tree))
    check_size((len(numbers), len(tree), 3), 8)
    parts = [forward_kinematics(tree, numbers[at : at + FRAMES]) for at in range(0, len(numbers) or 1, FRAMES)]
    return np.concatenate(parts)[:, _body(tree) :][..., [2, 0, 1]]


def forward_kinematics(tree: list[Joint], numbers: np.ndarray) -> np.ndarray:
    """(T, V, 3) places of the joints of a tree from its channels (T, N), in file axes."""
    frames = len(numbers)
    places = np.empty((len(tree), frames, 3))
    turns = np.empty((len(tree), frames, 3, 3))
    column = 0
    for index, joint in enumerate(tree):
        step = np.tile(np.array(joint.offset), (frames, 1))
        turn = np.tile(np.eye(3), (frames, 1, 1))
        for kind, axis in joint.channels:
            if kind == "position":
                step[:, axis] = numbers[:, column]
            else:
                turn = turn @ _rotations(np.radians(numbers[:, column]), axis)
            column += 1
        if joint.parent < 0:
            places[index], turns[index] = step, turn
        else:
            above = turns[joint.parent]
            places[index] = places[joint.parent] + (above @ step[..., None])[..., 0]
            turns[index] = above @ turn
    return places.swapaxes(0, 1)


def layout_of(path: Path) -> Layout:
    """A layout with the joints and bones of a file. DataError where its names do not say where the limbs are."""
    tree = checked(lambda path: _hierarchy(_text(path, HEAD))[0], path)
    start = _body(tree)
    names = [joint.name for joint in tree[start:]]
    parents = [joint.parent - start for joint in tree[start:]]
    sides = named_sides(names)
    arm, leg = _pair(names, sides, ARM), _pair(names, sides, LEG)
    upper = _meet(parents, *arm) if arm else 0
    neck = next((joint for joint, name in enumerate(names) if plain(name).startswith("neck")), upper)
    if not (arm and leg and neck):
        raise DataError(
            f"{path}: its joints do not say by their names where shoulders and hips are; give --layout, a file with "
            "the names of its joints"
        )
    return _layout(
        path,
        {
            "name": "bvh",
            "joints": names,
            "bones": [[names[child], names[parent]] for child, parent in enumerate(parents) if parent >= 0],
            "root": names[0],
            "spine": [names[0], names[neck]],
            "shoulders": [names[arm[1]], names[arm[0]]],
        },
    )


BVH = Format(".bvh", head, joints)


def _layout(path: Path, fields: dict[str, Any]) -> Layout:
    try:
        return Layout.from_json(fields)
    except ValueError as error:
        raise DataError(f"{path}: {error}; correct the file, or give --layout") from None


def _pair(names: list[str], sides: tuple[tuple[int, int], ...], words: tuple[str, ...]) -> tuple[int, int] | None:
    """The first pair, left and right, that is called by one of these words."""
    called: dict[str, tuple[int, int]] = {}
    for pair in sides:
        name = plain(names[pair[0]])
        called.setdefault(name.removeprefix("left ") if " " in name else name.removeprefix("l"), pair)
    return next((called[word] for word in words if word in called), None)


def _meet(parents: list[int], a: int, b: int) -> int:
    """The nearest joint that both descend from."""
    above = {a}
    while parents[a] >= 0:
        a = parents[a]
        above.add(a)
    while b not in above:
        b = parents[b]
    return b


def _body(tree: list[Joint]) -> int:
    """How many joints above the first branch only place the body in the room, such as `joint_Root` and `Reference`."""
    children = [0] * len(tree)
    for joint in tree[1:]:
        children[joint.parent] += 1
    return next((index for index, count in enumerate(children) if count > 1), 0)


def _text(path: Path, first: int | None = None) -> str:
    """The text of a file, or what its first bytes hold of it."""
    try:
        if first is None:
            return content(path).decode("utf-8-sig")
        with opened(path) as file:
            return file.read(first).decode("utf-8-sig", "ignore")
    except UnicodeDecodeError:
        raise ValueError("it is not a text") from None


def _hierarchy(text: str) -> tuple[list[Joint], str]:
    """The tree of joints, and what follows it."""
    before, found, rest = text.partition("MOTION")
    words = before.split()
    if not found or words[:1] != ["HIERARCHY"]:
        raise ValueError("no HIERARCHY, or no MOTION after it")
    tree: list[Joint] = []
    above: list[int] = []  # the joints whose braces are open; -1 for an end site, which is no joint
    at = 1
    while at < len(words):
        if words[at] == "}":
            if not above:
                raise ValueError("a closing brace too many")
            above.pop()
            at += 1
            continue
        kind, name, offset, channels, at = _joint(words, at)
        if (kind == "ROOT") != (not tree) or (kind != "ROOT" and not above) or len(tree) == JOINTS:
            raise ValueError(f"{kind} {name} where it cannot be: a file holds one body, of {JOINTS} joints at most")
        if kind == "End":
            above.append(-1)
        else:
            tree.append(Joint(name, above[-1] if above else -1, offset, channels))
            above.append(len(tree) - 1)
    if above or not tree:
        raise ValueError("its HIERARCHY does not end")
    return tree, rest


def _joint(words: list[str], at: int) -> tuple[str, str, tuple[float, float, float], tuple[tuple[str, int], ...], int]:
    """Kind, name, offset and channels of what begins at a word, and the word after it."""
    kind = words[at]
    if kind not in ("ROOT", "JOINT", "End") or "{" not in words[at : at + 10]:
        raise ValueError(f"{kind!r:.40} where a joint should begin")
    brace = words.index("{", at)
    name = " ".join(words[at + 1 : brace])  # which may hold spaces
    at = brace + 1
    if words[at : at + 1] != ["OFFSET"] or not name:
        raise ValueError(f"{kind} {name} without a name or an OFFSET")
    x, y, z = map(float, words[at + 1 : at + 4])
    if not np.isfinite((x, y, z)).all():
        raise ValueError(f"the OFFSET of {name} is not finite")
    at += 4
    if words[at : at + 1] != ["CHANNELS"]:
        return kind, name, (x, y, z), (), at
    count = int(words[at + 1])
    matches = [CHANNELS.fullmatch(word) for word in words[at + 2 : at + 2 + count]]
    channels = tuple((match[2], AXES.index(match[1])) for match in matches if match)
    if len(channels) != count:
        raise ValueError(f"the CHANNELS of {name} are not {count} positions and rotations")
    return kind, name, (x, y, z), channels, at + 2 + count


def _frame_time(rest: str) -> float:
    match = re.match(r"\s*Frames:\s*(\d+)\s+Frame Time:\s*(\S+)", rest)
    seconds = float(match[2]) if match else 0.0
    if not 0 < seconds < np.inf:
        raise ValueError("no Frames and Frame Time after MOTION")
    return seconds


def _numbers(rest: str, channels: int) -> np.ndarray:
    """(T, N) the channels of all frames."""
    match = re.match(r"\s*Frames:\s*(\d+)\s+Frame Time:\s*\S+", rest)
    if not match:
        raise ValueError("no Frames and Frame Time after MOTION")
    numbers = np.array(rest[match.end() :].split(), dtype=np.float64)
    frames = int(match[1])
    if numbers.size != frames * channels:
        raise ValueError(f"{numbers.size} numbers, and {frames} frames of {channels} channels have {frames * channels}")
    if not np.isfinite(numbers).all():
        raise ValueError("a number that is not finite")
    return numbers.reshape(frames, channels)


def _rotations(angles: np.ndarray, axis: int) -> np.ndarray:
    """(T, 3, 3) right-handed rotations about a coordinate axis."""
    turn = np.zeros((len(angles), 3, 3))
    a, b = (axis + 1) % 3, (axis + 2) % 3
    cos, sin = np.cos(angles), np.sin(angles)
    turn[:, axis, axis] = 1
    turn[:, a, a] = turn[:, b, b] = cos
    turn[:, a, b], turn[:, b, a] = -sin, sin
    return turn
