"""Recognise the actions in recordings: files of raw joints, or a folder of packed shards.

A file is an array (frames, bodies, joints, coordinates), saved with numpy as .npy: metres in space, any unit in an
image, NaN where a body is absent. Every recording gives a line: its name, and the likeliest classes with their
probabilities.

Examples:
  bonestrap predict wave.npy fall.npy --model runs/student
  bonestrap predict packed/nw-ucla --model runs/student --output predictions.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bonestrap.commands.embed import add_device, device_of

if TYPE_CHECKING:
    import numpy as np

HELP = "recognise the actions in recordings: files of joints, or a folder of shards"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input", type=Path, nargs="+", metavar="INPUT", help=".npy files, or one folder of packed shards"
    )
    parser.add_argument("--model", type=Path, required=True, help="model or run directory of a classifier")
    parser.add_argument(
        "--layout", help="of .npy files whose joints are not the model's: a built-in name, or a JSON file"
    )
    parser.add_argument("--top", type=int, default=1, help="likeliest classes to print of each recording (default: 1)")
    parser.add_argument("--output", type=Path, help="CSV file with the probabilities of all classes, instead of lines")
    add_device(parser)


def run(options: argparse.Namespace) -> None:
    from bonestrap import serialization
    from bonestrap.recordings.packed import PackedFolder

    if options.top < 1:
        raise ValueError(f"--top must be 1 or more, got {options.top}")
    loaded = serialization.load(options.model, device=device_of(options))
    if options.input[0].is_dir():
        if len(options.input) > 1:
            raise ValueError(f"{options.input[0]} is a folder: give one folder of shards, or files")
        if options.layout:
            raise ValueError("--layout is for .npy files: a folder of shards says which joints it holds")
        given = PackedFolder.read(options.input[0])
        names = [f"{key}.{view}" for key, view in zip(given.key, given.view, strict=True)]
        found = loaded.predict(given, batch_size=options.batch_size, progress=True)
    else:
        joints = [read_joints(file) for file in options.input]
        names = [str(file) for file in options.input]
        found = loaded.predict(joints, layout=options.layout, batch_size=options.batch_size)
    probabilities = found.cpu().numpy()
    if options.output:
        write(options.output, names, loaded.classes, probabilities)
        print(f"{options.output}: {len(names):,} recordings, probabilities of {len(loaded.classes)} classes")
        return
    width = max(map(len, names))
    for name, row in zip(names, probabilities, strict=True):
        best = (-row).argsort(kind="stable")[: options.top]
        print(f"{name:{width}}  " + "  ".join(f"{loaded.classes[number]} {row[number]:.3f}" for number in best))


def read_joints(file: Path) -> np.ndarray:
    """One recording from a .npy file. Raises ValueError naming it."""
    from bonestrap import files

    try:
        with files.opened(file) as stream:
            return files.read_array(stream, file.stat().st_size).copy()  # torch asks for memory that it may write
    except ValueError as error:
        raise ValueError(f"{file} is no array of joints ({error}): save one recording with numpy.save") from None


def write(path: Path, names: Sequence[str], classes: Sequence[str], probabilities: np.ndarray) -> None:
    """A CSV file: recording, predicted class, and a column of probabilities for every class."""
    import csv
    import io

    from bonestrap.files import write_atomically

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["recording", "predicted", *classes])
    for name, row in zip(names, probabilities, strict=True):
        table.writerow([name, classes[int(row.argmax())], *(f"{value:.6f}" for value in row)])
    write_atomically(path, text.getvalue())
