"""What a joint layout is: which joint is where in an array, and how the body hangs together.

A layout is data. Packing, augmentation, the encoders' graph and the shipped model all read the same one, so a joint
index is written down once. Bones are (child, parent) pairs with 0-based joint indices. As JSON, joints go by their
names; packed shards and shipped models hold that form, so that a layout of one's own travels with them.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bonestrap.options import did_you_mean
from bonestrap.sides import alone, named_sides

Point = int | tuple[int, ...]  # a joint, or the joints whose mean it is
Places = tuple[tuple[int, ...], ...]  # points in their order, each the joints whose mean it is
REQUIRED = ("name", "joints", "bones", "root", "spine", "shoulders")
JOINTS = 1000  # the most; graphs are matrices of their square
OPTIONAL = ("sides", "parts", "coordinates", "confidence", "selection")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """One joint layout. Raises ValueError, in one sentence, for one that cannot be.

    `spine` is (lower, upper): the line that becomes vertical in the canonical orientation and whose length is the
    scale of planar joints. `shoulders` is (right, left): the line that becomes parallel to x. `sides` pairs every left
    joint with its right counterpart. `parts` hold every joint once; a sided joint outside the part "trunk" is a limb.
    A joint is `coordinates` numbers, 3 in space or 2 in an image, and its detector's confidence where that is kept.
    `selection` is what `bonestrap.selection` shows of it, where that does not follow from the joints' names.
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    sides: tuple[tuple[int, int], ...]
    parts: dict[str, tuple[int, ...]]
    root: Point
    spine: tuple[Point, Point]
    shoulders: tuple[int, int]
    coordinates: int = 3
    confidence: bool = False
    selection: Places = ()

    def __post_init__(self) -> None:
        try:
            _check_joints(self)
            _check_tree(self)
            _check_sides(self)
        except ValueError as error:
            raise ValueError(f"layout {self.name}: {error}") from None

    @staticmethod
    def from_json(fields: Any) -> Layout:
        """The layout of a JSON object; see `to_json`. `sides` follow from names where they are not given (see
        `bonestrap.sides`), and `parts` are then trunk, left and right. Raises ValueError saying what is wrong.
        """
        if not isinstance(fields, dict):
            raise ValueError(f"a layout is a JSON object with the fields {', '.join(REQUIRED)}, not {fields!r:.40}")
        name = fields.get("name")
        if not (isinstance(name, str) and name):
            raise ValueError("a layout needs a name: a text in the field name")
        try:
            return _parse(name, fields)
        except ValueError as error:
            raise ValueError(f"layout {name}: {str(error).removeprefix(f'layout {name}: ')}") from None

    def to_json(self) -> dict[str, Any]:
        """A JSON object with joints by name: `from_json` gives an equal layout back."""

        def named(joints: Sequence[int]) -> list[str]:
            return [self.joints[joint] for joint in joints]

        def point(where: Point) -> str | list[str]:
            return self.joints[where] if isinstance(where, int) else named(where)

        declared = {"selection": [named(place) for place in self.selection]} if self.selection else {}
        return {
            **declared,
            "name": self.name,
            "joints": list(self.joints),
            "bones": [named(bone) for bone in self.bones],
            "sides": [named(pair) for pair in self.sides],
            "parts": {part: named(joints) for part, joints in self.parts.items()},
            "root": point(self.root),
            "spine": [point(end) for end in self.spine],
            "shoulders": named(self.shoulders),
            "coordinates": self.coordinates,
            "confidence": self.confidence,
        }

    @property
    def doubts(self) -> tuple[str, ...]:
        """What may be a slip in it, in sentences: joints of one side without their counterpart, and no sides at all."""
        if not self.sides:
            missing = "has no sides, so no limb can be hidden in training; give sides, pairs [left, right]"
            return (f"layout {self.name} {missing}",)
        return tuple(
            f"layout {self.name}: joint {name} has no counterpart on the other side and counts to the trunk; if it has "
            "one, pair them in sides, [left, right]"
            for name in alone(self.joints, self.sides)
        )

    @property
    def axes(self) -> int:
        """The numbers that a joint is stored as, C: its coordinates and, if kept, its confidence."""
        return self.coordinates + self.confidence

    @property
    def channels(self) -> int:
        """The numbers that an encoder sees of a joint: its coordinates, those of its bone, and its confidence."""
        return 2 * self.coordinates + self.confidence

    @property
    def unit(self) -> str:
        """What prepared coordinates are measured in; see `bonestrap.pose`."""
        return "metre" if self.coordinates == 3 else "torso"

    @property
    def left(self) -> tuple[int, ...]:
        """The joints of the left limbs, in the order of their counterparts in `right`."""
        return tuple(left for left, _ in self._limbs)

    @property
    def right(self) -> tuple[int, ...]:
        """The joints of the right limbs, in the order of their counterparts in `left`."""
        return tuple(right for _, right in self._limbs)

    @property
    def _limbs(self) -> list[tuple[int, int]]:
        trunk = self.parts.get("trunk", ())
        return [(left, right) for left, right in self.sides if left not in trunk and right not in trunk]

    @property
    def center(self) -> int:
        """The joint without a parent: the centre of gravity from which ST-GCN's partitions count."""
        (center,) = set(range(len(self.joints))) - {child for child, _ in self.bones}
        return center

    @property
    def parents(self) -> tuple[int, ...]:
        """The parent of each joint; the joint without a bone is its own parent, so its bone vector is zero."""
        parent = list(range(len(self.joints)))
        for child, above in self.bones:
            parent[child] = above
        return tuple(parent)

    def hops(self, origin: int) -> list[int]:
        """The number of bones between `origin` and each joint."""
        count = len(self.joints)
        neighbours: list[list[int]] = [[] for _ in range(count)]
        for child, parent in self.bones:
            neighbours[child].append(parent)
            neighbours[parent].append(child)
        distance = [count] * count
        distance[origin] = 0
        queue = deque([origin])
        while queue:
            joint = queue.popleft()
            for other in neighbours[joint]:
                if distance[other] == count:
                    distance[other] = distance[joint] + 1
                    queue.append(other)
        return distance

    def partitions(self, *, one_hop: bool = False) -> np.ndarray:
        """The spatial-configuration partitions of ST-GCN, (3, V, V): self, centripetal, centrifugal.

        `out[k] @ x` gathers, for each joint, its neighbours of partition k, divided by the joint's degree: over the
        three partitions a joint's weights sum to one (the A D^-1 of ST-GCN, transposed because joints are rows here).

        With `one_hop`, they are those of st-gcn's code and of most that followed, where every distance to the centre
        beyond one bone is infinite: self, neighbours that are not nearer to the centre (with all of limbs, in both
        directions), neighbours that are. NTU-25 then has 25, 40 and 8 entries in place of 25, 24 and 24.
        """
        count = len(self.joints)
        linked = np.eye(count)
        for child, parent in self.bones:
            linked[child, parent] = linked[parent, child] = 1.0
        normalised = linked / linked.sum(1, keepdims=True)
        distance = np.array(self.hops(self.center))
        if one_hop:
            distance = np.minimum(distance, 2)
        receiver, sender = np.nonzero(linked)
        masks = np.zeros((3, count, count))
        for i, j in zip(receiver, sender, strict=True):
            nearer = distance[j] < distance[i]
            partition = 0 if i == j else 1 if nearer != one_hop else 2
            masks[partition, i, j] = 1.0
        partitions: np.ndarray = (masks * normalised).astype(np.float32)
        return partitions


