#!/usr/bin/env python3
"""Export a classifier to ONNX: raw joints in, probabilities out, on machines without PyTorch.

The file, model.onnx, is written into the model's directory. Canonical pose and resampling are part of it: one input,
`joints` (frames, bodies, joints, coordinates) float32, NaN where a body is absent, any number of frames and bodies.
The probabilities of a recording in which no frame holds a whole body are NaN.

float16 stores the weights in half the bytes (model-float16.onnx), int8 computes the network in 8 bits
(model-int8.onnx) with ranges that training recordings of --data show. With --data, every file is then compared with
the model on the test recordings.

Examples:
  python launch/export.py --model runs/student
  python launch/export.py --model runs/student --precision int8 --data packed/nw-ucla
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.bounds import WIDE, Bounded, Bounds
from bonestrap.options import UserError, option, required
from evaluation.models import load_model, split_of
from launch.cli.parser import start

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from bonestrap.model import Model
    from evaluation.features import EvaluationData
    from shards.reading import Recorded


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Bounded):
    model: Path = required("model or run directory of a classifier")
    precision: Literal["float32", "float16", "int8"] = option(
        "float32", "of the network; frames and joints are prepared in float32"
    )
    data: str | None = option(
        None,
        "packed shards: training recordings give int8 its ranges, and test recordings compare files with the model",
    )
    split: str | None = option(None, "of these shards; none takes the split that the model was trained on")
    calibration: int = option(128, "training recordings that give int8 its ranges, evenly spaced", Bounds(1, WIDE))


def main(options: Options) -> None:
    from bonestrap import deploy
    from bonestrap.model import ModelError

    model = load_model(options.model)
    folder = options.model / "model" if (options.model / "model").is_dir() else options.model
    if options.precision == "int8" and options.data is None:
        raise UserError("--precision int8 needs --data: shards whose training recordings show the range of every layer")
    try:
        data = None if options.data is None else opened(options, split_of(model))
        if data is not None and data.train.manifest.classes != model.classes:
            raise UserError(f"{options.data} has other classes than {options.model}: give shards of the same data set")
        calibration = []
        if data is not None and options.precision == "int8":
            count = len(data.train)
            rows = sorted({round(at * (count - 1) / options.calibration) for at in range(options.calibration)})
            calibration = recordings_of(model, data.train, rows)
        file = deploy.export(model, folder, options.precision, calibration)
        print(deploy.summary(file, model))
        if data is not None:
            print(compared(model, folder, data))
    except ModelError as error:
        raise UserError(f"{options.model}: {error}") from None
    except ImportError as error:
        raise UserError(f"exporting needs {error.name}, which is not installed: pip install -e '.[onnx]'") from None


def opened(options: Options, split: str) -> EvaluationData:
    from evaluation.features import open_data
    from shards.reading import Reading

    assert options.data is not None
    return open_data(Reading(data=options.data, stream="no"), options.split or split, choosing=False)


def recordings_of(model: Model, data: Recorded, rows: Sequence[int]) -> list[np.ndarray]:
    """Recordings of shards as a model takes raw ones, (T, M, V, C)."""
    from bonestrap.clips import unpacked
    from evaluation.features import adaptation

    return unpacked(adaptation(model, data)(data.recordings(rows)))


def compared(model: Model, folder: Path, data: EvaluationData) -> str:
    """A table: every exported file beside the model, on the test recordings."""
    from bonestrap import deploy
    from bonestrap.deploy.agreement import agreement
    from evaluation.scoring import dependent
    from evaluation.text_table import Column, aligned

    files = {precision: folder / name for precision, name in deploy.FILES.items() if (folder / name).is_file()}
    scored = data.scored
    rows = range(len(scored))
    found = agreement(model, files, recordings_of(model, scored, rows), scored.labels(rows), dependent(scored.views))
    columns = [Column("file"), *map(Column, ("MB", "as the model", "largest difference", "accuracy", "95 %", "CPU-ms"))]
    table = [
        [
            one.precision, f"{one.megabytes:.2f}", f"{one.equal:.1%}", f"{one.difference:.2g}",
            f"{one.scores.accuracy:.1%}", f"{one.scores.low:.1%} to {one.scores.high:.1%}", f"{one.milliseconds:.2f}",
        ]
        for one in found
    ]  # fmt: skip
    return f"{len(scored):,} test recordings of {scored.manifest.name}, one thread:\n" + "\n".join(
        aligned(columns, table).lines
    )


if __name__ == "__main__":
    start(main, Options)
