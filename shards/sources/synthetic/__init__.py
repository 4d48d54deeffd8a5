"""Synthetic recordings: articulated people before three cameras, written as raw NTU `.skeleton` files.

The demo needs recordings that anybody may have, and that go through the same parser as NTU itself. People of different
builds, manners and tempos perform sixteen actions, two of them in pairs. Three noisy sensors see each performance at
the same time. What makes it worth learning: an action starts at any time, is done with either hand, at any tempo,
towards any direction, and a joint that the body hides from a camera is measured badly, so raw joints of two recordings
of one class are far apart, while the movement itself tells the class.

`files`: the format. `stage`: a performance. `actions`, `take`: the scripts. `people`: builds and manners. `body`:
kinematics. `sensor`, `tracking`: what cameras and body tracking make of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from shards.errors import DataError
from shards.sources.synthetic import files
from shards.sources.synthetic.actions import ACTIONS
from shards.sources.synthetic.people import Person, person
from shards.sources.synthetic.sensor import Quality, measure, rig
from shards.sources.synthetic.stage import perform
from shards.sources.synthetic.tracking import tracks

SYNTHETIC: tuple[str, ...] = tuple(action.name for action in ACTIONS)
"""Class names; class k is written as action k + 1."""

SETUPS = ((3.2, 1.6), (2.6, 1.4), (3.6, 1.9), (3.0, 1.2))  # distance and height of the cameras in metres


def write(
    output: Path,
    *,
    subjects: int = 20,
    setups: int = 4,
    repetitions: int = 2,
    seed: int = 0,
    actions: Sequence[str] = SYNTHETIC,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write subjects x actions x repetitions performances, three files each, into the new folder `output`.

    Subject p is recorded in setup (p - 1) % setups + 1. A file depends on the seed and its own name alone, so more
    subjects, repetitions or actions leave the others' files as they are. `progress` is told the performances written
    and their total. The folder appears whole or not at all.

    Raises `DataError` if `output` holds something already, and `ValueError` for numbers that cannot be.
    """
    unknown = [action for action in actions if action not in SYNTHETIC]
    if unknown:
        raise ValueError(f"unknown synthetic action {unknown[0]!r}: choose from {', '.join(SYNTHETIC)}")
    if not 1 <= setups <= len(SETUPS):
        raise ValueError(f"{setups} setups asked for: the synthetic studio has 1 to {len(SETUPS)}")
    if min(subjects, repetitions, len(actions)) < 1 or max(subjects, repetitions) > 999:
        raise ValueError("synthetic recordings need 1 to 999 subjects and repetitions, and at least one action")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DataError(f"{output} is not empty: choose a new folder for the synthetic recordings or remove it first")
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    written: list[Path] = []
    labels = sorted({SYNTHETIC.index(action) for action in actions})
    total = subjects * repetitions * len(labels)
    for subject in range(1, subjects + 1):
        who = person(np.random.default_rng([seed, subject]))
        for replication in range(1, repetitions + 1):
            for label in labels:
                setup = (subject - 1) % setups + 1
                for camera, content in enumerate(_record(who, setup, subject, replication, label, seed), start=1):
                    file = files.name(
                        setup=setup, camera=camera, subject=subject, replication=replication, action=label + 1
                    )
                    (partial / file).write_text(content, encoding="ascii")
                    written.append(output / file)
                if progress is not None:
                    progress(len(written) // 3, total)
    os.replace(partial, output)
    return sorted(written)


def _record(who: Person, setup: int, subject: int, replication: int, label: int, seed: int) -> list[str]:
    """The three files of one performance, by camera."""
    rng = np.random.default_rng([seed, subject, replication, label])
    towards = np.pi / 4 if replication % 2 else -np.pi / 4
    scene = perform(ACTIONS[label], who, towards + rng.normal(0.0, 0.3), rng)
    distance, height = SETUPS[setup - 1]
    out = []
    for camera in rig(distance, height, rng):
        joints, states = measure(camera.sees(scene), Quality(), rng)
        out.append(files.text(tracks(joints, states, rng), rng))
    return out