def _check_joints(layout: Layout) -> None:
    """Every joint is known by one name, and everything that speaks of joints speaks of joints that are there."""
    names = layout.joints
    if type(layout.coordinates) is not int or layout.coordinates not in (2, 3) or type(layout.confidence) is not bool:
        raise ValueError("coordinates must be 2 or 3, and confidence true or false")
    if not 2 <= len(names) <= JOINTS:
        raise ValueError(f"a body needs at least two joints, and {JOINTS} are the most; this one has {len(names)}")
    for name in names:
        if not (isinstance(name, str) and name):
            raise ValueError(f"a joint's name is a text, not {name!r}")
        if names.count(name) > 1:
            raise ValueError(f"joint {name} comes twice in joints")
    places: list[tuple[str, Sequence[int]]] = [
        *(("bones", bone) for bone in layout.bones),
        *(("sides", pair) for pair in layout.sides),
        *((f"part {part}", joints) for part, joints in layout.parts.items()),
        ("root", points(layout.root)),
        *(("spine", points(end)) for end in layout.spine),
        ("shoulders", layout.shoulders),
        *(("selection", place) for place in layout.selection),
    ]
    for where, joints in places:
        if not joints and not where.startswith("part "):
            raise ValueError(f"{where} names no joint")
        for joint in joints:
            if not 0 <= joint < len(names):
                raise ValueError(f"{where} speaks of joint {joint}, and joints are 0 to {len(names) - 1}")
    if set(points(layout.spine[0])) == set(points(layout.spine[1])):
        raise ValueError("spine begins and ends in the same place; give its lower and its upper end")
    if layout.shoulders[0] == layout.shoulders[1]:
        raise ValueError("shoulders are the same joint; give the right and the left one")


