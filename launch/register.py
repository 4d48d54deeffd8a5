#!/usr/bin/env python3
"""Register a run's model in MLflow: stored with its run, with a signature, under a name and an alias.

From then on it is `models:/NAME@ALIAS`, and `mlflow models serve` answers raw joints with class probabilities, or with
features where the model knows no classes. Started again, it moves the alias and stores nothing twice. Loading it runs
the Python files that are stored with it: the digest of all is printed, and `python -m distributed.registry` takes it.

Examples:
  python launch/register.py --run runs/student --alias champion
  python launch/register.py --run runs/pretrained --name bonestrap-encoder --alias newest
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.options import UserError, option, required
from distributed.mlflow_sync import missing
from distributed.registry import Shipped, digest_of, publish
from evaluation.models import load_model
from launch.cli.parser import start
from shards.storage.folder import resolved

if TYPE_CHECKING:
    from bonestrap.model import Model

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("mlflow", "torch", "numpy", "safetensors")


@dataclass(frozen=True, kw_only=True)
class Options:
    run: Path = required("run directory whose model is registered")
    name: str = option("bonestrap", "registered model; every registration of other weights is a new version of it")
    alias: str = option("champion", "name of the version, as in models:/NAME@ALIAS; it moves here from another version")


def main(options: Options) -> None:
    model = load_model(options.run)
    try:
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise UserError("registering needs MLflow, which is not installed: pip install -e '.[train]'") from None
    run = resolved(options.run)
    try:
        version = publish(run, shipped(run / "model", model), name=options.name, alias=options.alias, tags=tags(model))
        digest = digest_of(run, options.name, version)
    except ImportError as error:
        raise UserError(f"{run.name} cannot be registered: {missing(error)}; pip install it") from None
    except (MlflowException, ValueError) as error:
        raise UserError(f"{run.name} cannot be registered: {str(error).splitlines()[0]}") from None
    print(f"{options.name} version {version} is {run.name}: models:/{options.name}@{options.alias}")
    print(f"digest of its files: {digest}")


def shipped(folder: Path, model: Model) -> Shipped:
    """The model directory as the registry takes it."""
    import torch

    joints, axes = len(model.layout.joints), model.layout.axes
    example = torch.randn(2, 8, 1, joints, axes, generator=torch.Generator().manual_seed(0)).numpy()
    answers = len(model.classes) or model.encoder.features
    aligned = model.description.alignment is not None
    return Shipped(
        folder=folder,
        script=ROOT / "evaluation" / "serving.py",
        code=[ROOT / "bonestrap"],
        requirements=[f"{name}=={metadata.version(name).partition('+')[0]}" for name in NEEDED],
        inputs=(-1, -1, -1, joints, axes),
        outputs=(-1, -1 if aligned else answers),
        example=example,
        metadata={
            "stage": model.description.stage,
            "layout": model.layout.name,
            "classes": list(model.classes),
            "lineage": model.description.lineage,
        },
        params={"texts": model.classes} if aligned else {},
    )


def tags(model: Model) -> dict[str, str]:
    """What a list of versions shows: where a model comes from, nearest ancestor first."""
    lineage, parents = model.description.lineage, []
    while found := lineage.get("parents"):
        parents.append(found[0]["run"])
        lineage = found[0]["lineage"]
    own = model.description.lineage
    shown = {
        "stage": model.description.stage,
        "made_from": " <- ".join(parents),
        **{key: own.get(key) for key in ("data", "digest", "split", "labels", "seed")},
    }
    return {f"bonestrap.{key}": str(value) for key, value in shown.items() if value not in (None, "")}


if __name__ == "__main__":
    start(main, Options)
