"""Who performs: builds and manners of people, and how a person stands when nothing happens.

A subject keeps a build and a manner over all recordings; a performance adds its own mood. Manner is how somebody moves
(posture, vigour, tempo, restlessness, preferred hand), never what they do, so no class can be told from it.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from shards.sources.synthetic.body import Build, Motion
from shards.sources.synthetic.take import ease

FRAME_RATE = 30.0  # frames a second, as the sensor's
# Where an idle hand is, in arm lengths from the shoulder (outward, up, forward), and how often.
RESTS = {
    "beside": ((0.14, -0.93, 0.08), 0.40),
    "on the hip": ((0.02, -0.62, 0.25), 0.20),
    "clasped": ((-0.25, -0.55, 0.42), 0.15),
    "crossed": ((-0.28, -0.28, 0.40), 0.15),
    "behind the back": ((0.05, -0.75, -0.20), 0.10),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Person:
    """A build and a manner."""

    build: Build
    vigour: float  # size of movements, about 1
    tempo: float  # speed of movements, about 1
    left_handed: float  # chance of acting with the left side
    slouch: float  # radians that the chest leans forward
    stance: float  # leg lengths between hip and foot, outward
    carriage: np.ndarray  # (2, 3) arm lengths: where the hands hang, beside the usual place
    sway: float  # size of unconscious movement, about 1


def person(rng: np.random.Generator) -> Person:
    """Draw somebody. Lengths follow adults of 1.50 to 1.95 m as the sensor measures them."""
    height = rng.normal(1.70, 0.09)
    limbs = np.exp(rng.normal(0.0, 0.05))  # long-limbed or long-trunked
    breadth = np.exp(rng.normal(0.0, 0.07))

    def length(fraction: float, *factors: float) -> float:
        return float(fraction * height * np.prod(factors) * np.exp(rng.normal(0.0, 0.03)))

    build = Build(
        abdomen=length(0.170, 1 / limbs), thorax=length(0.128, 1 / limbs), neck=length(0.042),
        head=length(0.076), shoulder=length(0.092, breadth), hip=length(0.043, breadth),
        upper_arm=length(0.155, limbs), forearm=length(0.140, limbs), palm=length(0.045), thumb=length(0.024),
        thigh=length(0.205, limbs), shin=length(0.205, limbs), foot=length(0.070),
    )  # fmt: skip
    return Person(
        build=build,
        vigour=float(np.exp(rng.normal(0.0, 0.16))),
        tempo=float(np.exp(rng.normal(0.0, 0.12))),
        left_handed=0.85 if rng.random() < 0.2 else 0.15,
        slouch=float(rng.normal(0.06, 0.06)),
        stance=float(rng.uniform(0.0, 0.10)),
        carriage=rng.normal(0.0, 0.04, (2, 3)),
        sway=float(np.exp(rng.normal(0.0, 0.3))),
    )


def drift(
    rng: np.random.Generator, frames: int, shape: tuple[int, ...], *, slowest: float, fastest: float
) -> np.ndarray:
    """Smooth random curves (T, *shape) of unit variance with frequencies between the two bounds, in hertz."""
    terms = 6
    rate = 2 * np.pi * rng.uniform(slowest, fastest, terms) / FRAME_RATE
    angle = np.arange(frames)[:, None] * rate
    waves = np.concatenate([np.cos(angle), np.sin(angle)], 1)
    return (waves @ rng.normal(0.0, terms**-0.5, (2 * terms, int(np.prod(shape))))).reshape(frames, *shape)


def standing(who: Person, phase: np.ndarray, rng: np.random.Generator) -> Motion:
    """Stand idly, T frames: posture, breathing, sway, a restless hand now and then.

    Nobody waits at attention: before the action (where its `phase` (T,) is 0) the trunk leans and turns elsewhere, so
    the orientation in the first frame says little about the direction of the action; afterwards it turns away.
    """
    frames = len(phase)
    zero = np.zeros(frames)
    wander = drift(rng, frames, (13,), slowest=0.05, fastest=0.5) * who.sway
    breath = np.sin(2 * np.pi * rng.uniform(0.2, 0.35) * np.arange(frames) / FRAME_RATE + rng.uniform(0, 6.3))
    waiting, leaving = 1 - ease(phase / 0.25)[:, None], ease((phase - 0.8) / 0.2)[:, None]
    places, fractions = zip(*RESTS.values(), strict=True)
    rest = rng.choice(places, 2, p=fractions) + who.carriage + rng.normal(0.0, 0.04, (2, 3))
    hands = rest + 0.025 * wander[:, :6].reshape(frames, 2, 3)
    feet = np.zeros((frames, 2, 3))
    feet[..., 0] = who.stance + rng.normal(0.0, 0.02, 2)
    feet[..., 2] = rng.normal(0.0, 0.05, 2)
    spine = np.stack([who.slouch + 0.01 * breath + 0.02 * wander[:, 9], 0.02 * wander[:, 10], 0.04 * wander[:, 11]], 1)
    motion = Motion(
        base=np.zeros((frames, 3)),
        heading=(rng.normal(0.0, 0.9) * waiting + rng.normal(0.0, 0.45) * leaving)[:, 0],
        pelvis=np.stack([0.025 * wander[:, 6], -0.015 + zero, 0.02 * wander[:, 7]], 1),
        tilt=0.03 * wander[:, 6:9] * [0.3, 1.0, 1.0] + waiting * rng.normal(0.0, [0.22, 0.15, 0.12]),
        spine=spine + waiting * rng.normal(0.0, [0.12, 0.08, 0.20]),
        head=drift(rng, frames, (3,), slowest=0.1, fastest=0.7) * [0.08, 0.04, 0.12] * who.sway,
        hands=hands,
        elbows=np.full((frames, 2), rng.normal(0.3, 0.15)),
        wrists=0.15 * wander[:, 11:13],
        feet=feet,
        toes=np.zeros((frames, 2)),
    )
    _fidget(motion, who, rng)
    return motion


def _fidget(motion: Motion, who: Person, rng: np.random.Generator) -> None:
    """Now and then a hand moves for a second, or the weight shifts to one leg."""
    frames = len(motion.heading)
    time = np.arange(frames)
    for side in (0, 1):
        if rng.random() < 0.45 * who.sway:
            centre, width = rng.uniform(0, frames), rng.uniform(6, 14)
            there = np.exp(-0.5 * ((time - centre) / width) ** 2)[:, None]
            place = rng.uniform([-0.2, -0.7, 0.1], [0.2, -0.2, 0.4])
            motion.hands[:, side] += there * (place - motion.hands[:, side])
    if rng.random() < 0.3 * who.sway:
        shift = 0.06 * rng.choice([-1.0, 1.0]) / (1 + np.exp(-(time - rng.uniform(0, frames)) / 5.0))
        motion.pelvis[:, 0] += shift
        motion.tilt[:, 1] -= 0.8 * shift
