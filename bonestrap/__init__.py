"""Bonestrap: unlabelled skeleton recordings in, compact action recognisers out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bonestrap.model import Model, ModelError, load

__all__ = ["Model", "ModelError", "__version__", "load"]

__version__ = "0.1.0"

LAZY = ("Model", "ModelError", "load")


def __getattr__(name: str) -> Any:
    """What `bonestrap.model` offers, imported with torch when it is first asked for: packing and `--help` need none."""
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bonestrap import model

    return getattr(model, name)
