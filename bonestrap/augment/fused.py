"""The clips of `bonestrap.augment.pipeline` in one pass over each body, compiled for the processor that runs it.

Legend: N bodies, F frames of all bodies, R frames of one, T frames of a clip, V joints, C numbers a joint, A of them
coordinates.

In torch every step passes over all bodies, and moving memory bounds it. Here a body is read, smoothed, turned, warped
and written before the next one is touched, in buffers that stay in the core's cache. These functions are plain Python
that numba compiles; without numba `kernel` is None and the pipeline goes on in torch, which is also the way of GPUs and
the reference. Each sum is taken in one order and without fused multiply-adds, so a clip depends neither on the bodies
around it nor on the width of the processor's vectors. There is one thread, as augmentation is little beside a step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Bodies(NamedTuple):
    """What is done with each body. Every array is contiguous: for another the kernel would be compiled anew."""

    start: np.ndarray  # (N,) int64, its first row of the frames
    length: np.ndarray  # (N,) int64, its number of rows
    begin: np.ndarray  # (N,) int64; begin, played, shift and rate are the `Timing` of bonestrap.augment.pipeline
    played: np.ndarray  # (N,) int64
    shift: np.ndarray  # (N,) int64
    rate: np.ndarray  # (N,) float32
    smooth: np.ndarray  # (N,) bool
    turn: np.ndarray  # (N,) bool
    matrix: np.ndarray  # (N, A, A) float32: a joint p of a body that turns becomes matrix p
    mirror: np.ndarray  # (N,) bool: joints show their counterparts
    displace: np.ndarray  # (N,) bool
    displacement: np.ndarray  # (N, V, A) float32, added in every frame of a body that is displaced
    keep: np.ndarray  # (N, V) bool: the other joints are zeroed, and the bones that lead on from them
    place: np.ndarray  # (N, T) float32, ascending frames that are shown in place of the timing's; or (N, 0)


class Shared(NamedTuple):
    """What is the same for all bodies."""

    axes: tuple[int, ...]  # 0..A-1; a tuple, because loops over a length that the compiler knows are unrolled
    parents: np.ndarray  # (V,) uint32; unsigned, because numba asks of any other index whether it is negative
    opposite: np.ndarray  # (V,) uint32: the joint's counterpart on the other side
    weights: np.ndarray  # float32, of the filter, odd in number and symmetric


Kernel = Callable[[np.ndarray, np.ndarray, Bodies, Shared], None]


@functools.cache
def kernel() -> Kernel | None:
    """`fill` compiled, or None without numba. Its first call takes seconds, or a fraction of one from numba's cache."""
    try:
        import numba
        from numba.extending import register_jitable
    except ImportError:
        return None
    for part in (widen, smooth, turn, warp, drop):
        register_jitable(part)
    compiled: Kernel
    try:
        compiled = numba.njit(nogil=True, cache=True)(fill)
    except RuntimeError:  # neither this folder nor the user's cache can be written: every process compiles for itself
        compiled = numba.njit(nogil=True)(fill)
    return compiled


