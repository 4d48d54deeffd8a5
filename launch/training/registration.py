"""A run's model in MLflow's registry, as training commands and `launch/register.py` put it there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from distributed import registry, tracking
from distributed.registry import Shipped
from evaluation import run_record
from evaluation.models import load_model
from reports import card
from shards.storage.redaction import redacted

if TYPE_CHECKING:
    from bonestrap.model import Model

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("mlflow", "torch", "numpy", "safetensors")
HELD_OUT = "held_out/accuracy"  # what the best of a name is chosen by


def register(run: Path, *, names: Sequence[str], alias: str | None = None) -> dict[str, int]:
    """Make a run's model a version of the registered models `names`; the versions. Raises what MLflow raises."""
    model = load_model(run)
    return registry.publish(
        run,
        shipped(run / "model", model),
        names=names,
        alias=alias,
        tags=tags(model),
        card=card.text(run_record.read(run), None),
        chosen_by=tracking.latest(run).get(HELD_OUT),
    )


def names(run: Path, model: Model) -> list[str]:
    """What a finished run's model is registered as: EXPERIMENT-RUN, and EXPERIMENT with all that knows its classes."""
    experiment = tracking.about(run)["experiment"]
    return [f"{experiment}-{run.name}", *([experiment] if model.head is not None else [])]


def register_finished(run: Path) -> None:
    """Register a run that has just finished, under `names`, and say so. MLflow stops nothing: the model is there."""
    try:
        found = register(run, names=names(run, load_model(run)))
    except ImportError:  # which the run has said already
        return
    except Exception as error:  # whatever MLflow, its database or the network raises
        reason = redacted((str(error) or type(error).__name__).splitlines()[0])
        print(
            f"MLflow has not registered the model ({reason}); python launch/register.py --run {run} does once that is "
            "fixed",
            file=sys.stderr,
        )
    else:
        print("registered: " + ", ".join(f"models:/{name}/{version}" for name, version in found.items()))


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
