"""Pickled annotations as pyskl and MMAction2 share them: `{"split": {...}, "annotations": [...]}`.

An annotation holds `frame_dir` (its name), `label`, `keypoint` (M, T, V, C) and perhaps `keypoint_score` (M, T, V): 2D
keypoints of COCO's 17 joints with their confidence, or 25 joints in space. A body whose joints are all zero or NaN in a
frame is absent there. A pickle can run any program: see `unpickle` for what this one may do.

Legend: C numbers a joint, T frames, V joints, M bodies.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bonestrap.layout import Layout
from bonestrap.layouts import COCO17, NTU25
from shards.errors import DataError
from shards.packing.preprocess import Step, detected, tracked
from shards.sources import declare
from shards.sources.datasets import ntu
from shards.sources.recorded import FOREIGN, keys
from shards.sources.source import Performance, Source, View, file_stamp
from shards.sources.table import empty_classes, numbered_labels
from shards.sources.units import UNITS, Unit, check_scores, check_size
from shards.sources.unpickle import unpickle

BODIES = 2


class Pyskl(Source):
    """The performances of one pickled file.

    Names like NTU's become performances over cameras, with NTU's classes and splits. Other files declare the splits
    that they hold; `classes` names their labels, and texts without it are numbered by their alphabet. `confidence` says
    what becomes of `keypoint_score` or, in a file without, of the last number of each joint; None hides the former and
    takes the latter for a coordinate. `unit` is that of coordinates in space. Annotations without keypoints are left
    out. Raises DataError for a file that is no such pickle, and for one that asks for more than arrays.
    """

    def __init__(
        self,
        path: Path,
        *,
        layout: Layout | None = None,
        classes: tuple[str, ...] | None = None,
        confidence: Literal["hide", "keep"] | None = None,
        min_confidence: float = 0.1,
        unit: Unit = "metre",
    ) -> None:
        self.path = Path(path)
        self.unit: Unit = unit
        names, rows = _rows(self.path)
        self.dropped = [(name, "no keypoints") for row, name in enumerate(names) if row not in set(rows)]
        first = _entries(self.path)[rows[0]]
        joints, coordinates = _numbers(self.path, first, "keypoint", 4).shape[2:]
        scored = "keypoint_score" in first
        last = confidence is not None and not scored  # the last number of a joint is its confidence
        coordinates -= last
        self.layout = dataclasses.replace(
            layout or _layout(self.path, joints, coordinates),
            coordinates=coordinates,
            confidence=confidence == "keep",
        )
        self.cleaning: tuple[Step, ...] = (
            *detected(self.layout, least=min_confidence if scored or last else None),
            *tracked(self.layout, most=BODIES),
        )
        names = [names[row] for row in rows]
        parsed = {name: ntu.NAME.fullmatch(name) for name in names}
        self._ntu = {name: ntu.Name(*map(int, match.groups())) for name, match in parsed.items() if match}
        if len(self._ntu) < len(names):
            self._ntu = {}
        texts = [_label(self.path, _entries(self.path)[row]) for row in rows]
        labels, numbered = numbered_labels(texts, [f"annotation {name}" for name in names], str(self.path), classes)
        large = max((label for label in labels if label is not None), default=0) >= ntu.NTU60_ACTIONS
        actions = len(ntu.ACTIONS) if large else ntu.NTU60_ACTIONS
        self.name = f"ntu{actions}" if self._ntu else FOREIGN.sub("-", self.path.stem)
        self.classes = classes or (ntu.ACTIONS[:actions] if self._ntu else numbered)
        absent = [] if self._ntu or classes else empty_classes(self.classes, labels)
        self.notices = (*self.layout.doubts, *absent)
        self._splits = {} if self._ntu else _splits(self.path, names)
        self._labels = dict(zip(rows, labels, strict=True))
        groups: dict[str, list[int]] = {}
        for _, key, row in sorted(zip(names, self._keys(names), rows, strict=True)):
            groups.setdefault(key, []).append(row)
        self._rows = sorted(groups.items())

    def _keys(self, names: list[str]) -> list[str]:
        return [self._ntu[name].key for name in names] if self._ntu else keys(names)

    def __len__(self) -> int:
        return len(self._rows)

    def key(self, number: int) -> str:
        return self._rows[number][0]

    def stamp(self, number: int) -> str:
        return file_stamp(self.path)

    def __getitem__(self, number: int) -> Performance:
        key, numbers = self._rows[number]
        found = [_entries(self.path)[annotation] for annotation in numbers]
        name = self._ntu.get(str(found[0]["frame_dir"]))
        return Performance(
            key=key,
            label=self._labels[numbers[0]],
            subject=name.subject if name else None,
            setup=name.setup if name else None,
            replication=name.replication if name else None,
            views=tuple(self._view(annotation) for annotation in found),
        )

    def _view(self, annotation: dict[str, Any]) -> View:
        name = str(annotation["frame_dir"])
        joints = _numbers(self.path, annotation, "keypoint", 4)
        scores = None
        if annotation.get("keypoint_score") is not None:
            scores = _numbers(self.path, annotation, "keypoint_score", 3)
            if scores.shape != joints.shape[:3]:
                raise DataError(f"{self.path}: {name}: keypoint and keypoint_score do not belong together")
        places = joints[..., : self.layout.coordinates]
        if self.layout.coordinates == 3 and joints.shape[-1] == 3:
            check_scores(joints, dataclasses.replace(self.layout, coordinates=2), f"{self.path}: {name}")
            places *= np.float32(UNITS[self.unit])
            check_size(places, self.unit, f"{self.path}: {name}")
        absent = (np.isnan(places) | (places == 0)).all(axis=(2, 3))
        if scores is not None:
            joints = np.concatenate([joints, scores[..., None]], axis=-1)
        joints[absent] = np.nan
        camera = self._ntu[name].camera if self._ntu else None
        return View(camera=camera, joints=joints.swapaxes(0, 1).copy(), origin=name, splits=self._splits.get(name, ()))


@functools.lru_cache(maxsize=1)
def _load(path: Path, stamp: str) -> Any:
    return unpickle(path)


def _content(path: Path) -> Any:
    """The content of a file, read once by each process."""
    return _load(path, file_stamp(path) if path.is_file() else "")


def _entries(path: Path) -> list[dict[str, Any]]:
    """The annotations of a file, or the one that it is. Raises DataError where there are none."""
    content = _content(path)
    if isinstance(content, dict) and "keypoint" in content:
        return [{"frame_dir": path.stem, **content}]
    found = content.get("annotations") if isinstance(content, Mapping) else content
    if not isinstance(found, list) or not found or not all(isinstance(entry, dict) for entry in found):
        raise DataError(f"{path}: no annotations in it; give a pickle of pyskl's as --input")
    return found


def _rows(path: Path) -> tuple[list[str], list[int]]:
    """The names of all annotations, and which have keypoints, (M, T, V, C) in the first of them."""
    found = _entries(path)
    for number, entry in enumerate(found, 1):
        for field in ("frame_dir", "keypoint"):
            if field not in entry:
                which = entry.get("frame_dir", f"number {number}")
                raise DataError(f"{path}: annotation {which} is without {field}; give a pickle of pyskl's as --input")
    names = [str(entry["frame_dir"]) for entry in found]
    if len(set(names)) < len(names):
        raise DataError(f"{path}: two annotations have the same frame_dir; repair the file")
    rows = [row for row, entry in enumerate(found) if np.size(entry["keypoint"])]
    if not rows:
        raise DataError(f"{path}: no annotation has keypoints; give another pickle as --input")
    return names, rows


def _label(path: Path, entry: dict[str, Any]) -> str:
    """A label as text, "" where there is none: a number, a text, or an array or list that holds one of these."""
    label = entry.get("label")
    if label is None:
        return ""
    shown, held = f"a {type(label).__name__}", np.zeros(0)
    with suppress(ValueError):  # of lists of several lengths, and of numbers of thousands of digits
        if isinstance(label, int):
            return str(int(label))  # of any size: too many classes are refused by another sentence
        shown, held = f"{label!r:.60}", np.asarray(label).ravel()
    if held.size != 1 or held.dtype.kind not in "iufU" or (held.dtype.kind == "f" and not float(held[0]).is_integer()):
        raise DataError(
            f"{path}: annotation {entry['frame_dir']} has the label {shown}, not one number or text; correct it"
        )
    return str(held[0]).strip() if held.dtype.kind == "U" else str(int(held[0]))


def _numbers(path: Path, entry: dict[str, Any], field: str, axes: int) -> np.ndarray:
    """A field of an annotation as an array of so many axes. DataError where it is none."""
    try:
        found = np.array(entry[field], dtype=np.float32)
        if found.ndim != axes:
            raise ValueError(f"of the shape {found.shape}")
    except (TypeError, ValueError, OverflowError) as error:
        name = f"{entry['frame_dir']!s:.80}"
        raise DataError(f"{path}: {name}: {field} is no array of {axes} axes ({error}); repair the file") from None
    return found


def _layout(path: Path, joints: int, coordinates: int) -> Layout:
    for layout in (COCO17, NTU25):
        if (len(layout.joints), layout.coordinates) == (joints, coordinates):
            return layout
    raise DataError(f"{path}: {joints} joints of {coordinates} coordinates are no layout known here; give --layout")


def _splits(path: Path, names: list[str]) -> dict[str, tuple[str, ...]]:
    """The declared parts of each annotation."""
    content = _content(path)
    lists = content.get("split", {}) if isinstance(content, Mapping) else {}
    place = {name: number for number, name in enumerate(names)}
    members: dict[str, list[str]] = {}
    if not isinstance(lists, Mapping) or not all(isinstance(listed, list | tuple) for listed in lists.values()):
        raise DataError(f"{path}: its split holds no lists of names; repair the file")
    for name, listed in lists.items():
        found = declare.named(str(name))
        if found is None:
            raise DataError(f"{path}: the split {name!r} says neither train, val nor test; rename it")
        split, part = found
        parts = members.setdefault(split, [""] * len(names))
        for member in listed:
            if str(member) in place:  # lists may name what has no skeleton
                parts[place[str(member)]] = part
    if not members:
        members[declare.DEFAULT] = declare.drawn(names, [None] * len(names), [None] * len(names))
    return dict(zip(names, declare.complete(members, names), strict=True))
