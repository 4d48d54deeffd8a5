#!/usr/bin/env python3
"""Export a classifier to ONNX: raw joints in, probabilities out, on machines without PyTorch.

The file, model.onnx, is written into the model's directory. Canonical pose and resampling are part of it: one input,
`joints` (frames, bodies, joints, coordinates) float32, NaN where a body is absent, any number of frames and bodies.
The probabilities of a recording in which no frame holds a whole body are NaN.

Examples:
  python launch/export.py --model runs/student
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.options import UserError, required
from evaluation.models import load_model
from launch.cli.parser import start


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    model: Path = required("model or run directory of a classifier")


def main(options: Options) -> None:
    from bonestrap import deploy
    from bonestrap.model import ModelError

    model = load_model(options.model)
    folder = options.model / "model" if (options.model / "model").is_dir() else options.model
    try:
        file = deploy.export(model, folder)
    except ModelError as error:
        raise UserError(f"{options.model}: {error}") from None
    except ImportError as error:
        raise UserError(f"exporting needs {error.name}, which is not installed: pip install -e '.[onnx]'") from None
    joints = f"{len(model.layout.joints)} x {model.layout.axes}"
    print(f"{file}: joints (frames x bodies x {joints}) to probabilities of {len(model.classes)} classes")
    print(f"{file.stat().st_size / 1e6:.2f} MB for ONNX Runtime; the classes' names are in the file's metadata")


if __name__ == "__main__":
    start(main, Options)
