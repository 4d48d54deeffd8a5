"""One execution of an action: its phase over time and the curves that scripts are made of.

Legend: T frames.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Take:
    """One execution of an action by everybody in it, T frames."""

    phase: np.ndarray  # (T,) 0 to 1, not decreasing
    vigour: float
    rng: np.random.Generator

    def over(self, *spans: float) -> np.ndarray:
        """(T,) a smooth hill: rises between the first two phases, falls between the last two."""
        start, full, leave, end = spans
        return ease((self.phase - start) / (full - start)) * (1 - ease((self.phase - leave) / (end - leave)))

    def rise(self, start: float, end: float) -> np.ndarray:
        """(T,) a smooth step from 0 to 1 between two phases."""
        return ease((self.phase - start) / (end - start))

    def swing(self, count: float, start: float = 0.0, end: float = 1.0) -> np.ndarray:
        """(T,) sine of `count` periods between two phases, 0 outside."""
        inside = np.clip((self.phase - start) / (end - start), 0.0, 1.0)
        return np.sin(2 * np.pi * count * inside)

    def draw(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def count(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))


def ease(x: np.ndarray) -> np.ndarray:
    """Minimum-jerk step: position of a hand that leaves at 0 and arrives at 1, at rest at both ends."""
    x = np.clip(x, 0.0, 1.0)
    return x**3 * (10 - 15 * x + 6 * x**2)
