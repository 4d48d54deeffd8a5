"""One articulated person: segment lengths and a motion in, joint positions of the ntu25 layout out.

Frame of a person: x to the person's left, y up, z forward, in metres, the ground at y = 0. The trunk is a chain of
rotations; arms and legs are two-bone chains that reach for a target, so a planted foot stays planted and every bone
keeps its length in every frame. Sides are indexed 0 right, 1 left.

Legend: T frames, V joints, C coordinates.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bonestrap.layouts import NTU25

OUTWARD = np.array([-1.0, 1.0])  # x direction that points away from the body, right and left


@dataclasses.dataclass(frozen=True, kw_only=True)
class Build:
    """Segment lengths in metres, each between two joints as the sensor names them."""

    abdomen: float  # spine base to spine mid
    thorax: float  # spine mid to spine shoulder
    neck: float  # spine shoulder to neck
    head: float  # neck to head
    shoulder: float  # spine shoulder to either shoulder
    hip: float  # spine base to either hip
    upper_arm: float
    forearm: float
    palm: float  # wrist to hand
    thumb: float  # hand to thumb; the tip of the hand is twice as far
    thigh: float
    shin: float
    foot: float

    @property
    def arm(self) -> float:
        return self.upper_arm + self.forearm

    @property
    def leg(self) -> float:
        return self.thigh + self.shin

    @property
    def ankle(self) -> float:
        """Height of the ankle of a standing foot: enough for a toe that points slightly down to touch the ground."""
        return 0.5 * self.foot


@dataclasses.dataclass
class Motion:
    """What a person does, T frames. Hands and pelvis are in limb lengths, so a motion fits every build."""

    base: np.ndarray  # (T, 3) metres: the point on the ground that the person stands on; y is the height of a jump
    heading: np.ndarray  # (T,) radians about y
    pelvis: np.ndarray  # (T, 3) leg lengths: displacement from standing above the base
    tilt: np.ndarray  # (T, 3) radians: pitch forward, roll, twist of the pelvis
    spine: np.ndarray  # (T, 3) radians: the same of the chest against the pelvis
    head: np.ndarray  # (T, 3) radians: the same of the head against the chest
    hands: np.ndarray  # (T, 2, 3) arm lengths from the shoulder: outward, up, forward of the chest
    elbows: np.ndarray  # (T, 2) radians: 0 the elbow points down, pi / 2 outward
    wrists: np.ndarray  # (T, 2) radians: bend of the hand in the plane of the arm
    feet: np.ndarray  # (T, 2, 3) leg lengths from below the hip: outward, up, forward of the base
    toes: np.ndarray  # (T, 2) radians: how far the foot points down

    def mirrored(self) -> Motion:
        """The same motion with left and right exchanged."""
        side = np.array([1.0, -1.0, -1.0])
        return Motion(
            base=self.base * [-1, 1, 1], heading=-self.heading, pelvis=self.pelvis * [-1, 1, 1],
            tilt=self.tilt * side, spine=self.spine * side, head=self.head * side,
            hands=self.hands[:, ::-1], elbows=self.elbows[:, ::-1], wrists=self.wrists[:, ::-1],
            feet=self.feet[:, ::-1], toes=self.toes[:, ::-1],
        )  # fmt: skip


def rotation(angles: np.ndarray) -> np.ndarray:
    """Angles (..., 3), radians, to matrices (..., 3, 3): roll about z, then pitch about x, then twist about y."""
    (sp, sr, st), (cp, cr, ct) = np.moveaxis(np.sin(angles), -1, 0), np.moveaxis(np.cos(angles), -1, 0)
    rows = [
        [ct * cr + st * sp * sr, st * sp * cr - ct * sr, st * cp],
        [cp * sr, cp * cr, -sp],
        [ct * sp * sr - st * cr, ct * sp * cr + st * sr, ct * cp],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def two_bones(
    start: np.ndarray, target: np.ndarray, upper: float, lower: float, pole: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Middle and end joint of a chain that reaches from `start` for `target`, bending towards `pole`; all (..., 3).

    The law of cosines places the middle joint. A target out of reach is approached as far as the bones allow.
    """
    direction = unit(target - start)
    reach = np.linalg.norm(target - start, axis=-1, keepdims=True)
    reach = np.clip(reach, 1.05 * abs(upper - lower) + 0.02, 0.998 * (upper + lower))
    along = (upper**2 - lower**2 + reach**2) / (2 * reach)
    across = np.sqrt(np.maximum(upper**2 - along**2, 0.0))
    bend = unit(pole - (pole * direction).sum(-1, keepdims=True) * direction)
    return start + along * direction + across * bend, start + reach * direction


