"""Find the recordings whose features are most like those of one: by cosine similarity, in a file of `bonestrap embed`.

Examples:
  bonestrap neighbours features.parquet --key a01_s02_e03 --count 5
  bonestrap neighbours features.parquet --joints mine.npy --model runs/pretrained
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from bonestrap.recordings.features import FeaturesFile

HELP = "find the recordings whose features are most like those of one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("features", type=Path, metavar="FEATURES", help="file that bonestrap embed wrote")
    parser.add_argument("--key", help="a recording of the file, KEY, or KEY.c2 for its view from camera 2")
    parser.add_argument("--joints", type=Path, help=".npy file of one recording as recorded, instead of --key")
    parser.add_argument("--model", type=Path, help="with --joints: the model that made the features")
    parser.add_argument("--count", type=int, default=10, help="how many to show (default: 10)")


def run(options: argparse.Namespace) -> None:
    from bonestrap.recordings.features import FeaturesFile

    if (options.key is None) == (options.joints is None) or (options.joints is None) != (options.model is None):
        raise ValueError("give --key, or --joints and --model")
    if options.count < 1:
        raise ValueError(f"--count must be 1 or more, got {options.count}")
    known = FeaturesFile.read(options.features)
    own = row_of(known, options.key) if options.key is not None else None
    query = known.features[own] if own is not None else embedded(options, known)
    rows, similarity = known.nearest(query, options.count + (own is not None))
    found = [(row, near) for row, near in zip(rows[0].tolist(), similarity[0].tolist(), strict=True) if row != own]
    titles = known.titles
    width = max(len(f"{known.key[row]}.{known.view[row]}") for row, _ in found)
    if own is not None:
        print(f"nearest to {known.key[own]}.{known.view[own]}{f', {titles[own]}' if titles[own] else ''}")
    for row, near in found[: options.count]:
        print(f"{near:7.4f}  {known.key[row] + '.' + known.view[row]:{width}}  {titles[row]}".rstrip())


def row_of(known: FeaturesFile, key: str) -> int:
    """The recording that a key names. Raises ValueError where none has it."""
    from bonestrap.options import did_you_mean

    for row, (name, view) in enumerate(zip(known.key, known.view, strict=True)):
        if key in (name, f"{name}.{view}"):
            return row
    raise ValueError(f"--key: no recording is called {key:.100}{did_you_mean(key, known.key)}")


def embedded(options: argparse.Namespace, known: FeaturesFile) -> np.ndarray:
    """The features of the recording in a file."""
    from bonestrap import serialization
    from bonestrap.commands.predict import read_joints

    features = serialization.load(options.model).embed(read_joints(options.joints)).numpy()
    if len(features) != known.features.shape[1]:
        raise ValueError(
            f"{options.model} gives {len(features)} features and {options.features} holds {known.features.shape[1]}: "
            "name the model that made them"
        )
    return features
