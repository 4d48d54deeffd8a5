"""Loading a trained model, as every command does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bonestrap.options import UserError
from bonestrap.weights import shipped
from shards.storage.folder import resolved

if TYPE_CHECKING:
    from bonestrap.model import Model


def load_model(folder: Path) -> Model:
    """The model of a directory; UserError where it cannot be loaded, or its lineage is damaged."""
    from bonestrap import serialization
    from bonestrap.model import ModelError
    from evaluation import lineage

    try:
        model = serialization.load(folder)
    except ModelError as error:
        raise UserError(str(error)) from None
    lineage.check(model, folder)
    return model


def located(folder: Path) -> Path:
    """A model's directory, named so that every worker finds it: absolute, or as weights that come with the library."""
    return folder if shipped(folder) else resolved(folder)


def split_of(model: Model) -> str:
    """The split whose training recordings trained a model."""
    return model.description.lineage["split"]


def chunks(count: int, size: int = 256) -> Sequence[range]:
    """0..count-1 in portions that fit in memory."""
    return [range(i, min(i + size, count)) for i in range(0, count, size)]
