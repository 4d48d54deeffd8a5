"""The equations of masked motion prediction in plain numpy and float64, body by body and token by token.

Mehraban et al., section 3.2; Vaswani et al. (2017), section 3.2; ViT (Dosovitskiy et al. 2021), Eq. 1 to 4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

Weights = Mapping[str, np.ndarray]


def layer_norm(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return np.stack(
        [
            (row - row.mean()) / math.sqrt(row.var() + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]
            for row in x
        ]
    )


def linear(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def attention(x: np.ndarray, weights: Weights, name: str, heads: int) -> np.ndarray:
    size = x.shape[1] // heads
    queries, keys, values = np.split(linear(x, weights, f"{name}.qkv"), 3, axis=1)
    out = np.zeros_like(x)
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        for token in range(len(x)):
            scores = np.array([queries[token, own] @ key[own] / math.sqrt(size) for key in keys])
            shares = np.exp(scores - scores.max())
            out[token, own] = shares / shares.sum() @ values[:, own]
    return linear(out, weights, f"{name}.projection")


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def block(x: np.ndarray, weights: Weights, name: str, heads: int) -> np.ndarray:
    x = x + attention(layer_norm(x, weights, f"{name}.norm1"), weights, f"{name}.attention", heads)
    hidden = gelu(linear(layer_norm(x, weights, f"{name}.norm2"), weights, f"{name}.perceptron.0"))
    return x + linear(hidden, weights, f"{name}.perceptron.2")


def place(weights: Weights, name: str, token: int) -> np.ndarray:
    time, joint = weights[f"{name}.time"][:, 0], weights[f"{name}.joint"][0]
    return np.asarray(time[token // len(joint)] + joint[token % len(joint)])


def patch_of(clip_TVC: np.ndarray, token: int, size: int) -> np.ndarray:
    """What token s V + v covers, (l, C)."""
    segment, joint = divmod(token, clip_TVC.shape[1])
    return clip_TVC[segment * size : (segment + 1) * size, joint]


def encode(
    clip: np.ndarray, visible: Sequence[int], weights: Weights, *, size: int, depth: int, heads: int
) -> np.ndarray:
    rows = []
    for token in visible:
        embedded = linear(patch_of(clip, token, size).reshape(1, -1), weights, "embedding")[0]
        rows.append(embedded + place(weights, "positions", token))
    x = np.stack(rows)
    for number in range(depth):
        x = block(x, weights, f"blocks.{number}", heads)
    return layer_norm(x, weights, "norm")


def decode(
    latent: np.ndarray, visible: Sequence[int], tokens: int, weights: Weights, *, depth: int, heads: int
) -> np.ndarray:
    x = np.stack([weights["mask_token"]] * tokens)
    x[list(visible)] = linear(latent, weights, "embedding")
    x = x + np.stack([place(weights, "positions", token) for token in range(tokens)])
    for number in range(depth):
        x = block(x, weights, f"blocks.{number}", heads)
    return linear(layer_norm(x, weights, "norm"), weights, "head")


def motion(clip: np.ndarray, size: int) -> np.ndarray:
    """Eq. 1 with m = l, (T, V, C); the frames before m repeat the first segment of motion that there is."""
    out = np.zeros_like(clip)
    for i in range(size, len(clip)):
        out[i] = clip[i] - clip[i - size]
    out[:size] = out[size : 2 * size]
    return out


def forward_difference(clip: np.ndarray) -> np.ndarray:
    out = np.zeros_like(clip)
    for i in range(len(clip) - 1):
        out[i] = clip[i + 1] - clip[i]
    return out


def probabilities(clip: np.ndarray, size: int, tau: float, *, relative: bool = False) -> np.ndarray:
    """Eq. 2, (L,); `relative` as the public code computes it."""
    moved = motion(clip, size)
    tokens = len(clip) // size * clip.shape[1]
    parts = [np.abs(patch_of(moved, token, size)) for token in range(tokens)]
    if relative:
        intensity = np.array([part.mean() for part in parts])
        exponent = intensity / (intensity.max() * tau + 1e-10)
    else:
        exponent = np.array([part.sum() for part in parts]) / tau
    shares = np.exp(exponent - exponent.max())
    return np.asarray(shares / shares.sum())


def targets(moved: np.ndarray, size: int, *, normalise: bool = True) -> np.ndarray:
    """(L, l C), each row with mean zero and, but for 1e-6, unbiased variance one."""
    rows = []
    for token in range(len(moved) // size * moved.shape[1]):
        row = patch_of(moved, token, size).reshape(-1)
        spread = ((row - row.mean()) ** 2).sum() / (len(row) - 1)
        rows.append((row - row.mean()) / math.sqrt(spread + 1e-6) if normalise else row)
    return np.stack(rows)
