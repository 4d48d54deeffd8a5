"""How far a result is from the reference."""

from __future__ import annotations

from torch import Tensor


def relative(found: Tensor, expected: Tensor) -> float:
    """The norm of the error over that of the reference, which is in float64."""
    assert found.shape == expected.shape
    return ((found.double() - expected).norm() / expected.norm()).item()