def joints(build: Build, motion: Motion) -> np.ndarray:
    """Joint positions (T, V, 3) in metres in the frame that the motion's base and heading are given in."""
    zero = np.zeros_like(motion.heading)
    ground = rotation(np.stack([zero, zero, motion.heading], -1))
    pelvis = ground @ rotation(motion.tilt)
    chest = pelvis @ rotation(motion.spine)
    twist = motion.heading + motion.tilt[:, 2] + motion.spine[:, 2]
    upright = rotation(np.stack([zero, zero, twist], -1))  # arms hang and reach by gravity, whatever the chest does
    up = np.array([0.0, 1.0, 0.0])

    out = np.empty((len(zero), len(NTU25.joints), 3))
    standing = motion.pelvis * build.leg + [0.0, 0.985 * build.leg + build.ankle, 0.0]
    out[:, 0] = motion.base + (ground @ standing[..., None])[..., 0]
    out[:, 1] = out[:, 0] + pelvis @ rotation(0.5 * motion.spine) @ up * build.abdomen
    out[:, 20] = out[:, 1] + chest @ up * build.thorax
    out[:, 2] = out[:, 20] + chest @ up * build.neck
    out[:, 3] = out[:, 2] + chest @ rotation(motion.head) @ up * build.head
    out[:, [8, 4]] = out[:, 20, None] + _sided(chest, np.array([0.96, -0.28, 0.0])) * build.shoulder
    out[:, [16, 12]] = out[:, 0, None] + _sided(pelvis, np.array([1.0, 0.0, 0.0])) * build.hip
    _arms(out, build, motion, upright)
    _legs(out, build, motion, ground)
    return out


def _sided(frame: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Turn vectors (outward, up, forward), (3,) or (T, 2, 3), of both sides by `frame` (T, 3, 3): (T, 2, 3)."""
    mirrored = np.broadcast_to(vectors, (len(frame), 2, 3)).copy()
    mirrored[..., 0] *= OUTWARD
    return np.einsum("tij,tsj->tsi", frame, mirrored)


def _arms(out: np.ndarray, build: Build, motion: Motion, upright: np.ndarray) -> None:
    shoulder = out[:, [8, 4]]
    target = shoulder + _sided(upright, motion.hands) * build.arm
    swivel = np.stack([np.sin(motion.elbows), -np.cos(motion.elbows), np.full_like(motion.elbows, -0.35)], -1)
    elbow, wrist = two_bones(shoulder, target, build.upper_arm, build.forearm, _sided(upright, swivel))
    forearm = unit(wrist - elbow)
    # In the plane of the arm and across it: the hand bends in the first direction, the thumb sits in the second.
    inner = unit(shoulder - elbow - ((shoulder - elbow) * forearm).sum(-1, keepdims=True) * forearm)
    across = np.cross(forearm, inner) * OUTWARD[:, None]
    bend = motion.wrists[..., None]
    palm = np.cos(bend) * forearm + np.sin(bend) * inner
    hand = wrist + palm * build.palm
    out[:, [9, 5]], out[:, [10, 6]], out[:, [11, 7]] = elbow, wrist, hand
    out[:, [23, 21]] = hand + palm * 2 * build.thumb
    out[:, [24, 22]] = hand + (0.6 * palm + 0.8 * across) * build.thumb


def _legs(out: np.ndarray, build: Build, motion: Motion, ground: np.ndarray) -> None:
    below = np.array([build.hip, build.ankle, 0.0]) + motion.feet * build.leg
    target = motion.base[:, None] + _sided(ground, below)
    knee, ankle = two_bones(
        out[:, [16, 12]], target, build.thigh, build.shin, _sided(ground, np.array([0.15, 0.0, 1.0]))
    )
    down = motion.toes + 0.3
    toe = np.stack([np.full_like(down, 0.2), -np.sin(down), np.cos(down)], -1)
    out[:, [17, 13]], out[:, [18, 14]] = knee, ankle
    out[:, [19, 15]] = ankle + unit(_sided(ground, toe)) * build.foot
