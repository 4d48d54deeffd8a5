"""Export a classifier to ONNX: raw joints in, probabilities out, on machines without PyTorch.

The file, model.onnx, is written into the model's directory. Canonical pose and resampling are part of it: one input,
`joints` (frames, bodies, joints, coordinates) float32, NaN where a body is absent, any number of frames and bodies.
The probabilities of a recording in which no frame holds a whole body are NaN.

Examples:
  bonestrap export --model runs/student
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write a classifier as an ONNX file, raw joints in and probabilities out"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="model or run directory of a classifier")


def run(options: argparse.Namespace) -> None:
    from bonestrap import deploy, model

    loaded = model.load(options.model)
    folder = options.model / "model" if (options.model / "model").is_dir() else options.model
    try:
        file = deploy.export(loaded, folder)
    except model.ModelError as error:
        raise model.ModelError(f"{options.model}: {error}") from None
    except ImportError as error:
        raise ValueError(f"exporting needs {error.name}, which is not installed: pip install onnx onnxscript") from None
    joints = f"{len(loaded.layout.joints)} x {loaded.layout.axes}"
    print(f"{file}: joints (frames x bodies x {joints}) to probabilities of {len(loaded.classes)} classes")
    print(f"{file.stat().st_size / 1e6:.2f} MB for ONNX Runtime; the classes' names are in the file's metadata")
