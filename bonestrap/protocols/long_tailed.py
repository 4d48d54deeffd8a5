"""Few classes that are common and many that are rare: what Moliner et al. leaves open (section 5.1).

Of C classes in a drawn order, class c = 0..C-1 keeps n_c = n_max * F^(-c / (C - 1)) items, F the imbalance factor
(Cui et al. 2019): the first has F times as many as the last. n_max is the most for which every class has its n_c, so
that the profile is the stated one whatever the classes had before.
"""

from __future__ import annotations

import numpy as np


def profile(available: np.ndarray, factor: float, seed: int) -> np.ndarray:
    """How many items each class keeps, at least one, in the order of the classes; `available` (C,) are positive counts.

    Which classes are common is drawn from the seed. Raises ValueError for a factor below one.
    """
    if factor < 1:
        raise ValueError(f"imbalance must be at least 1, got {factor}")
    classes = len(available)
    rank = np.random.default_rng(seed).permutation(classes)
    share = factor ** (-rank / max(1, classes - 1))
    kept: np.ndarray = np.floor((available / share).min() * share + 1e-9).astype(np.int64)
    return np.asarray(np.maximum(kept, 1))


def long_tailed(labels: np.ndarray, factor: float, seed: int) -> np.ndarray:
    """Indices, ascending, of the items that make the classes of `labels` long-tailed; a function of its arguments."""
    classes, counts = np.unique(labels, return_counts=True)
    kept = profile(counts, factor, seed)
    chosen = [
        np.random.default_rng([seed, int(label)]).permutation(np.flatnonzero(labels == label))[:count]
        for label, count in zip(classes, kept, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def thirds(labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The classes in thirds by how often they occur among the labels: common, between, rare. Of equals, the first."""
    order = np.argsort(-np.bincount(labels, minlength=classes), kind="stable")
    first, second, third = np.array_split(order, 3)
    return first, second, third
