"""The demo's pictures: recordings with their augmented views, and accuracy against size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bonestrap.recipe import Recipe
from evaluation import run_record
from shards import splits

if TYPE_CHECKING:
    import numpy as np

    from bonestrap.clips import Clips


def draw_recordings(data: Path, folder: Path, recipe: Recipe) -> None:
    """One performance as its cameras recorded it, and one recording beside its augmented views."""
    import torch

    from bonestrap.augment.pipeline import Pipeline
    from reports import pictures
    from shards.reader import Resident

    folder.mkdir(parents=True, exist_ok=True)
    train = Resident.load(data, select=splits.find("synthetic", recipe.split).train)
    views = range(3)
    label = train.manifest.classes[int(train.labels([0])[0])]
    where = f"{train.manifest.name}, training recordings of {recipe.split}"
    plain = Pipeline(train.layout, recipe.clip)(train.recordings(views))
    cameras = {f"camera {train.view_camera[view]}": bodies(plain, view) for view in views}
    pictures.skeleton_strip(folder / "cameras.png", cameras, train.layout, title=f"{label}: one performance\n{where}")
    augmented = {}
    for name, augment in recipe.method.views.items():
        for draw in range(2):
            generator = torch.Generator().manual_seed(draw + 1)
            clips = Pipeline(train.layout, recipe.clip, augment)(train.recordings([0]), generator)
            augmented[f"{name} {draw + 1}"] = bodies(clips, 0)
    source, title = bodies(plain, 0), f"{label}: views that the encoder sees\n{where}"
    pictures.augmented_views(folder / "augmentations.png", source, augmented, train.layout, title=title)


def bodies(clips: Clips, clip: int) -> np.ndarray:
    """One clip's bodies, (T, M, V, 3)."""
    return clips.joints[clips.owner == clip].transpose(0, 1)[..., :3].numpy()


def draw_accuracy(runs: Path, names: Sequence[str], folder: Path, *, title: str) -> None:
    """Test accuracy against the number of parameters."""
    from reports import figures, pictures

    shown = figures.accuracies([run_record.read(runs / name) for name in names])
    pictures.accuracy_against_parameters(folder / "accuracy.png", shown, title=title)