def fill(out: np.ndarray, frames: np.ndarray, bodies: Bodies, shared: Shared) -> None:
    """Write the clips `out` (N, T, V, A + C) of `frames` (F, V * C), float32, or float16 seen as uint16."""
    count, clip, joints, _ = out.shape
    margin, longest = len(shared.weights) // 2, 0
    for n in range(count):
        longest = max(longest, bodies.length[n])
    read = np.empty((longest + 2 * margin, joints, frames.shape[1] // joints), np.float32)
    smoothed, turned = np.empty_like(read), np.empty_like(read)
    for n in range(count):
        begin, rate, last = bodies.begin[n], bodies.rate[n], bodies.length[n] - 1
        fresh = min(clip, bodies.played[n])  # frames of the clip before it repeats itself
        first, final = np.float32(begin) * rate, np.float32(begin + fresh - 1) * rate
        if bodies.place.shape[1]:
            fresh, first, final = clip, bodies.place[n, 0], bodies.place[n, clip - 1]
        low, high = min(int(first), last), min(int(final) + 1, last)  # the first and the last frame that it shows
        source, around = read, margin if bodies.smooth[n] else 0
        widen(frames, bodies.start[n], last, low - around, high + around, read)
        if bodies.smooth[n]:
            smooth(read, high - low + 1, shared.weights, len(shared.axes), smoothed)
            source = smoothed
        if bodies.turn[n]:
            turn(source, high - low + 1, bodies.matrix[n], shared.axes, turned)
            source = turned
        warp(source, low, last, n, bodies, shared, fresh, out[n])
        drop(bodies.keep[n], shared, out[n])


def widen(frames: np.ndarray, start: int, last: int, low: int, high: int, out: np.ndarray) -> None:
    """The frames `low` to `high` of a body in float32; the first and the `last` one are replicated beyond the edges."""
    first, final, width = max(low, 0), min(high, last), frames.shape[1]
    rows = out.reshape(len(out), width)
    source = frames[start + first : start + final + 1].reshape(-1)
    target = out.reshape(-1)[(first - low) * width :]
    if frames.itemsize == 2:
        # Numba knows no float16. Sign, exponent and fraction move to their places in float32, whose exponents are
        # larger by 112: the product adds that and makes subnormal numbers normal. Infinity and NaN have the largest.
        bits = target.view(np.uint32)
        for k in range(len(source)):
            half = np.uint32(source[k])
            endless = np.uint32(0x7F800000) if (half & np.uint32(0x7C00)) == np.uint32(0x7C00) else np.uint32(0)
            sign, rest = (half & np.uint32(0x8000)) << np.uint32(16), (half & np.uint32(0x7FFF)) << np.uint32(13)
            bits[k] = sign | endless | rest
        for k in range(len(source)):
            target[k] *= np.float32(2.0**112)
    else:
        for k in range(len(source)):
            target[k] = source[k]
    for i in range(low, first):
        rows[i - low] = rows[first - low]
    for i in range(final + 1, high + 1):
        rows[i - low] = rows[final - low]


def smooth(rows: np.ndarray, count: int, weights: np.ndarray, axes: int, out: np.ndarray) -> None:
    """Filter the coordinates of `count` frames. `rows` (R, V, C) begin half a window before them."""
    half, width = len(weights) // 2, rows[0].size
    source, target = rows.reshape(-1), out.reshape(-1)[: count * width]
    middle, weight = source[half * width :], weights[half]
    for k in range(len(target)):
        target[k] = weight * middle[k]
    for tap in range(half):  # two of equal weight at a time, along all frames: one frame is too short for wide vectors
        early, late, weight = source[tap * width :], source[(2 * half - tap) * width :], weights[tap]
        for k in range(len(target)):
            target[k] += weight * (early[k] + late[k])
    for c in range(axes, rows.shape[2]):  # a confidence stays as it was
        out[:count, :, c] = rows[half : half + count, :, c]


def turn(rows: np.ndarray, count: int, matrix: np.ndarray, axes: tuple[int, ...], out: np.ndarray) -> None:
    """Apply the matrix to the coordinates of `count` frames (R, V, C)."""
    channels = rows.shape[2]
    source, target = rows.reshape(-1, channels), out.reshape(-1, channels)
    for joint in range(count * rows.shape[1]):
        for c in range(len(axes)):
            total = np.float32(0)
            for d in range(len(axes)):
                total += matrix[c, d] * source[joint, d]
            target[joint, c] = total
    for c in range(len(axes), channels):
        out[:count, :, c] = rows[:count, :, c]


def warp(
    rows: np.ndarray, low: int, last: int, n: int, bodies: Bodies, shared: Shared, fresh: int, out: np.ndarray
) -> None:
    """Write clip n (T, V, A + C), `fresh` frames of which do not repeat others, of frames (R, V, C) from `low` on."""
    clip, joints, channels = len(out), rows.shape[1], rows.shape[2]
    begin, rate, shift, axes, parents = bodies.begin[n], bodies.rate[n], bodies.shift[n], shared.axes, shared.parents
    row, source, target = np.empty((joints, channels), np.float32), rows.reshape(len(rows), -1), out.reshape(clip, -1)
    flat, seen = row.reshape(-1), np.empty_like(row)
    for time in range(fresh):
        place = bodies.place[n, time] if bodies.place.shape[1] else np.float32(begin + time) * rate
        frame = min(int(place), last)
        fraction = min(max(place - np.float32(frame), np.float32(0)), np.float32(1))
        here, there = frame - low, min(frame + 1, last) - low
        for k in range(len(flat)):
            flat[k] = (np.float32(1) - fraction) * source[here, k] + fraction * source[there, k]
        if bodies.mirror[n]:
            seen[:] = row
            for v in range(joints):
                row[v] = seen[shared.opposite[v]]
        if bodies.displace[n]:
            for v in range(joints):
                for c in range(len(axes)):
                    row[v, c] += bodies.displacement[n, v, c]
        t = (time - shift) % clip
        for v in range(joints):
            parent = parents[v]
            for c in range(len(axes)):
                out[t, v, c] = row[v, c]
                out[t, v, len(axes) + c] = row[v, c] - row[parent, c]
            for c in range(len(axes), channels):
                out[t, v, len(axes) + c] = row[v, c]
    for time in range(fresh, clip):
        t, same = (time - shift) % clip, (time - fresh - shift) % clip
        for k in range(target.shape[1]):
            target[t, k] = target[same, k]


def drop(keep: np.ndarray, shared: Shared, out: np.ndarray) -> None:
    """Zero the joints of a clip (T, V, A + C) that are not kept, and the bones that lead on from them."""
    axes = len(shared.axes)
    for joint in range(len(keep)):
        first, end = 0, out.shape[2]
        if keep[joint]:
            first, end = axes, axes if keep[shared.parents[joint]] else 2 * axes
        if first < end:
            for t in range(len(out)):
                for c in range(first, end):
                    out[t, joint, c] = 0
