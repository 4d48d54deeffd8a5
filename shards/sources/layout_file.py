"""A layout as `--layout` and `--pool.skeleton` name it."""

from __future__ import annotations

from bonestrap.layout import Layout
from bonestrap.layouts.named import named_layout
from shards.errors import DataError


def read_layout(name: str) -> Layout:
    """The built-in layout of this name, or the one that the file of this name holds. Raises DataError."""
    try:
        return named_layout(name)
    except ValueError as error:
        raise DataError(str(error)) from None
