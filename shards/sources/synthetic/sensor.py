"""What a depth sensor makes of people: three cameras, self-occlusion, and the errors of body tracking.

Camera space is the Kinect's: metres, x to the sensor's left, y up, z away from it; the origin is the sensor. A joint
that another part of a body hides is guessed by the tracker, so it keeps to its last seen place beside the body and
wanders, and the limb below it wanders along. The view from the side is therefore worse than the view from the front.

Legend: T frames, M bodies, V joints, C coordinates.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bonestrap.layouts import NTU25
from shards.sources.synthetic.body import unit
from shards.sources.synthetic.people import drift

# (joint, joint, radius in metres): what hides things. The trunk is two capsules side by side.
CAPSULES = (
    (12, 4, 0.10), (16, 8, 0.10), (2, 3, 0.09),
    (4, 5, 0.05), (5, 6, 0.04), (8, 9, 0.05), (9, 10, 0.04),
    (12, 13, 0.075), (13, 14, 0.055), (16, 17, 0.075), (17, 18, 0.055),
)  # fmt: skip
CHAINS = (  # each limb from the trunk outward: an error of one joint is passed down to the next
    (4, 5, 6, 7, 21), (7, 22), (8, 9, 10, 11, 23), (11, 24), (12, 13, 14, 15), (16, 17, 18, 19), (20, 2, 3),
)  # fmt: skip
FIRMNESS = (  # fraction of the guessing error: the tracker knows where a trunk must be, not where a hand is
    ((0, 1, 2, 20), 0.4), ((3, 4, 8, 12, 16), 0.6), ((5, 9, 13, 17), 0.9),
)  # fmt: skip
TRACKED, INFERRED = 2, 1  # the sensor's tracking states; 0 is not tracked at all


@dataclasses.dataclass(frozen=True, kw_only=True)
class Camera:
    """A sensor that looks at the middle of the stage."""

    rotation: np.ndarray  # (3, 3) rows are the axes of camera space in the world
    position: np.ndarray  # (3,) metres in the world

    def sees(self, world: np.ndarray) -> np.ndarray:
        """World positions (..., 3) to camera space, both in metres: one rigid motion for every point."""
        return (world - self.position) @ self.rotation.T


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quality:
    """How well a sensor measures. Lengths in metres at three metres' distance."""

    jitter: float = 0.004
    wander: float = 0.018  # slow error of a visible joint
    guess: float = 0.10  # slow error of a hidden joint
    stick: float = 0.7  # fraction of a hidden joint's movement that is missed


def rig(distance: float, height: float, rng: np.random.Generator) -> tuple[Camera, Camera, Camera]:
    """Cameras 1, 2 and 3 at 0, +45 and -45 degrees around the stage, each a little off its mark.

    People face camera 2 in odd replications and camera 3 in even ones, as in NTU: camera 1 always sees them from 45
    degrees, the other two from the front and from the side in turn.
    """
    cameras = []
    for mark in (0.0, np.pi / 4, -np.pi / 4):
        yaw = mark + rng.normal(0.0, 0.04)
        far, high = distance * np.exp(rng.normal(0.0, 0.05)), height + rng.normal(0.0, 0.05)
        position = np.array([far * np.sin(yaw), high, far * np.cos(yaw)])
        forward = unit(np.array([0.0, rng.normal(0.95, 0.05), 0.0]) - position)
        left = unit(np.cross([np.sin(roll := rng.normal(0.0, 0.02)), np.cos(roll), 0.0], forward))
        cameras.append(Camera(rotation=np.stack([left, np.cross(forward, left), forward]), position=position))
    return cameras[0], cameras[1], cameras[2]


