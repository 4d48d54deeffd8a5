#!/usr/bin/env python3
"""Make the texts of classes into features, and print which classes are nearest to each other.

The features are what zero-shot evaluation and launch/align.py take as --texts: a plain .npy array, one row a class, or
with --no-average one matrix a class, and beside it a .json that says what was described and how. Without --texts, those
commands describe the classes themselves.

Examples:
  python launch/describe.py --data packed/nw-ucla --output texts/nw-ucla.npy
  python launch/describe.py --data packed/ntu60 --describe both --no-average --output texts/ntu60.npy
  python launch/describe.py --data packed/lab --descriptions lab/texts.txt --output texts/lab.npy
  python launch/describe.py --data packed/ntu60 --describe names --text clip --text.model weights/clip --output clip.npy
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.config import to_json
from bonestrap.options import UserError, option, required
from bonestrap.text import MiniLM, TextEncoder, TextError
from launch.cli.parser import start
from shards.reading import Reading

if TYPE_CHECKING:
    from bonestrap.zero_shot.texts import ClassTexts

NEAREST = 2  # neighbours of a class that are printed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Reading):
    output: Path = required("file for the features, .npy")
    describe: Literal["names", "descriptions", "both"] = option(
        "descriptions", "texts of a class: its name, its long descriptions, or both"
    )
    descriptions: Path | None = option(
        None, "file of descriptions, lines `class: text | text`; none takes ours of the data set"
    )
    average: bool = option(True, "one feature a class, the mean of its texts; no: each text counts on its own")
    text: TextEncoder = MiniLM()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output.suffix != ".npy":
            raise ValueError(f"output must end in .npy, got {self.output.name}")


def main(options: Options) -> None:
    from bonestrap.zero_shot.texts import class_texts, grouped, save

    manifest = options.manifest
    try:
        each = class_texts(manifest.name, manifest.classes, options.describe, options.descriptions)
        encoded = options.text.encode([text for one in each for text in one])
    except TextError as error:
        raise UserError(str(error)) from None
    found = grouped(encoded, [len(one) for one in each], average=options.average)
    about = {"texts": [list(one) for one in each], "encoder": to_json(options.text), "average": options.average}
    try:
        save(options.output, found, manifest.classes, {"data": manifest.name, **about})
    except OSError as error:
        raise UserError(f"{options.output} cannot be written ({error}): give another --output") from None
    print(*neighbours(found, manifest.classes), sep="\n")
    print(f"{options.output}: {len(encoded)} texts of {len(manifest.classes)} classes, {encoded.shape[1]} features")


def neighbours(found: ClassTexts, names: Sequence[str]) -> Iterator[str]:
    """A line a class: the classes of the most similar texts, with their cosines."""
    means = found.means
    similar = means @ means.T
    similar.fill_diagonal_(-2)
    for name, row in zip(names, similar, strict=True):
        values, places = row.topk(min(NEAREST, len(names) - 1))
        said = ", ".join(f"{names[at]} {value:.2f}" for at, value in zip(places.tolist(), values.tolist(), strict=True))
        yield f"  {name}: {said}"


if __name__ == "__main__":
    start(main, Options)
