#!/usr/bin/env python3
"""One clip of one person on one CPU thread: PyTorch as published and ours, and the student's ONNX file.

The columns of PyTorch are the network alone, from a clip that is prepared; "predict" and ONNX Runtime begin with raw
joints. Variants run by turns; a time is CPU-milliseconds of the round that was disturbed least. Without the extra
`onnx` its columns stay empty.

Examples:
  python -m benchmarks.inference
  python -m benchmarks.inference --width 0.25 --frames 64 --seconds 30
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.published import PublishedSTGCN
from benchmarks.rates import Round, Table, by_turns
from bonestrap.augment import ClipConfig
from bonestrap.clips import Clips
from bonestrap.encoders import STGCNConfig
from bonestrap.layouts import NTU25
from bonestrap.model import Description, Model

CLASSES = 60
CALLS = 10  # a round
HEADER = ("width", "frames", "published", "ours", "predict", "ONNX Runtime", "published / ONNX", "predict / ONNX")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, nargs="+", default=[0.125, 0.25, 0.5, 1.0], help="encoder widths")
    parser.add_argument("--frames", type=int, nargs="+", default=[16, 64, 150], help="frames of a clip")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each width and number of frames")
    options = parser.parse_args()
    torch.set_num_threads(1)
    exports = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
    print(f"milliseconds of one CPU thread, float32, torch {torch.__version__}\n", flush=True)
    table = Table(HEADER)
    for width in options.width:
        for frames in options.frames:
            rates = by_turns(variants(width, frames, exports=exports), options.seconds)
            table.row(str(width), str(frames), *cells({name: 1000 / rate for name, rate in rates.items()}))


def cells(times: dict[str, float]) -> tuple[str, ...]:
    """A row's figures in the order of the header."""
    shown = [f"{times[name]:.2f}" if name in times else "–" for name in HEADER[2:6]]
    fast = times.get("ONNX Runtime")
    ratios = [f"{times[name] / fast:.1f}" if fast else "–" for name in ("published", "predict")]
    return (*shown, *ratios)


def variants(width: float, frames: int, *, exports: bool) -> dict[str, Round]:
    """Every way to classify one recording as a function that does it `CALLS` times."""
    torch.manual_seed(0)
    joints = torch.randn(frames, 1, 25, 3).mul(0.02).cumsum(0) + torch.randn(1, 1, 25, 3)
    model = student(width, frames)
    clips = model.pipeline(model.prepare(joints))
    out: dict[str, Round] = {
        "published": repeated(published(width), clips.joints[None]),
        "ours": repeated(model, clips),
        "predict": repeated(model.predict, joints),
    }
    if exports:
        session = runtime(model)
        out["ONNX Runtime"] = repeated(session, joints.numpy())
    return out


def repeated(call: Any, given: torch.Tensor | np.ndarray | Clips) -> Round:
    def work() -> int:
        with torch.no_grad():
            for _ in range(CALLS):
                call(given)
        return CALLS

    return work


def student(width: float, frames: int) -> Model:
    description = Description(
        stage="student",
        encoder=STGCNConfig(width=width),
        layout=NTU25,
        clip=ClipConfig(frames=frames),
        classes=tuple(str(number) for number in range(CLASSES)),
        lineage={},
    )
    encoder = description.build_encoder()
    return Model(description, encoder, nn.Linear(encoder.features, CLASSES)).eval()


def published(width: float) -> nn.Module:
    encoder = PublishedSTGCN(width, NTU25, NTU25.channels)
    return nn.Sequential(encoder, nn.Linear(encoder.features, CLASSES)).eval()


def runtime(model: Model) -> Any:
    """Raw joints to probabilities in ONNX Runtime on one thread."""
    import onnxruntime

    from bonestrap import deploy

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        file = deploy.export(model, Path(folder))
        session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    return lambda joints: session.run(None, {"joints": joints})


if __name__ == "__main__":
    main()
