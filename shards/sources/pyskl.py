"""Pickled annotations as pyskl and MMAction2 share them: `{"split": {...}, "annotations": [...]}`.

An annotation holds `frame_dir` (its name), `label`, `keypoint` (M, T, V, C) and perhaps `keypoint_score` (M, T, V): 2D
keypoints of COCO's 17 joints with their confidence, or 25 joints in space. A pickle can run any program: see `unpickle`
for what this one may do.

Legend: C numbers a joint, T frames, V joints, M bodies.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bonestrap.layout import Layout
from bonestrap.layouts import COCO17, NTU25
from shards.errors import DataError
from shards.preprocess import Step, detected, keep_longest
from shards.sources import declare, ntu
from shards.sources.labels import numbered as classes_of
from shards.sources.recorded import FOREIGN, keys
from shards.sources.source import Performance, Source, View, file_stamp
from shards.sources.unpickle import unpickle

BODIES = 2


class Pyskl(Source):
    """The performances of one pickled file.

    Names like NTU's become performances over cameras, with NTU's classes and protocols. Other files declare the splits
    that they hold; `classes` names their labels. Raises DataError for a file that is no such pickle, and for one that
    asks for more than arrays.
    """

    def __init__(
        self,
        path: Path,
        *,
        layout: Layout | None = None,
        classes: tuple[str, ...] | None = None,
        confidence: Literal["hide", "keep"] = "hide",
        least: float = 0.1,
    ) -> None:
        self.path = Path(path)
        names, labels = _heads(self.path)
        place = {name: number for number, name in enumerate(names)}
        if len(place) < len(names):
            raise DataError(f"{self.path}: two annotations have the same frame_dir; repair the file")
        first = _entries(self.path)[0]
        joints, coordinates = _numbers(self.path, first, "keypoint", 4).shape[2:]
        scored = "keypoint_score" in first
        self.layout = dataclasses.replace(
            layout or _layout(self.path, joints, coordinates),
            coordinates=coordinates,
            confidence=scored and confidence == "keep",
        )
        self.cleaning: tuple[Step, ...] = detected(self.layout, least=least if scored else None)
        self.cleaning = (*self.cleaning, partial(keep_longest, most=BODIES))
        parsed = {name: ntu.NAME.fullmatch(name) for name in names}
        self._ntu = {name: ntu.Name(*map(int, match.groups())) for name, match in parsed.items() if match}
        if len(self._ntu) < len(names):
            self._ntu = {}
        actions = len(ntu.ACTIONS) if max(labels, default=0) >= ntu.NTU60_ACTIONS else ntu.NTU60_ACTIONS
        self.name = f"ntu{actions}" if self._ntu else FOREIGN.sub("-", self.path.stem)
        numbered = classes_of(str(max(labels)), str(self.path)) if labels and not (classes or self._ntu) else ()
        self.classes = classes or (ntu.ACTIONS[:actions] if self._ntu else numbered)
        self._splits = {} if self._ntu else _splits(self.path, names)
        groups: dict[str, list[int]] = {}
        for name, key in sorted(zip(names, self._keys(names), strict=True)):
            groups.setdefault(key, []).append(place[name])
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
            label=_label(self.path, found[0]) if "label" in found[0] else None,
            subject=name.subject if name else None,
            setup=name.setup if name else None,
            replication=name.replication if name else None,
            views=tuple(self._view(annotation) for annotation in found),
        )

    def _view(self, annotation: dict[str, Any]) -> View:
        name = str(annotation["frame_dir"])
        joints = _numbers(self.path, annotation, "keypoint", 4)
        places = joints[..., : self.layout.coordinates]
        absent = (np.isnan(places) | (places == 0)).all(axis=(2, 3))
        if (score := annotation.get("keypoint_score")) is not None:
            score = _numbers(self.path, annotation, "keypoint_score", 3)
            if score.shape != joints.shape[:3]:
                raise DataError(f"{self.path}: {name}: keypoint and keypoint_score do not belong together")
            joints = np.concatenate([joints, score[..., None]], axis=-1)
        elif self.layout.coordinates == 2:
            joints = np.where((joints == 0).all(-1, keepdims=True), np.float32(np.nan), joints)
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
    """The annotations of a file. Raises DataError where there are none."""
    content = _content(path)
    found = content.get("annotations") if isinstance(content, Mapping) else content
    if not isinstance(found, list) or not found or not all(isinstance(entry, dict) for entry in found):
        raise DataError(f"{path}: no annotations in it; give a pickle of pyskl's as --input")
    return found


def _heads(path: Path) -> tuple[list[str], list[int]]:
    """The names, and the labels that are known, of all annotations."""
    found = _entries(path)
    for entry in found:
        for field in ("frame_dir", "keypoint"):
            if field not in entry:
                raise DataError(f"{path}: an annotation without {field}; give a pickle of pyskl's as --input")
    return [str(entry["frame_dir"]) for entry in found], [_label(path, entry) for entry in found if "label" in entry]


def _label(path: Path, entry: dict[str, Any]) -> int:
    try:
        label = int(entry["label"])
    except (TypeError, ValueError, OverflowError):
        label = -1
    if label < 0:
        name = f"{entry['frame_dir']!s:.80}"
        raise DataError(f"{path}: {name}: the label is {entry['label']!r:.40} and no number from 0 on; repair the file")
    return label


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
