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
from pathlib import Path

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.options import UserError, option, required
from distributed.mlflow_sync import missing
from distributed.registry import digest_of
from evaluation.models import load_model
from launch.cli.parser import start
from launch.training.registration import register
from shards.storage.folder import resolved


@dataclass(frozen=True, kw_only=True)
class Options:
    run: Path = required("run directory whose model is registered")
    name: str = option("bonestrap", "registered model; every registration of other weights is a new version of it")
    alias: str = option("champion", "name of the version, as in models:/NAME@ALIAS; it moves here from another version")


def main(options: Options) -> None:
    load_model(options.run)
    try:
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise UserError("registering needs MLflow, which is not installed: pip install -e '.[train]'") from None
    run = resolved(options.run)
    try:
        version = register(run, names=[options.name], alias=options.alias)[options.name]
        digest = digest_of(run, options.name, version)
    except ImportError as error:
        raise UserError(f"{run.name} cannot be registered: {missing(error)}; pip install it") from None
    except (MlflowException, ValueError) as error:
        raise UserError(f"{run.name} cannot be registered: {str(error).splitlines()[0]}") from None
    print(f"{options.name} version {version} is {run.name}: models:/{options.name}@{options.alias}")
    print(f"digest of its files: {digest}")


if __name__ == "__main__":
    start(main, Options)
