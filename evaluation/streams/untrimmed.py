"""Untrimmed recordings: several actions with borders that are known, and nothing between them.

Legend: T frames, M bodies, V joints, C numbers a joint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bonestrap.model import Model
from bonestrap.options import UserError
from shards import terms
from shards.sources.datasets.pku_mmd import PKUMMD

NOTHING = -1


class Segment(NamedTuple):
    """An action: frames `first` to `end - 1`."""

    first: int
    end: int
    label: int  # of the model's classes


class Untrimmed(NamedTuple):
    """One recording."""

    name: str
    joints: np.ndarray  # (T, M, V, C) float32, NaN where nobody is
    rate: float  # frames a second
    segments: Sequence[Segment]

    @property
    def truth(self) -> np.ndarray:
        """The class of every frame, (T,) int64; `NOTHING` where there is no action."""
        out = np.full(len(self.joints), NOTHING)
        for first, end, label in self.segments:
            out[first:end] = label
        return out

    @property
    def seconds(self) -> float:
        return len(self.joints) / self.rate


def pku_mmd(folder: Path, model: Model, split: str | None, part: str) -> Iterator[Untrimmed]:
    """The recordings of a folder in the format of PKU-MMD; of a split that its files declare, those of one part.

    An action whose name is not among the model's classes counts as nothing. Raises UserError where no recording is
    left, or the model was trained on other joints.
    """
    source = PKUMMD(folder)
    check_layout(model, source.layout.joints, source.layout.name)
    numbers = {name: label for label, name in enumerate(model.classes)}
    found = False
    for name, joints, segments, parts in source.untrimmed():
        if split and f"{split}/{part}" not in parts:
            continue
        found = True
        known = [
            Segment(s.first, min(s.end, len(joints)), numbers.get(source.classes[s.label], NOTHING)) for s in segments
        ]
        kept = [segment for segment in known if segment.label != NOTHING and segment.first < segment.end]
        yield Untrimmed(name, joints, terms.PUBLISHED[source.name].rate, kept)
    if not found:
        raise UserError(f"{folder}: no recording in {split}/{part}; choose another --split, or leave it out for all")


def check_layout(model: Model, joints: Sequence[str], name: str) -> None:
    """UserError where a model was trained on other joints than those of the recordings."""
    if model.layout.joints != tuple(joints):
        raise UserError(
            f"the model's layout is {model.layout.name} and that of the recordings {name}: take another model"
        )
