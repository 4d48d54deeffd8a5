"""The text of an NTU `.skeleton` file in one pass over its bytes, compiled for the processor that runs it.

`scanned` understands what the Kinect's SDK writes: decimal numbers between single spaces or several, lines that end in
"\\n" or "\\r\\n". It gives None for anything else, right or wrong, and for all files without numba: the parser in plain
Python (`ntu` beside this) then decides, so that there is one description of the format and one error of each kind.

A number has to be the one nearest to its text, as Python's. With at most 15 digits and a power of ten up to 22 both
fit a double exactly and one division or product rounds once (Clinger 1990); other numbers are left to Python.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

DIGITS = 15  # of a number: fewer than 2 ** 53 in all
TENS = 10.0 ** np.arange(23)
SPACE, RETURN, NEWLINE, MINUS, PLUS, DOT, ZERO, NINE = (ord(sign) for sign in " \r\n-+.09")
SMALL_E, LARGE_E = ord("e"), ord("E")
LEAST_LINE = len("0 0 0 0\n")  # of a joint: bounds the number of bodies in a file

Scan = Callable[[np.ndarray, int, np.ndarray, np.ndarray, np.ndarray, np.ndarray], tuple[int, int]]


class Scanned(NamedTuple):
    """The bodies in the order of the file: N of them in `frames` frames."""

    frames: int
    frame: np.ndarray  # (N,) int64
    identity: list[str]  # (N,) the tracker's
    joints: np.ndarray  # (N, joints, 3) float32


def scanned(data: bytes, joints: int) -> Scanned | None:
    """What the file holds; None where it has to be read by the parser in plain Python."""
    scan = compiled()
    if scan is None:
        return None
    text = np.frombuffer(data, np.uint8)
    most = len(text) // (LEAST_LINE * joints) + 1
    frame, begin, end = (np.empty(most, np.int64) for _ in range(3))
    numbers = np.empty((most, joints, 3), np.float32)
    frames, found = scan(text, joints, frame, begin, end, numbers)
    if frames < 0:
        return None
    identity = [data[a:b].decode("ascii") for a, b in zip(begin[:found].tolist(), end[:found].tolist(), strict=True)]
    return Scanned(frames, frame[:found], identity, numbers[:found])


@functools.cache
def compiled() -> Scan | None:
    """`walk` compiled, or None without numba. Its first call takes seconds, or a fraction of one from numba's cache."""
    try:
        import numba
        from numba.extending import register_jitable
    except ImportError:
        return None
    for part in (blank, whole, number, line_end):
        register_jitable(part)
    try:
        return numba.njit(nogil=True, cache=True)(walk)
    except RuntimeError:  # neither this folder nor the user's cache can be written: every process compiles for itself
        return numba.njit(nogil=True)(walk)


def walk(
    text: np.ndarray, joints: int, frame: np.ndarray, begin: np.ndarray, end: np.ndarray, numbers: np.ndarray
) -> tuple[int, int]:
    """Fill the columns, one row a body: (frames, bodies), or (-1, 0) at the first thing that is not understood."""
    frames, at = whole(text, 0)
    found = 0
    for t in range(frames):
        count, at = whole(text, at)
        if at < 0 or count > len(frame) - found:
            return -1, 0
        for _ in range(count):
            start = at = blank(text, at)
            while at < len(text) and SPACE < text[at] < 127:
                at += 1
            if at == start:
                return -1, 0
            frame[found], begin[found], end[found] = t, start, at
            at = line_end(text, at, False)
            if at < 0:
                return -1, 0
            stated, at = whole(text, at)
            if at < 0 or stated != joints:
                return -1, 0
            for joint in range(joints):
                for axis in range(3):
                    value, at = number(text, at)
                    if at < 0:
                        return -1, 0
                    numbers[found, joint, axis] = value
                at = line_end(text, at, True)
                if at < 0:
                    return -1, 0
            found += 1
    if at < 0:
        return -1, 0
    for sign in text[at:]:
        if sign != SPACE and sign != NEWLINE:
            return -1, 0
    return frames, found


def blank(text: np.ndarray, at: int) -> int:
    """The next byte that is no space."""
    while at < len(text) and text[at] == SPACE:
        at += 1
    return at


def whole(text: np.ndarray, at: int) -> tuple[int, int]:
    """A line with one whole number, and where the next line begins; there -1 where it is none."""
    at = blank(text, at)
    start, value = at, 0
    while at < len(text) and ZERO <= text[at] <= NINE and at - start < 9:
        value = 10 * value + (text[at] - ZERO)
        at += 1
    if at == start:
        return 0, -1
    at = blank(text, at)
    if at < len(text) and text[at] == RETURN:
        at += 1
        if at == len(text) or text[at] != NEWLINE:
            return 0, -1
    if at < len(text):
        if text[at] != NEWLINE:
            return 0, -1
        at += 1
    return value, at


def number(text: np.ndarray, at: int) -> tuple[float, int]:
    """A decimal number with a space behind it, and the place of that space; there -1 where it is none of these."""
    at = blank(text, at)
    negative = at < len(text) and text[at] == MINUS
    if negative:
        at += 1
    digits = value = power = 0
    dot = False
    while at < len(text):
        sign = text[at]
        if ZERO <= sign <= NINE:
            value = 10 * value + (sign - ZERO)
            digits += 1
            if dot:
                power -= 1
        elif sign == DOT and not dot:
            dot = True
        else:
            break
        if digits > DIGITS:
            return 0.0, -1
        at += 1
    if digits == 0:
        return 0.0, -1
    if at < len(text) and (text[at] == SMALL_E or text[at] == LARGE_E):
        at += 1
        minus = at < len(text) and text[at] == MINUS
        if at < len(text) and (text[at] == MINUS or text[at] == PLUS):
            at += 1
        start, exponent = at, 0
        while at < len(text) and ZERO <= text[at] <= NINE and at - start < 3:
            exponent = 10 * exponent + (text[at] - ZERO)
            at += 1
        if at == start:
            return 0.0, -1
        power += -exponent if minus else exponent
    if at == len(text) or text[at] != SPACE or not -23 < power < 23:
        return 0.0, -1
    found = value / TENS[-power] if power < 0 else value * TENS[power]
    return (-found if negative else found), at


def line_end(text: np.ndarray, at: int, more: bool) -> int:
    """Where the next line begins; -1 where this one holds what is no text, or has nothing left though it should."""
    seen = False
    while at < len(text) and text[at] != NEWLINE:
        sign = text[at]
        if SPACE < sign < 127:
            seen = True
        elif sign != SPACE and (sign != RETURN or at + 1 == len(text) or text[at + 1] != NEWLINE):
            return -1
        at += 1
    if more and not seen:
        return -1
    return min(at + 1, len(text))
