"""Bounds of the numbers in a configuration, declared with the number and checked when an instance is made::

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Schedule(Bounded):
        epochs: float = dataclasses.field(
            default=1600.0, metadata={"help": "passes over the data", "bounds": Bounds(0, 1e6, above=True)}
        )

NaN lies in no bounds and both ends are always stated, so neither NaN nor infinity passes. An upper end stands where a
number can only be a mistake (a petabyte of cache, a thousand million steps), not where it stops being sensible.
"""

from __future__ import annotations

import dataclasses
from typing import Any

COUNT = 10**9  # steps, clips and other things that are counted but not held in memory
WIDE = 2**16  # units of a layer, clips of a batch, and other sizes that memory is taken for
FRAMES = 10_000  # of a clip: five minutes at 30 frames a second
SEED = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Bounds:
    """From `min` to `max`, both included unless `above` or `below` says otherwise."""

    min: float
    max: float
    above: bool = dataclasses.field(default=False, kw_only=True)  # `min` itself is too little
    below: bool = dataclasses.field(default=False, kw_only=True)  # `max` itself is too much

    def __contains__(self, value: float) -> bool:
        low = self.min < value if self.above else self.min <= value
        return low and (value < self.max if self.below else value <= self.max)

    def __str__(self) -> str:
        return f"{'(' if self.above else '['}{self.min:.10g}, {self.max:.10g}{')' if self.below else ']'}"


WIDTH = Bounds(0, 16, above=True)  # of an encoder, as a multiple of the published one
THREADS = Bounds(1, 1024)  # OpenMP ends the process without a word where it cannot start as many
EPOCHS = Bounds(0, 1e6, above=True)
RATE = Bounds(0, 1e3, above=True)  # of learning
DECAY = Bounds(0, 1e3)
FRACTION = Bounds(0, 1, above=True)  # of recordings or labels that are used


class Bounded:
    """A base of frozen dataclasses whose fields have `bounds` in their metadata."""

    def __post_init__(self) -> None:
        """Raise ValueError, beginning with the field's name, where a number lies out of its bounds."""
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # of whatever dataclass inherits it
            bounds: Bounds | None = field.metadata.get("bounds")
            value = getattr(self, field.name)
            if bounds is None or value is None:
                continue
            whole = "float" not in str(field.type)
            for number in value if isinstance(value, tuple) else (value,):
                _check(field.name, number, bounds, whole)


def _check(name: str, number: Any, bounds: Bounds, whole: bool) -> None:
    if isinstance(number, bool) or not isinstance(number, int if whole else int | float):
        raise ValueError(f"{name} must be a {'whole ' if whole else ''}number, got {number!r:.40}")
    if number not in bounds:
        raise ValueError(f"{name} must lie in {bounds}, got {number!s:.40}")
