"""Bonestrap: unlabelled skeleton recordings in, compact action recognisers out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what a checkout has is Any where only the library is installed
    from bonestrap.model import Model, ModelError
    from bonestrap.recordings.features import FeaturesFile
    from bonestrap.recordings.packed import PackedFolder
    from bonestrap.serialization import load
    from launch.api import distill as distill
    from launch.api import evaluate as evaluate
    from launch.api import finetune as finetune
    from launch.api import pretrain as pretrain

__all__ = ["FeaturesFile", "Model", "ModelError", "PackedFolder", "__version__", "load"]

__version__ = "0.1.0"

# Imported when it is first asked for, as it imports torch: packing and `--help` need none.
LIBRARY = {
    "FeaturesFile": "bonestrap.recordings.features",
    "Model": "bonestrap.model",
    "ModelError": "bonestrap.model",
    "PackedFolder": "bonestrap.recordings.packed",
    "load": "bonestrap.serialization",
}
CHECKOUT = ("distill", "evaluate", "finetune", "pretrain")  # of launch.api


def __getattr__(name: str) -> Any:
    if name in LIBRARY:
        return getattr(importlib.import_module(LIBRARY[name]), name)
    if name not in CHECKOUT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # By its name, because the library depends on nothing above it: these are offered where there is a checkout.
    try:
        return getattr(importlib.import_module("launch.api"), name)
    except ModuleNotFoundError as error:
        if error.name not in ("launch", "launch.api"):
            raise
    raise AttributeError(
        f"bonestrap.{name} needs a checkout of Bonestrap, and what is installed is the library alone: start Python "
        "in that folder, or install the folder with pip install -e '.[train]'"
    )
