"""What several tests compare with: plain float64 forms that share nothing with the code under test."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from bonestrap.layout import Layout
from bonestrap.momentum import BatchNorm


def pooled(parts: list[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of every channel over all parts, in float64, in two passes."""
    channels = [part.detach().double().transpose(0, 1).flatten(1).numpy() for part in parts]
    whole = np.concatenate(channels, axis=1)
    return whole.mean(1), whole.var(1)


def error(layer: BatchNorm, parts: list[Tensor]) -> float:
    """The largest error of a layer's statistics as those of the union of `parts`; see `relative`."""
    return relative(layer, *pooled(parts))


def relative(layer: BatchNorm, mean: np.ndarray, var: np.ndarray) -> float:
    """The largest error: of means, relative to the larger of mean and deviation; of variances, to themselves.

    A channel that is always zero, such as the bone of the root, must have statistics of exactly zero.
    """
    tiny = np.finfo(np.float64).tiny
    of_mean = np.abs(layer.mean.double().numpy() - mean) / np.maximum(np.maximum(np.abs(mean), np.sqrt(var)), tiny)
    of_var = np.abs(layer.var.double().numpy() - var) / np.maximum(var, tiny)
    return float(max(of_mean.max(), of_var.max()))


def original_partitions(layout: Layout) -> list[np.ndarray]:
    """The spatial configuration of ST-GCN by definition: A D^-1 over shortest paths, cut by the distance to the centre.

    Entry (j, i) is what joint i receives from joint j, as in the original's product over the first axis.
    """
    count = len(layout.joints)
    path = np.full((count, count), np.inf)
    np.fill_diagonal(path, 0)
    for a, b in layout.bones:
        path[a, b] = path[b, a] = 1
    for k in range(count):  # Floyd and Warshall
        path = np.minimum(path, path[:, [k]] + path[[k], :])
    near = (path <= 1).astype(float)
    normalised = near @ np.diag(1 / near.sum(0))
    away = path[:, layout.center]
    out = [np.zeros((count, count)) for _ in range(3)]
    for i in range(count):
        for j in range(count):
            which = 0 if away[j] == away[i] else 1 if away[j] < away[i] else 2
            out[which][j, i] = normalised[j, i]
    return out