def _check_tree(layout: Layout) -> None:
    """Bones lead every joint but one to a parent, without a circle."""
    names = layout.joints
    above: dict[int, int] = {}
    for child, parent in layout.bones:
        if child == parent:
            raise ValueError(f"a bone joins {names[child]} to itself")
        if child in above:
            raise ValueError(f"joint {names[child]} has two parents, {names[above[child]]} and {names[parent]}")
        above[child] = parent
    for joint in range(len(names)):
        path = [joint]
        while path[-1] in above:
            if above[path[-1]] in path:
                circle = path[path.index(above[path[-1]]) :]
                raise ValueError(f"the bones of {', '.join(names[j] for j in circle)} run in a circle")
            path.append(above[path[-1]])
    loose = [name for joint, name in enumerate(names) if joint not in above]
    if len(loose) > 1:
        raise ValueError(f"the joints {', '.join(loose)} have no parent; all but one need a bone [joint, parent]")


def _check_sides(layout: Layout) -> None:
    """Left and right are told apart, and parts hold every joint once."""
    names = layout.joints
    sided = [joint for pair in layout.sides for joint in pair]
    for joint in sided:
        if sided.count(joint) > 1:
            raise ValueError(f"joint {names[joint]} comes twice in sides")
    right, left = layout.shoulders
    if (right in sided or left in sided) and (left, right) not in layout.sides:
        raise ValueError(f"shoulders must be [right, left], a pair of sides, and are [{names[right]}, {names[left]}]")
    held = [joint for part in layout.parts.values() for joint in part]
    for joint, name in enumerate(names):
        if held.count(joint) != 1:
            raise ValueError(f"joint {name} is in {held.count(joint) or 'none'} of the parts; it must be in one")


def points(where: Point) -> tuple[int, ...]:
    """The joints whose mean a point is."""
    return (where,) if isinstance(where, int) else where


def _parse(name: str, fields: dict[str, Any]) -> Layout:
    for field in fields:
        if field not in (*REQUIRED, *OPTIONAL):
            raise ValueError(f"unknown field {field}{did_you_mean(field, (*REQUIRED, *OPTIONAL))}")
    for field in REQUIRED:
        if field not in fields:
            raise ValueError(f"{field} is missing; a layout has the fields {', '.join(REQUIRED)}")
    joints = fields["joints"]
    if not (isinstance(joints, list) and all(isinstance(joint, str) for joint in joints)):
        raise ValueError("joints must be a list of names")
    place = {joint: index for index, joint in enumerate(joints)}

    def index(joint: Any, where: str) -> int:
        if isinstance(joint, str) and joint in place:
            return place[joint]
        meant = did_you_mean(str(joint), joints[:JOINTS])
        raise ValueError(f"{where} speaks of joint {joint!s:.80}, which is not in joints{meant}")

    def pairs(field: str, what: str) -> tuple[tuple[int, int], ...]:
        rows = fields[field]
        if not isinstance(rows, list) or any(not isinstance(row, list) or len(row) != 2 for row in rows):
            raise ValueError(f"{field} must be a list of pairs {what}")
        return tuple((index(a, field), index(b, field)) for a, b in rows)

    def point(where: Any, field: str) -> Point:
        return tuple(index(joint, field) for joint in where) if isinstance(where, list) else index(where, field)

    for field in ("spine", "shoulders"):
        if not isinstance(fields[field], list) or len(fields[field]) != 2:
            order = "[lower, upper]" if field == "spine" else "[right, left]"
            raise ValueError(f"{field} must be two joints, {order}")
    sides = pairs("sides", "[left, right]") if "sides" in fields else named_sides(joints)
    lower, upper = fields["spine"]
    right, left = fields["shoulders"]
    selection = fields.get("selection", [])
    if not isinstance(selection, list) or any(not isinstance(place, list) for place in selection):
        raise ValueError("selection must be a list of places, each a list of joints")
    return Layout(
        name=name,
        joints=tuple(joints),
        bones=pairs("bones", "[joint, parent]"),
        sides=sides,
        parts=_parts(fields["parts"], index) if "parts" in fields else _sided_parts(len(joints), sides),
        root=point(fields["root"], "root"),
        spine=(point(lower, "spine"), point(upper, "spine")),
        shoulders=(index(right, "shoulders"), index(left, "shoulders")),
        coordinates=fields.get("coordinates", 3),
        confidence=fields.get("confidence", False),
        selection=tuple(tuple(index(joint, "selection") for joint in place) for place in selection),
    )


def _parts(parts: Any, index: Callable[[Any, str], int]) -> dict[str, tuple[int, ...]]:
    if not isinstance(parts, dict) or any(not isinstance(joints, list) for joints in parts.values()):
        raise ValueError("parts must be an object of lists of joints")
    return {part: tuple(index(joint, f"part {part}") for joint in joints) for part, joints in parts.items()}


def _sided_parts(count: int, sides: tuple[tuple[int, int], ...]) -> dict[str, tuple[int, ...]]:
    sided = {joint for pair in sides for joint in pair}
    return {
        "trunk": tuple(joint for joint in range(count) if joint not in sided),
        "left": tuple(left for left, _ in sides),
        "right": tuple(right for _, right in sides),
    }
