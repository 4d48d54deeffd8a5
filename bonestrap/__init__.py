"""Bonestrap: unlabelled skeleton recordings in, compact action recognisers out."""

from bonestrap.model import Model, ModelError, load

__all__ = ["Model", "ModelError", "load"]
