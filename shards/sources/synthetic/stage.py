"""A performance: people, an action, and when it starts; joints in the world, the same for every camera.

Legend: T frames, M bodies, V joints, C coordinates.
"""

from __future__ import annotations

import numpy as np

from bonestrap.layouts import NTU25
from shards.sources.synthetic.actions import Action
from shards.sources.synthetic.body import joints, rotation
from shards.sources.synthetic.people import FRAME_RATE, Person, person, standing
from shards.sources.synthetic.take import Take

SHORTEST, LONGEST = 40, 110  # frames of a recording


def perform(action: Action, who: Person, facing: float, rng: np.random.Generator) -> np.ndarray:
    """Joints (T, M, V, 3) in metres, y up, the stage around the origin; `facing` in radians about y, 0 towards +z.

    The partner of a two-person action is a stranger drawn for this performance, so no build is on both sides of a split
    by subject. Before and after the action people stand idly for a random time, and now and then the recording starts
    when the action is under way.
    """
    phase = _timeline(action, who.tempo * float(np.exp(rng.normal(0.0, 0.10))), rng)
    cast = [who, *(person(rng) for _ in range(action.people - 1))]
    motions = [standing(member, phase, rng) for member in cast]
    vigour = float(np.clip(who.vigour * np.exp(rng.normal(0.0, 0.14)), 0.65, 1.4))
    action.script(motions, Take(phase=phase, vigour=vigour, rng=rng))
    if rng.random() < who.left_handed:
        motions = [motion.mirrored() for motion in motions]
    scene = np.stack([joints(member.build, motion) for member, motion in zip(cast, motions, strict=True)], 1)
    place = np.array([rng.normal(0.0, 0.15), 0.0, rng.normal(0.0, 0.15)])
    return scene @ rotation(np.array([0.0, 0.0, facing])).T + place


def _timeline(action: Action, tempo: float, rng: np.random.Generator) -> np.ndarray:
    """(T,) phase of the action: 0 while idle before, 0 to 1 at an uneven pace, 1 while idle after."""
    length = rng.uniform(*action.seconds) * FRAME_RATE / np.clip(tempo, 0.75, 1.35)
    before, after = rng.uniform(2, 50, 2)
    before = min(before, LONGEST - length)
    cut = rng.uniform(0.0, 0.12) * length if rng.random() < 0.2 else -before
    frames = int(np.clip(length - cut + after, SHORTEST, LONGEST))
    phase = np.clip((np.arange(frames) + cut) / length, 0.0, 1.0)
    return phase + rng.uniform(-0.45, 0.45) * np.sin(2 * np.pi * phase) / (2 * np.pi)


def bone_lengths(scene: np.ndarray) -> np.ndarray:
    """Lengths (..., bones) in metres of the layout's bones, in its order, of joints (..., V, 3)."""
    child, parent = np.array(NTU25.bones).T
    return np.linalg.norm(scene[..., child, :] - scene[..., parent, :], axis=-1)
