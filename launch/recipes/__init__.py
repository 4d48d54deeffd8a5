"""Pretraining recipes, one file per method. A recipe is a function; its docstring states its cost and its result."""

from __future__ import annotations

from collections.abc import Callable

from bonestrap.recipe import Recipe
from launch.recipes.byol import byol_own, byol_rotated, byol_small, ntu60, nw_ucla
from launch.recipes.mamp import latent_small, mamp, mamp_small, stars, stars_small
from launch.recipes.relsar import relsar
from launch.recipes.supervised import supervised, windows
from launch.recipes.vicreg import demo, own, vicreg

RECIPES: dict[str, Callable[[], Recipe]] = {
    "ntu60": ntu60,
    "nw-ucla": nw_ucla,
    "own": own,
    "byol-small": byol_small,
    "byol-own": byol_own,
    "byol-rotated": byol_rotated,
    "mamp": mamp,
    "mamp-small": mamp_small,
    "latent-small": latent_small,
    "stars": stars,
    "stars-small": stars_small,
    "rel-sar": relsar,
    "supervised": supervised,
    "supervised-windows": windows,
    "vicreg": vicreg,
    "demo": demo,
}

# Aliases: old spellings of options, from the previous version.
ALIASES: dict[str, tuple[str, ...]] = {
    "--protocol": ("--split",),
    "--schedule.learning-rate": ("--optimizer.learning-rate",),
    "--schedule.weight-decay": ("--optimizer.weight-decay",),
    "--schedule.predictor-rate": ("--method.predictor-rate",),
    "--multiview": ("--method.multiview",),
    "--no-multiview": ("--no-method.multiview",),
} | {
    old: new
    for view in ("view1", "view2")
    for old, new in {
        f"--{view}.resample": (f"--method.{view}.resample.rate",),
        f"--{view}.crop": (f"--method.{view}.crop.anywhere",),
        f"--no-{view}.crop": (f"--no-method.{view}.crop.anywhere",),
        f"--{view}.smooth": (f"--method.{view}.smooth.probability",),
        f"--{view}.shear": (f"--method.{view}.shear.limit",),
        f"--{view}.shift": (f"--method.{view}.shift.limit", "1"),
        f"--no-{view}.shift": (f"--method.{view}.shift.limit", "0"),
        f"--{view}.drop": (f"--method.{view}.drop.probability",),
    }.items()
}

__all__ = ["ALIASES", "RECIPES", "Recipe"]
