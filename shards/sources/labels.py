"""Classes that nobody named: labels that are numbers."""

from __future__ import annotations

from shards.errors import DataError
from shards.manifest import CLASSES


def numbered(highest: str, where: str) -> tuple[str, ...]:
    """Classes named 0 to `highest`, which may be too long for a number. DataError where they are too many."""
    digits = str(highest).lstrip("0") or "0"
    if len(digits) > 9 or int(digits) >= CLASSES:
        raise DataError(
            f"{where}: the label {digits:.20} would make more than {CLASSES} classes, numbered from 0; give "
            "--classes, a file of the labels that there are, one a line"
        )
    return tuple(map(str, range(int(digits) + 1)))
