"""What a body tracker does to a recording as a whole: ids, lost frames, bodies that are not there.

Legend: T frames, M bodies, V joints.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bonestrap.layouts import NTU25
from shards.sources.synthetic.people import drift

BLACKOUT, STRANGER, RELABELLED = 0.12, 0.08, 0.06  # chances per recording of what the functions below do
KEPT = 18  # frames that a body keeps its id at least: shorter ones would be taken for strangers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Track:
    """One body id of a recording."""

    joints: np.ndarray  # (T, V, 3) camera space, metres
    states: np.ndarray  # (T, V) tracking states 0, 1, 2
    present: np.ndarray  # (T,) bool: the frames that hold this id


def tracks(joints: np.ndarray, states: np.ndarray, rng: np.random.Generator) -> list[Track]:
    """Measured bodies (T, M, V, 3) and their states (T, M, V) to the ids of a recording, in random order.

    Some recordings have a few frames without any body, some lose a person and find them again under another id, and
    some hold a body for less than a third of a second where nobody stands.
    """
    frames, bodies = states.shape[:2]
    present = np.ones((frames, bodies), bool)
    if rng.random() < BLACKOUT:
        start = rng.integers(0, frames - 6)
        present[start : start + rng.integers(1, 6)] = False
    out = [Track(joints=joints[:, m], states=states[:, m], present=present[:, m]) for m in range(bodies)]
    if bodies == 1 and rng.random() < RELABELLED:
        out = _relabelled(out[0], rng)
    rng.shuffle(out)
    if rng.random() < STRANGER:
        out.insert(rng.integers(0, len(out) + 1), _stranger(joints, rng))
    return out


def _relabelled(track: Track, rng: np.random.Generator) -> list[Track]:
    time = np.arange(len(track.present))
    lost = rng.integers(KEPT, len(time) - KEPT - 1)
    found = lost + rng.integers(0, 3)
    return [
        dataclasses.replace(track, present=track.present & (time < lost)),
        dataclasses.replace(track, present=track.present & (time >= found)),
    ]


def _stranger(joints: np.ndarray, rng: np.random.Generator) -> Track:
    """A chair or a shadow taken for a body: wider than high, and soon gone."""
    frames, count = len(joints), len(NTU25.joints)
    start, length = rng.integers(0, frames - 10), rng.integers(3, 10)
    blob = joints[start, 0, 0] + rng.normal(0.0, 0.3, 3) + rng.normal(0.0, [0.30, 0.15, 0.30], (count, 3))
    shaking = 0.03 * drift(rng, frames, (count, 3), slowest=1.0, fastest=5.0)
    present = np.zeros(frames, bool)
    present[start : start + length] = True
    return Track(joints=blob + shaking, states=np.ones((frames, count), int), present=present)
