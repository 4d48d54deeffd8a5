"""Joints and bodies that a sensor or a detector lost: what says so becomes NaN, and single joints are found a place.

Legend: C numbers a joint (coordinates, then confidence where there is one), T frames, V joints, M bodies; absent bodies
are NaN.
"""

from __future__ import annotations

import numpy as np

from bonestrap.layout import Layout, points


def presence(joints: np.ndarray) -> np.ndarray:
    """(T, M) bool: which body is there in which frame."""
    return ~np.isnan(joints).all(axis=(2, 3))


def drop_zero_bodies(joints: np.ndarray) -> np.ndarray:
    """Make bodies whose joints are all exactly zero absent where they are: a tracker writes them for nobody."""
    return np.where((joints == 0).all(axis=(2, 3), keepdims=True), np.float32(np.nan), joints)


def hide_uncertain(joints: np.ndarray, *, least: float, keep: bool) -> np.ndarray:
    """Make the coordinates of joints whose confidence, the last number of each, lies below `least` NaN: a detector puts
    a joint that it does not find anywhere. Without `keep` the confidence is left out of the result.
    """
    places, confidence = joints[..., :-1], joints[..., -1:]
    places = np.where(confidence >= least, places, np.float32(np.nan))
    if not keep:
        return places
    there = np.isfinite(places).any(axis=(2, 3), keepdims=True)
    return np.concatenate([places, np.where(there, np.nan_to_num(confidence), np.float32(np.nan))], axis=-1)


def hide_zeros(joints: np.ndarray, *, layout: Layout) -> np.ndarray:
    """Make the coordinates of joints that lie exactly at zero NaN: so sensors and detectors write what they lost.

    A joint that is there in every frame of a body that stands around it is the origin of the coordinates, not lost: the
    root, or the only joint at zero. A body without any other joint is absent.
    """
    places, rest = joints[..., : layout.coordinates], joints[..., layout.coordinates :]
    zero = (places == 0).all(-1)
    zero &= ~_origins(places, zero, layout)
    places = np.where(zero[..., None], np.float32(np.nan), places)
    there = np.isfinite(places).any(axis=(2, 3), keepdims=True)
    return np.concatenate([places, np.where(there, rest, np.float32(np.nan))], axis=-1)


def interpolate_joints(joints: np.ndarray, *, layout: Layout) -> np.ndarray:
    """Find a place for single missing joints; see `bonestrap.pose.interpolate`. A body without any joint is absent."""
    import torch

    from bonestrap import pose

    return pose.interpolate(torch.from_numpy(joints.astype(np.float64)), layout).numpy().astype(np.float32)


def _origins(places: np.ndarray, zero: np.ndarray, layout: Layout) -> np.ndarray:
    """(M, V) bool: joints at zero (T, M, V) that are so because coordinates count from there; see `hide_zeros`."""
    present = ~(zero | np.isnan(places).all(-1)).all(-1)  # (T, M): another joint is seen
    others = np.where(zero[..., None], np.float32(np.nan), places)
    with np.errstate(invalid="ignore"):
        low = np.fmin.reduce(others, axis=2)
        high = np.fmax.reduce(others, axis=2)
    around = ((low <= 0) & (high >= 0)).all(-1) & present
    stands = 2 * around.sum(0) > present.sum(0)
    always = (zero | ~present[..., None]).all(0) & stands[:, None]
    root = np.isin(np.arange(zero.shape[-1]), points(layout.root))
    return always & (root | (always.sum(-1, keepdims=True) == 1))
