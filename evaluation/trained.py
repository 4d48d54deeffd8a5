"""The recordings that a run and all that it came from were trained on: `RUN/trained.npy`, which evaluations look up.

`RUN/labelled.npy` has those whose labels were read: the others can say, without bias, which of several models is best.

A recording is identified by its data set, its origin, its frames and its bodies, so that it is found in shards that
were packed anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bonestrap.weights import shipped
from evaluation import run_record

if TYPE_CHECKING:
    from shards.reading import Recorded

FILE = "trained.npy"
LABELLED = "labelled.npy"  # in the same form: those of them whose labels were read


def fingerprints(data: Recorded) -> np.ndarray:
    """One number a recording, (R,) uint64: the same in any shards that hold it."""
    name = data.manifest.name
    facts = zip(data.view_origin, data.view_length.tolist(), data.view_bodies.tolist(), strict=True)
    said = (f"{name}\n{origin}\n{frames}\n{bodies}" for origin, frames, bodies in facts)
    return np.array(
        [int.from_bytes(hashlib.blake2b(each.encode(), digest_size=8).digest()) for each in said], np.uint64
    )


def keep(run: Path, own: np.ndarray, parents: Sequence[Path], file: str = FILE) -> None:
    """Write what a run was trained on, by the fingerprints, and what the models that it started from were.

    Nothing is written where that is not known of one of these: the file is complete or absent.
    """
    parts = [own]
    for parent in parents:
        known = read(parent, file)
        if known is None:
            return
        parts.append(known)
    np.save(run / file, np.unique(np.concatenate(parts)))


def read(model: Path, file: str = FILE) -> np.ndarray | None:
    """The fingerprints of all recordings of a model's training; None where they were not kept.

    Weights that come with the library have no run: the files lie beside them.
    """
    kept = (shipped(model) or run_record.home(model) or model) / file
    return np.load(kept) if kept.exists() else None


def seen(model: Path, data: Recorded) -> int | None:
    """How many of these recordings the model was trained on, itself or what it came from; None if it is not known."""
    known = read(model)
    return None if known is None else int(np.isin(fingerprints(data), known).sum())