def hidden(joints: np.ndarray) -> np.ndarray:
    """(T, M, V) bool: does any capsule of any body stand between the sensor and the joint?

    `joints` is (T, M, V, 3) in camera space. A ray to a joint is compared with the axis of each capsule: hidden if they
    pass closer than the radius, in front of the joint. Capsules that touch the joint itself do not hide it.
    """
    frames, bodies, count, _ = joints.shape
    first, last, radius = (np.array(column) for column in zip(*CAPSULES, strict=True))
    target = joints.reshape(frames, bodies * count, 3).astype(np.float32)
    depth = np.sqrt(np.einsum("tuc,tuc->tu", target, target))[..., None]
    ray = target / depth
    start = joints[:, :, first].reshape(frames, -1, 3).astype(np.float32)
    axis = joints[:, :, last].reshape(frames, -1, 3).astype(np.float32) - start
    # Nearest points: on the ray, `at` from the sensor; on the axis, start + s * axis with s clipped to the capsule.
    along, offset = ray @ axis.transpose(0, 2, 1), ray @ start.transpose(0, 2, 1)
    products = ((axis, axis), (axis, start), (start, start))
    length, inward, near = (np.einsum("tkc,tkc->tk", a, b)[:, None] for a, b in products)
    s = np.clip((along * offset - inward) / np.maximum(length - along**2, 1e-6), 0.0, 1.0)
    at = offset + s * along
    gap = near + 2 * s * inward + s**2 * length - at**2
    blocked = (gap < np.tile(radius, bodies) ** 2) & (at < depth - 0.12)
    return (blocked & ~_touching(bodies)).any(-1).reshape(frames, bodies, count)


def _touching(bodies: int) -> np.ndarray:
    """(M V, M K) bool: the capsule hangs on the joint, or the joint lies within it."""
    own = np.zeros((len(NTU25.joints), len(CAPSULES)), bool)
    for k, (first, last, _) in enumerate(CAPSULES):
        own[[first, last], k] = True
    own[[0, 1, 2, 20], :2] = True  # inside the trunk
    own[[2, 3, 20], 2] = True
    for tip, near in ((7, 6), (21, 6), (22, 6), (11, 10), (23, 10), (24, 10), (15, 14), (19, 18)):
        own[tip] |= own[near]
    return np.kron(np.eye(bodies, dtype=bool), own)


def measure(joints: np.ndarray, quality: Quality, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """True positions (T, M, V, 3) in camera space to measured ones, and the tracking states (T, M, V)."""
    frames, bodies, count, _ = joints.shape
    blind = hidden(joints)
    padded = np.pad(blind.astype(np.float32), ((2, 2), (0, 0), (0, 0)), mode="edge")
    weight = np.mean([padded[k : k + frames] for k in range(5)], axis=0)[..., None]  # trust fades over a few frames
    seen = np.where(blind, -1, np.arange(frames)[:, None, None])
    seen = np.maximum.accumulate(seen, axis=0)
    seen = np.where(seen < 0, np.argmin(blind, axis=0), seen)  # before the first sight: where it will be seen first
    beside = joints - joints[:, :, :1]
    held = np.take_along_axis(beside, seen[..., None], axis=0) - beside
    scale = (joints[..., 2:].mean((0, 1, 2)) / 3.0) ** 2
    shape = (bodies, count, 3)
    depthwise = np.array([1.0, 1.0, 1.6])  # the sensor is worst along its ray
    slow = drift(rng, frames, shape, slowest=0.1, fastest=0.8) * depthwise
    lost = drift(rng, frames, shape, slowest=0.2, fastest=1.5) * depthwise + rng.normal(0.0, 0.7, shape) * depthwise
    error = weight * (quality.stick * held + quality.guess * _looseness() * lost) + quality.wander * scale * slow
    error = np.einsum("uv,tmvc->tmuc", _passing(), error)
    error += rng.normal(0.0, 1.0, joints.shape) * quality.jitter * scale * (1 + 2 * weight)
    states = np.where(blind, INFERRED, TRACKED)
    states[..., 21:] -= blind[..., 21:] & (weight[..., 21:, 0] == 1)  # fingertips and thumbs are given up
    return joints + error, states


def _looseness() -> np.ndarray:
    """(V, 1): how far from the truth a hidden joint may be guessed, 1 for the ends of the limbs."""
    out = np.ones((len(NTU25.joints), 1))
    for members, fraction in FIRMNESS:
        out[list(members)] = fraction
    return out


def _passing(fraction: float = 0.5) -> np.ndarray:
    """(V, V): how much of joint v's error joint u takes over, falling by `fraction` with each joint down the limb."""
    matrix = np.eye(len(NTU25.joints))
    for chain in CHAINS:
        for below, joint in enumerate(chain):
            for above, source in enumerate(chain[:below]):
                matrix[joint, source] = fraction ** (below - above)
    return matrix
