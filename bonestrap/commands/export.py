"""Export a classifier to ONNX: raw joints in, probabilities out, on machines without PyTorch.

The file, model.onnx, is written into the model's directory. Canonical pose and resampling are part of it: one input,
`joints` (frames, bodies, joints, coordinates) float32, NaN where a body is absent, any number of frames and bodies.
The probabilities of a recording in which no frame holds a whole body are NaN.

float16 stores the weights in half the bytes (model-float16.onnx); int8 computes the network in 8 bits
(model-int8.onnx), with ranges that some training recordings show.

Examples:
  bonestrap export --model runs/student
  bonestrap export --model runs/student --precision int8 --calibration wave.npy fall.npy
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write a classifier as an ONNX file, raw joints in and probabilities out"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="model or run directory of a classifier")
    parser.add_argument(
        "--precision",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="of the network; frames and joints are prepared in float32 (default: float32)",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help=".npy files of training recordings, as `bonestrap predict` takes them, that give int8 its ranges",
    )


def run(options: argparse.Namespace) -> None:
    from bonestrap import deploy, serialization
    from bonestrap.commands.predict import read_joints
    from bonestrap.model import ModelError

    if (options.precision == "int8") != bool(options.calibration):
        raise ValueError("--calibration and --precision int8 belong together: some dozens of training recordings")
    calibration = [read_joints(file) for file in options.calibration]
    loaded = serialization.load(options.model)
    folder = options.model / "model" if (options.model / "model").is_dir() else options.model
    try:
        file = deploy.export(loaded, folder, options.precision, calibration)
    except ModelError as error:
        raise ModelError(f"{options.model}: {error}") from None
    except ImportError as error:
        raise ValueError(f"exporting needs {error.name}, which is not installed: pip install onnx onnxscript") from None
    print(deploy.summary(file, loaded))
